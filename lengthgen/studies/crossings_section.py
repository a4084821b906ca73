"""The section of a study's page about where schemes cross."""

import itertools
import math
from collections.abc import Iterable, Sequence

from lengthgen.reporting import text_tables
from lengthgen.studies import measures, sections
from lengthgen.studies.study_folder import Row

AHEAD, BEHIND, UNDECIDED = "ahead", "behind", "undecided"
TEXT = """Loss minus that of {baseline}, nats/token, same corpus, seeds and targets; below 0: ahead
of it. Intervals of 95 % each, not corrected for their number."""
WHERE = """The same in words: a scheme is ahead of {baseline}, or behind, where the interval says
so. Bold: it crosses, surely behind with one size of the corpus and surely ahead with another."""


def lines(rows: Sequence[Row]) -> list[str]:
    """Markdown; [] without rows of differences.csv."""
    parts = []
    for baseline in dict.fromkeys(row["baseline"] for row in rows):
        chosen = [row for row in rows if row["baseline"] == baseline]
        said = (" ".join(text.format(baseline=baseline).split()) for text in (TEXT, WHERE))
        table = text_tables.by_length(chosen, _named, sections.cell)
        parts += sections.section(f"Against {baseline}", next(said), table)
        parts += [next(said), "", *_words(chosen), ""]
    return parts


def drawn(rows: Sequence[Row], baseline: str) -> list[Row]:
    """The rows of one baseline as rows of values.csv, for a figure."""
    shown = {"measure": measures.DIFFERENCE, "protocol": "matched", "status": "ok"}
    return [{**row, **shown} for row in rows if row["baseline"] == baseline]


def crossing(rows: Iterable[Row]) -> str:
    """Where a scheme is ahead and where behind, from the smallest corpus to the largest.

    rows: of one scheme, baseline, text and evaluation length.
    """
    ordered = sorted(rows, key=lambda row: (math.isnan(row["corpus"]), row["corpus"]))
    spans = [
        (word, [row["corpus"] for row in same])
        for word, same in itertools.groupby(ordered, key=_word)
    ]
    if len(spans) == 1 and len(ordered) > 1:
        return f"{spans[0][0]} with each"
    said = "; ".join(f"{word} with {_sizes(sizes)}" for word, sizes in spans)
    return f"**{said}**" if {AHEAD, BEHIND} <= {word for word, _ in spans} else said


def _words(rows: Sequence[Row]) -> list[str]:
    """A line for each text and scheme, a column for each evaluation length."""
    found: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["dataset"], row["scheme"], row["eval_length"]), []).append(row)
    cells: list[Row] = [
        {"dataset": dataset, "scheme": scheme, "eval_length": length, "said": crossing(same)}
        for (dataset, scheme, length), same in found.items()
    ]
    return text_tables.by_length(
        cells, lambda row: f"{row['scheme']}, {row['dataset']}", lambda row: row["said"]
    )


def _word(row: Row) -> str:
    return AHEAD if row["high"] < 0 else BEHIND if row["low"] > 0 else UNDECIDED


def _sizes(sizes: Sequence[float]) -> str:
    ends = dict.fromkeys((sizes[0], sizes[-1]))
    return " to ".join("all" if math.isnan(size) else text_tables.count(size) for size in ends)


def _named(row: Row) -> str:
    size = "" if math.isnan(row["corpus"]) else f", {text_tables.count(row['corpus'])} tokens"
    return f"{row['scheme']}, {row['dataset']}{size}"
