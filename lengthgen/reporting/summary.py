"""The Markdown page of a published folder: losses and verdicts, scheme x length, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from lengthgen.reporting import publication, tables, text_tables, verdict_section, verdicts
from lengthgen.reporting.figures import palette
from lengthgen.reporting.status_words import STATUS_WORDS
from lengthgen.statistics import intervals
from lengthgen.statistics.thresholds import UNDER_TRAINED

COUNTS = (("n_seeds", "seeds"), ("n_documents", "documents"), ("n_tokens", "tokens at each length"))
# Column of tables.SUMMARY, its heading, and how its numbers are written.
COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    (
        "loss_change",
        "Change of the loss from {length} tokens (nats/token, paired), {protocol}",
        "{:+.4f}".format,
    ),
    (
        "excess",
        "Excess of the loss over the exact floor of the same tokens (nats/token), {protocol}",
        "{:.4f}".format,
    ),
    (
        "below_bigram",
        "What the loss is below that of a bigram table of the training text "
        "(nats/token, paired), {protocol}",
        "{:+.4f}".format,
    ),
    (
        "exact_match",
        "Exact match (share of documents whose answer is entirely right), {protocol}",
        "{:.3f}".format,
    ),
)


def summary(
    groups: Sequence[pd.DataFrame],
    note: Mapping[str, Any],
    verdict_rows: pd.DataFrame | None = None,
    detectable_rows: pd.DataFrame | None = None,
) -> str:
    """The page for groups of rows of tables.SUMMARY. note: the published folder's provenance."""
    parts = ["# Summary", ""]
    if note.get("note"):
        parts += [str(note["note"]), ""]
    for rows in groups:
        parts += _losses(rows)
        first = tables.as_rows(rows)[0]
        if verdict_rows is not None:
            parts += verdict_section.section(verdicts.of_group(verdict_rows, first), first)
        if detectable_rows is not None:
            parts += _power(verdicts.of_group(detectable_rows, first))
        if missing := publication.missing(note, rows):
            parts += [f"Not known of these numbers: {'; '.join(missing)}.", ""]
    parts += _models(note)
    parts += _still_learning(note)
    for key in ("commands", "commits", "devices"):
        if note.get(key):
            parts += [f"{key.capitalize()}:", "", *(f"- `{value}`" for value in note[key]), ""]
    parts += _evaluations(note)
    return "\n".join(parts).rstrip("\n") + "\n"


def _losses(rows: pd.DataFrame) -> list[str]:
    first, n_schemes = rows.iloc[0], rows["scheme"].nunique()
    length, steps = int(first["train_length"]), int(first["steps"])
    # A pretrained model has none of ours.
    trained = f" for {steps} steps" if steps else ", pretrained"
    parts = [
        f"## {first['dataset']}, {first['model']} model, trained at {length} tokens{trained}",
        "",
        f"Setting `{first['setting']}`, evaluation `{first['evaluation']}`.",
        f"Precision: {', '.join(sorted(set(rows['dtype']) - {''})) or 'unknown'}.",
        "",
    ]
    if n_schemes > palette.DISTINCT:
        parts += [
            f"{n_schemes} schemes: too many to tell apart as curves; "
            "each has its row in the figure fails_or_uses.",
            "",
        ]
    for protocol, part in rows.groupby("protocol", sort=True):
        scored = part[part["status"] == "ok"]
        counts = ", ".join(f"{text_tables.span(scored[column])} {noun}" for column, noun in COUNTS)
        title = f"### Loss (nats/token), {protocol}: {counts if len(scored) else 'nothing scored'}"
        parts += [title, ""]
        if scored["loss_low"].notna().any():
            parts += [f"Intervals: 95 %, {intervals.words(scored['n_seeds'].to_numpy())}.", ""]
        parts += [*_table(part, "loss", "{:.4f}".format), ""]
        warnings = dict.fromkeys(reason for reason in scored["reason"] if reason)
        parts += [*(f"- {warning}" for warning in warnings), ""] if warnings else []
        for column, title, write in COLUMNS:
            if part[column].notna().any():
                title = title.format(length=length, protocol=protocol)
                parts += [f"### {title}", "", *_table(part, column, write), ""]
    return parts


