"""The part of a published page that gives the words: fails, tolerates, uses, and their grounds."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from lengthgen.reporting import tables, text_tables, verdicts
from lengthgen.reporting.figures import palette
from lengthgen.reporting.status_words import STATUS_WORDS
from lengthgen.statistics.thresholds import IN_USE

GATES = {"passed": "passed at", "refused": "refused at", "": "not tried at"}


def cannot_support(refused: Mapping[int, str]) -> str:
    """The sentence of figure and page on the lengths that the corpus gate refused; may be empty."""
    if not refused:
        return ""
    # "As far as": a reference that gains nothing may also be too small or undertrained.
    lengths = ", ".join(f"{length:,}" for length in refused)
    (first, why), *_ = refused.items()
    return (
        "As far as the reference shows, this text cannot support a claim of use at "
        f"{lengths} tokens. At {first:,}, {why}."
    )


def section(rows: pd.DataFrame, first: Mapping[str, Any]) -> list[str]:
    """The words of one group (rows of verdicts.csv) and their grounds. first: of its summary."""
    if rows.empty:
        return []
    windows = (
        "a window of the text and a hard window in every layer"
        if rows["use_hard_window"].notna().any()
        else "a window of the text (the `hard_window` protocol was not evaluated)"
    )
    return [
        f"### Fails, tolerates or uses input beyond {int(first['train_length'])} tokens, matched",
        "",
        "From F, the change of the loss, and U, what the model gains over itself confined to its",
        f"training length by {windows};",
        "numbers in verdicts.csv. 95 % intervals, not corrected for the number of cells:",
        "exploratory. `tolerates` may be a property of the text:",
        *_gate(rows),
        "",
        *by_length(rows, lambda row: STATUS_WORDS.get(row["word"], row["word"])),
        "",
        *_reasons(rows),
        *_at_training_length(rows, int(first["train_length"])),
        *_utilisation(rows),
    ]


def _reasons(rows: pd.DataFrame) -> list[str]:
    """Why words are undecided, where the numbers do not say so."""
    known = rows[rows["reason"].fillna("") != ""]
    lines = [
        f"- {row['scheme']} at {row['eval_length']}: {row['reason']}"
        for row in tables.as_rows(known)
    ]
    return [*lines, ""] if lines else []


def _at_training_length(rows: pd.DataFrame, length: int) -> list[str]:
    """What must hold at the training length before a word about longer input means anything."""
    known = rows[rows["below_bigram"].notna() | rows["positions_gain"].notna()]
    if known.empty:
        return [
            "Whether the models have learned more than a bigram table, and whether they use",
            "their positions, is not known: neither was measured.",
            "",
        ]
    first = known.drop_duplicates("scheme")
    lines = [
        [row["scheme"], *(_interval(row, name) for name in verdicts.AT_L), row["positions_over"]]
        for row in sorted(tables.as_rows(first), key=lambda row: palette.order(row["scheme"]))
    ]
    return [
        f"What holds at {length} tokens comes first (nats/token, paired): `untrained` unless the",
        "loss is surely below that of a bigram table of the training text; `positions not in use`",
        f"unless it is surely {IN_USE} below that of `none` with the same seeds or, where that was",
        "not trained, below the scheme's own with its positions shuffled.",
        "",
        *text_tables.markdown(
            ["scheme", "below the bigram table", "gain by positions", "over"], lines, "lrrl"
        ),
        "",
    ]


def _interval(row: Mapping[str, Any], name: str) -> str:
    value, low, high = (row[end] for end in tables.ends(name))
    return text_tables.interval(value, low, high, "{:+.4f}".format) or "not measured"


def _gate(rows: pd.DataFrame) -> list[str]:
    """Whether the text can show the use of longer input at all."""
    if not verdicts.tried(rows):
        return [
            "whether a model trained at the longer length would gain from it was not tested.",
            "The corpus gate was not tried: no reference runs on the same tokens were given",
            "(`--reference-where`). A `uses` rests on U alone.",
        ]
    by_gate = {
        gate: sorted({int(length) for length in part["eval_length"]})
        for gate, part in rows.groupby("gate")
    }
    outcomes = "; ".join(
        f"{words} {', '.join(map(str, by_gate[gate]))}"
        for gate, words in GATES.items()
        if gate in by_gate
    )
    parts = [
        "the corpus gate asks whether the best reference gains from the longer input. It",
        f"{outcomes} tokens.",
    ]
    if refused := verdicts.refused(rows):
        parts += [
            f"**{cannot_support(refused)}** `uses` is not concluded there: where U alone would "
            "imply it, the word is `undecided`.",
            "",
            *(f"- {length}: {why}" for length, why in refused.items()),
        ]
    return parts


def _utilisation(rows: pd.DataFrame) -> list[str]:
    """u = U / U_ref, scheme x length, and the references that it rests on."""
    known = rows[rows["reference"].notna()]
    if known.empty:
        return []
    return [
        "### Utilisation: the gain from input beyond the training length, "
        "as a share of the reference's gain, matched",
        "",
        "1: uses all that the reference uses; 0: nothing; below 0: is harmed. Both gains are a",
        "model's loss with a window of the training length minus its loss with the whole input.",
        "Intervals: 95 %, Fieller; `unknown`: the reference's own gain may be 0.",
        f"References: {'; '.join(dict.fromkeys(known['reference']))}.",
        "",
        *by_length(known, _share),
        "",
    ]


def _share(row: Mapping[str, Any]) -> str:
    if pd.isna(row["utilisation"]):
        return "unknown"
    value, low, high = (row[name] for name in tables.ends("utilisation"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]".replace("nan", "?")


def by_length(rows: pd.DataFrame, cell: Callable[[Mapping[str, Any]], str]) -> list[str]:
    """A line for each scheme and a column for each length."""
    records = sorted(tables.as_rows(rows), key=lambda row: palette.order(row["scheme"]))
    return text_tables.by_length(records, lambda row: row["scheme"], cell, "scheme")
