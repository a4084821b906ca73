"""The summary of a published folder as Markdown: scheme x length, the loss with its interval and its change from the training length."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from lengthgen.reporting import publication, text_tables, verdicts
from lengthgen.reporting.figures import palette
from lengthgen.statistics import intervals

WORDS = {"refused": "refuses", "oom": "out of memory", "nonfinite": "not finite", "leak": "leaks"}


def summary(
    groups: Sequence[pd.DataFrame],
    note: Mapping[str, Any],
    said: pd.DataFrame | None = None,
    seen: pd.DataFrame | None = None,
) -> str:
    """The page for groups of rows with the columns of tables.SUMMARY.

    note: the published folder's provenance. said: answers.VERDICTS and GATED. seen: resolution.POWER.
    """
    parts = ["# Summary", ""]
    if note.get("note"):
        parts += [str(note["note"]), ""]
    for rows in groups:
        parts += _group(rows)
        first = rows.iloc[0]
        if said is not None:
            parts += _answers(verdicts.of_group(said, first), first)
        if seen is not None:
            parts += _seen(verdicts.of_group(seen, first))
        parts += _missing(note, rows)
    parts += _models(note)
    for title, key in (("Commands", "commands"), ("Commits", "commits"), ("Devices", "devices")):
        if note.get(key):
            parts += [f"{title}:", "", *(f"- `{value}`" for value in note[key]), ""]
    parts += _evaluations(note)
    return "\n".join(parts).rstrip("\n") + "\n"


def cannot_support(refused: Mapping[int, str]) -> str:
    """The sentence that a figure and a page say where the corpus gate refused: length -> why. Empty if it did not.

    A reference that gains nothing may be too small or too little trained: the text is refused as far as it shows.
    """
    if not refused:
        return ""
    lengths = ", ".join(f"{length:,}" for length in refused)
    (first, why), *_ = refused.items()
    return f"As far as the reference shows, this text cannot support a claim of use at {lengths} tokens. At {first:,}, {why}."


def _group(rows: pd.DataFrame) -> list[str]:
    first = rows.iloc[0]
    parts = [
        f"## {first['dataset']}, {first['model']} model, trained at {int(first['train_length'])} tokens for {int(first['steps'])} steps",
        "",
        f"Setting `{first['setting']}`, evaluation `{first['evaluation']}`.",
        f"Precision: {', '.join(sorted(set(rows['dtype']) - {''})) or 'unknown'}.",
        "",
    ]
    if rows["scheme"].nunique() > palette.DISTINCT:
        parts += [
            f"{rows['scheme'].nunique()} schemes: too many to tell apart as curves; each has its row in the figure fails_or_uses.",
            "",
        ]
    for protocol, own in rows.groupby("protocol", sort=True):
        scored = own[own["status"] == "ok"]
        counts = (
            ", ".join(f"{_range(scored[column])} {noun}" for column, noun in COUNTS)
            if len(scored)
            else "nothing scored"
        )
        parts += [f"### Loss (nats/token), {protocol}: {counts}", ""]
        if scored["loss_low"].notna().any():
            parts += [f"Intervals: 95 %, {intervals.words(scored['n_seeds'])}.", ""]
        parts += [*_grid(own, "loss", "{:.4f} [{:.4f}, {:.4f}]"), ""]
        if own["loss_change"].notna().any():
            title = f"### Change of the loss from {int(first['train_length'])} tokens (nats/token, paired), {protocol}"
            parts += [title, "", *_grid(own, "loss_change", "{:+.4f} [{:+.4f}, {:+.4f}]"), ""]
        if own["excess"].notna().any():
            title = f"### Excess of the loss over the exact floor of the same tokens (nats/token), {protocol}"
            parts += [title, "", *_grid(own, "excess", "{:.4f} [{:.4f}, {:.4f}]"), ""]
        if own["exact_match"].notna().any():
            title = f"### Exact match (share of documents whose answer is wholly right), {protocol}"
            parts += [title, "", *_grid(own, "exact_match", "{:.3f} [{:.3f}, {:.3f}]"), ""]
    return parts


def _answers(said: pd.DataFrame, first: pd.Series) -> list[str]:
    """The words of one group, scheme x length, and what they rest on."""
    if said.empty:
        return []
    confined = said["use_hard_window"].notna().any()
    windows = (
        "a window of the text and a hard window in every layer"
        if confined
        else "a window of the text (no `hard_window` protocol was evaluated)"
    )
    return [
        f"### Fails, tolerates or uses input beyond {int(first['train_length'])} tokens, matched",
        "",
        f"From F, the change of the loss, and U, what the model gains over itself confined to its training length by {windows};",
        "numbers in verdicts.csv. 95 % intervals, not corrected for the number of cells: exploratory. `tolerates` may be the text's doing:",
        *_gate(said),
        "",
        *_by_length(said, lambda row: WORDS.get(row["word"], row["word"])),
        "",
        *_utilisation(said),
    ]


def _gate(said: pd.DataFrame) -> list[str]:
    """Whether the text can show the use of longer input at all."""
    if not verdicts.tried(said):
        return [
            "whether a model trained at the longer length would gain by it is not asked here.",
            "The corpus gate was not tried: no reference runs on the same tokens were given (`--reference-where`). A `uses` rests on U.",
        ]
    by_gate = {
        gate: sorted({int(length) for length in own["eval_length"]})
        for gate, own in said.groupby("gate")
    }
    words = {"passed": "passed at", "refused": "refused at", "": "not tried at"}
    found = "; ".join(
        f"{words[gate]} {', '.join(map(str, by_gate[gate]))}" for gate in words if gate in by_gate
    )
    parts = [
        "whether the best reference gains by the longer input is the corpus gate, which is:",
        f"{found} tokens.",
    ]
    if refused := verdicts.refused(said):
        parts += [
            f"**{cannot_support(refused)}** There `uses` is not said: what U alone would call so is `undecided`."
        ]
        parts += ["", *(f"- {length}: {why}" for length, why in refused.items())]
    return parts


def _utilisation(said: pd.DataFrame) -> list[str]:
    """u = U / U_ref, scheme x length, and the references that it rests on."""
    known = said[said["reference"].notna()]
    if known.empty:
        return []
    named = "; ".join(dict.fromkeys(known["reference"]))
    return [
        "### Utilisation: the gain from input beyond the training length, as a share of the reference's gain, matched",
        "",
        "1 uses all that the reference does, 0 nothing, below 0 is harmed. Both gains are a model's own: its loss with a window of the",
        "training length minus its loss with the whole input. Intervals: 95 %, Fieller; `unknown`: the reference's own gain may be 0.",
        f"References: {named}.",
        "",
        *_by_length(known, _share),
        "",
    ]


def _share(row: Mapping[str, Any]) -> str:
    if pd.isna(row["utilisation"]):
        return "unknown"
    return f"{row['utilisation']:.2f} [{row['utilisation_low']:.2f}, {row['utilisation_high']:.2f}]".replace(
        "nan", "?"
    )


def _seen(seen: pd.DataFrame) -> list[str]:
    """The minimum detectable differences of one group, length by length: each scheme's change, and the median and worst pair."""
    if seen.empty:
        return []
    alone = (seen["n_seeds"] < 2).all()
    few = f"{_range(seen['n_seeds'])} seed{'' if alone else 's'} and {_range(seen['n_documents'])} documents"
    caution = (
        "One seed: how much other seeds would differ is unknown. These hold for other documents and these very models alone."
        if alone
        else "In brackets: the same, had these runs been lucky with their variances."
    )
    lengths = sorted({int(length) for length in seen["eval_length"]})
    lines = [
        [f"change of {scheme}", *_detectable(own, lengths)]
        for scheme, own in seen[seen["kind"] == "change"].groupby("scheme", sort=False)
    ]
    between = seen[seen["kind"] == "difference"].dropna(subset="detectable")
    if len(between):
        ranked = [
            own.sort_values("detectable", kind="stable")
            for _, own in between.groupby("eval_length")
        ]
        for title, pick in (
            ("median", lambda own: own.iloc[[(len(own) - 1) // 2]]),
            ("worst", lambda own: own.iloc[[-1]]),
        ):
            lines.append(
                [
                    f"between two schemes, {title}",
                    *_detectable(pd.concat(map(pick, ranked)), lengths),
                ]
            )
    return [
        "### What these runs could have seen (nats/token, matched)",
        "",
        f"The true difference that {few} find four times in five, at 0.05: what is smaller may well be there and not be seen.",
        f"{caution} Every pair of schemes: power.csv.",
        "",
        *text_tables.markdown(["", *map(str, lengths)], lines, "lr"),
        "",
    ]


def _detectable(rows: pd.DataFrame, lengths: Sequence[int]) -> list[str]:
    """A cell for each length; rows: at most one a length."""
    cells = {}
    for row in rows.to_dict("records"):
        likely = "unknown" if pd.isna(row["detectable"]) else f"{row['detectable']:.4f}"
        cells[int(row["eval_length"])] = (
            likely if pd.isna(row["cautious"]) else f"{likely} [{row['cautious']:.4f}]"
        )
    return [cells.get(length, "") for length in lengths]


def _missing(note: Mapping[str, Any], rows: pd.DataFrame) -> list[str]:
    """In one line, what a figure to be believed would have to say as well."""
    found = publication.missing(note, rows)
    return [f"Not known of these numbers: {'; '.join(found)}.", ""] if found else []


def _models(note: Mapping[str, Any]) -> list[str]:
    """The parameters and learning rate of each scheme, the same ones on one line."""
    by_facts: dict[tuple, set[str]] = {}
    for run in note.get("runs", []):
        if {"scheme", "parameters", "learning_rate"} <= set(run):
            facts = (
                run["parameters"].get("total"),
                run["parameters"].get("positional"),
                run["learning_rate"],
            )
            by_facts.setdefault(facts, set()).add(run["scheme"])
    lines = [
        f"- {', '.join(sorted(schemes, key=palette.order))}: {total:,} parameters, {positional:,} positional; learning rate {rate:g}"
        for (total, positional, rate), schemes in by_facts.items()
    ]
    return ["Models:", "", *lines, ""] if lines else []


def _evaluations(note: Mapping[str, Any]) -> list[str]:
    """The commits of the evaluations, and the hashes of the tokens that they scored."""
    lines = [
        f"- `{about['evaluation']}`, setting `{about['setting']}`: commit {_code(about['commits'])}, targets {_code(about['targets'])}"
        for about in note.get("evaluations", [])
    ]
    return (
        ["Evaluations (the same hash of the targets: the same tokens were scored):", "", *lines, ""]
        if lines
        else []
    )


def _code(values: Sequence[str]) -> str:
    return ", ".join(f"`{value}`" for value in values) or "unknown"


def _by_length(rows: pd.DataFrame, cell: Callable[[Mapping[str, Any]], str]) -> list[str]:
    cells = {(row["scheme"], int(row["eval_length"])): cell(row) for row in rows.to_dict("records")}
    return text_tables.grid(
        cells, _schemes(rows), sorted({length for _, length in cells}), "scheme"
    )


def _schemes(rows: pd.DataFrame) -> list[str]:
    return sorted(rows["scheme"].unique(), key=palette.order)


COUNTS = (("n_seeds", "seeds"), ("n_documents", "documents"), ("n_tokens", "tokens at each length"))


def _grid(rows: pd.DataFrame, column: str, pattern: str) -> list[str]:
    lengths = sorted({int(length) for length in rows["eval_length"]})
    cells = {
        (row["scheme"], int(row["eval_length"])): _cell(row, column, pattern)
        for row in rows.to_dict("records")
    }
    return text_tables.grid(cells, _schemes(rows), lengths, "scheme")


def _cell(row: Mapping[str, Any], column: str, pattern: str) -> str:
    if row["status"] != "ok":
        return WORDS.get(row["status"], row["status"])
    values = [row[column], row[f"{column}_low"], row[f"{column}_high"]]
    if pd.isna(values[0]):
        return ""
    if column == "loss_change" and row["eval_length"] == row["train_length"]:
        return "0"
    return (
        pattern.format(*values)
        if not pd.isna(values[1])
        else pattern.partition(" ")[0].format(values[0])
    )


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
