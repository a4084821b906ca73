"""The sections about what was measured: the answer, the headline set-up, and the others."""

from collections.abc import Sequence

from lengthgen.reporting.page import answer, provenance, result_tables
from lengthgen.reporting.page.anchors import anchor
from lengthgen.reporting.page.chart_data import METRICS, chart_data
from lengthgen.reporting.page.content import Block, Chart, Facts, Fold, Part, Picture, Section, Text
from lengthgen.reporting.page.set_ups import SetUp
from lengthgen.reporting.text_tables import span

QUESTION = (
    "A Transformer is trained at a fixed length and then reads longer text. What does its "
    "positional scheme do there: fail, merely tolerate the longer input, or use it?"
)


def sections(set_ups: Sequence[SetUp]) -> list[Section]:
    """set_ups: the one with the most evidence first."""
    if not set_ups:
        return []
    first, *others = set_ups
    answered = [*answer.blocks(first.verdicts), Text(_basis(first))]
    parts: list[Block] = [Part(f"set-up-{anchor(one.name)}", one.name, _blocks(one))
                          for one in others]  # fmt: skip
    return [
        Section("answer", "The answer", answered, "Answer"),
        Section("curves", "The curves", _blocks(first, first.note.get("note")), "Curves"),
        Section("set-ups", "Other set-ups", parts, "Other set-ups"),
    ]


def origins(set_ups: Sequence[SetUp]) -> list[Block]:
    """Provenance, one fold for each set-up."""
    return [
        provenance.fold(f"origin-{anchor(one.name)}", one.name, one.note, one.source)
        for one in set_ups
    ]


def _basis(one: SetUp) -> str:
    note = str(one.note.get("note") or "").strip()
    return (
        f"{note} This is the set-up with the most evidence of all in the results: several seeds "
        "first, then training tokens. Numbers: change of the loss at the farthest length, nats per "
        "token on the same targets, with its 95 % interval. A word holds for this model, text and "
        "amount of training alone."
    ).strip()


def _blocks(one: SetUp, said: object = "") -> list[Block]:
    """said: what the page has said of it already."""
    blocks: list[Block] = []
    if (note := str(one.note.get("note") or "")) and note != said:
        blocks.append(Text(note))
    blocks.append(Facts(_facts(one), {"files": f"origin-{anchor(one.name)}"}))
    data = chart_data(one.summary, one.verdicts)
    if len(data["lengths"]) > 1:
        blocks.append(Chart(f"Loss by evaluation length, {one.name}", data, _pictures(one)))
    matched = one.summary["protocol"] == "matched"
    if matched.any():
        blocks.append(result_tables.decision(one.summary, one.verdicts, one.name))
    folds = [
        result_tables.measured(one.summary, protocol, metric, METRICS[metric][0], one.name)
        for protocol in data["protocols"]
        for metric in data["values"][protocol]
        if metric != "loss_change"
    ]
    if folds:
        blocks.append(Fold("All numbers of the curves, as tables", folds))
    return blocks


def _facts(one: SetUp) -> list[tuple[str, str]]:
    row, scored = one.first, one.summary[one.summary["status"] == "ok"]
    steps = int(row["steps"])
    return [
        ("text", str(row["dataset"])),
        ("model", str(row["model"])),
        ("trained at", f"{int(row['train_length']):,} tokens"),
        ("training", f"{steps:,} steps" if steps else "pretrained"),
        ("schemes", str(one.summary["scheme"].nunique())),
        ("seeds", span(scored["n_seeds"])),
        ("documents", span(scored["n_documents"])),
        ("precision", ", ".join(sorted(set(scored["dtype"]) - {""})) or "unknown"),
        ("files", one.source if one.source.count(",") == 0 else "results/runs"),
    ]


def _pictures(one: SetUp) -> list[Picture]:
    return [
        Picture(f"{stem.replace('_', ' ').capitalize()}, {one.name}", svg)
        for stem, svg in one.pictures.items()
    ]