def _power(rows: pd.DataFrame) -> list[str]:
    """Each change, and the median and the worst pair."""
    if rows.empty:
        return []
    one_seed = (rows["n_seeds"] < 2).all()
    size = f"{text_tables.span(rows['n_seeds'])} seed{'' if one_seed else 's'} and "
    size += f"{text_tables.span(rows['n_documents'])} documents"
    caution = (
        "With one seed, the variation between seeds is unknown: this holds for other documents\n"
        "and these very models alone."
        if one_seed
        else "In brackets: the same, if the variances of these runs happen to be too small."
    )
    lengths = sorted({int(length) for length in rows["eval_length"]})
    changes = rows[rows["kind"] == "change"].groupby("scheme", sort=False)
    lines = [[f"change of {scheme}", *_detectable(part, lengths)] for scheme, part in changes]
    pairs = rows[rows["kind"] == "difference"].dropna(subset="detectable")
    if len(pairs):
        # A median pair that exists, not a mean of two, so that it can be found in power.csv.
        ranked = [
            part.sort_values("detectable", kind="stable")
            for _, part in pairs.groupby("eval_length")
        ]
        for title, share in (("median", 0.5), ("worst", 1.0)):
            chosen = pd.concat([part.iloc[[int((len(part) - 1) * share)]] for part in ranked])
            lines.append([f"between two schemes, {title}", *_detectable(chosen, lengths)])
    return [
        "### Smallest detectable differences (nats/token, matched)",
        "",
        f"The true difference that {size} detect with probability 0.8, at level 0.05.",
        "A smaller one may exist and go unseen.",
        f"{caution} Every pair of schemes: power.csv.",
        "",
        *text_tables.markdown(["", *map(str, lengths)], lines, "lr"),
        "",
    ]


def _detectable(rows: pd.DataFrame, lengths: Sequence[int]) -> list[str]:
    """A cell for each length. rows: at most one for each length."""
    cells = {}
    for row in tables.as_rows(rows):
        cell = "unknown" if pd.isna(row["detectable"]) else f"{row['detectable']:.4f}"
        if not pd.isna(row["cautious"]):
            cell += f" [{row['cautious']:.4f}]"
        cells[int(row["eval_length"])] = cell
    return [cells.get(length, "") for length in lengths]


def _models(note: Mapping[str, Any]) -> list[str]:
    """Parameters and learning rate of each scheme; schemes that share them share a line."""
    by_facts: dict[tuple, set[str]] = {}
    for run in note.get("runs", []):
        if {"scheme", "parameters", "learning_rate"} <= set(run):
            counts = run["parameters"]
            facts = (counts.get("total"), counts.get("positional"), run["learning_rate"])
            by_facts.setdefault(facts, set()).add(run["scheme"])
    lines = [
        f"- {', '.join(sorted(schemes, key=palette.order))}: {total:,} parameters, "
        f"{positional:,} positional; learning rate {rate:g}"
        for (total, positional, rate), schemes in by_facts.items()
    ]
    return ["Models:", "", *lines, ""] if lines else []


def _still_learning(note: Mapping[str, Any]) -> list[str]:
    """Schemes whose training was not at its end, with what the last doubling of steps gained."""
    gained: dict[str, list[float]] = {}
    for run in note.get("runs", []):
        if "last_doubling" in run and "scheme" in run:
            gained.setdefault(run["scheme"], []).append(run["last_doubling"])
    means = {scheme: sum(values) / len(values) for scheme, values in gained.items()}
    still = [scheme for scheme, mean in means.items() if mean >= UNDER_TRAINED]
    if not still:
        return []
    listed = ", ".join(f"{name} {means[name]:.3f}" for name in sorted(still, key=palette.order))
    return [
        "Under-trained: the last doubling of the steps improved the held-out loss at the training "
        f"length by {UNDER_TRAINED} nats or more (mean over seeds): {listed}. What these schemes "
        "do beyond it may change with more training.",
        "",
    ]


def _evaluations(note: Mapping[str, Any]) -> list[str]:
    """The commits of the evaluations, and the hashes of the tokens that they scored."""
    lines = [
        f"- `{about['evaluation']}`, setting `{about['setting']}`: "
        f"commit {_code(about['commits'])}, targets {_code(about['targets'])}"
        for about in note.get("evaluations", [])
    ]
    title = "Evaluations (the same hash of the targets: the same tokens were scored):"
    return [title, "", *lines, ""] if lines else []


def _code(values: Sequence[str]) -> str:
    return ", ".join(f"`{value}`" for value in values) or "unknown"


def _table(rows: pd.DataFrame, column: str, write: Callable[[float], str]) -> list[str]:
    def cell(row: Mapping[str, Any]) -> str:
        if row["status"] != "ok":
            return STATUS_WORDS.get(row["status"], row["status"])
        value, low, high = (row[name] for name in tables.ends(column))
        is_baseline = column == "loss_change" and row["eval_length"] == row["train_length"]
        return "0" if is_baseline and value == 0 else text_tables.interval(value, low, high, write)

    return verdict_section.by_length(rows, cell)
