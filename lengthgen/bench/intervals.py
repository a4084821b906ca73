"""Are the intervals and tests worth their name, and what can a study see? Simulated once, written down for everyone to check.

    python -m lengthgen.bench.intervals --out results/calibration

writes coverage.csv (every interval, setting and size), same_scheme.csv (how often each test sees a difference between two arms of one
scheme), power.csv (minimum detectable difference by seeds and documents, from the variances of published runs) and summary.md. The rules
are those of evaluation/calibration.py and power.py. A minute on one core; the same numbers every time.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lengthgen import files
from lengthgen.errors import ConfigError, UserError
from lengthgen.evaluation import records
from lengthgen.reporting import tables, text_tables
from lengthgen.statistics import calibration, power
from lengthgen.statistics.losses import Losses, Paired, common_seeds

SEEDS = (3, 5, 10)
DOCUMENTS = (48, 96, 200)
AIMS = {"coverage": (0.93, 0.97), "rejection": (0.02, 0.08)}
MOST_SEEDS, ENOUGH = (
    200,
    (200, 500, 1000, 2000, 5000),
)  # seeds, and documents, tried to reach the goal
COVERAGE = ("setting", "n_seeds", "n_documents", "method", "covered", "error", "width", "n_sets")
SAME_SCHEME = ("n_comparisons", "n_seeds", "n_documents", "test", "rejected", "error")
POWER = ("n_seeds", "n_documents", "standard_error", "detectable", "cautious", "reaches_goal")


def same_scheme(
    n_comparisons: Sequence[int], documents: Sequence[int] = (48, 200)
) -> Iterator[dict[str, Any]]:
    """Rows of SAME_SCHEME: the share of A/A comparisons that each test rejects, and the standard error of that share."""
    for number in n_comparisons:
        for n_seeds in SEEDS:
            for n_documents in documents:
                size = {"n_comparisons": number, "n_seeds": n_seeds, "n_documents": n_documents}
                for test, rejected in calibration.same_scheme(**size).items():
                    yield size | {
                        "test": test,
                        "rejected": rejected,
                        "error": float(np.sqrt(rejected * (1 - rejected) / number)),
                    }


def pilot(folder: Path, schemes: Sequence[str], factor: int = 4) -> Paired:
    """The paired difference of two published schemes at `factor` times the training length. ConfigError if it is not there."""
    documents = tables.read_table(folder / "documents.csv", records.DOCUMENTS)
    own = documents[documents["protocol"] == "matched"]
    own = own[own["eval_length"] == factor * own["train_length"]]
    if len(own[list(tables.GROUP)].drop_duplicates()) != 1 or not set(schemes) <= set(
        own["scheme"]
    ):
        raise ConfigError(
            f"--pilot {folder} --schemes {','.join(schemes)}: expected one setting with both schemes at {factor} times its length"
        )
    one, other = (Losses.of_rows(own[own["scheme"] == scheme]) for scheme in schemes)
    seeds = common_seeds(one, other)
    return one.of_seeds(seeds).minus(other.of_seeds(seeds))


def to_the_goal(found: Paired) -> list[tuple[int, int]]:
    """(seeds, documents) that see power.GOAL: the fewest seeds for each number of documents of ENOUGH where MOST_SEEDS do."""
    cheapest = {}
    for n_documents in ENOUGH:
        rows = power.table(found, 0, range(2, MOST_SEEDS + 1), [n_documents])
        if reaching := [row["n_seeds"] for row in rows if row["reaches_goal"]]:
            cheapest[n_documents] = min(reaching)
    return [(n_seeds, n_documents) for n_documents, n_seeds in cheapest.items()]


def write(out: Path, given: argparse.Namespace) -> list[Path]:
    """Every table and the page into `out`. Returns the files."""
    found, schemes = Path(given.pilot), given.schemes.split(",")
    difference = pilot(found, schemes)
    made = {
        "coverage": (
            calibration.table(n_sets=given.sets, n_resamples=given.resamples, seeds=SEEDS),
            COVERAGE,
        ),
        "same_scheme": (list(same_scheme(given.comparisons)), SAME_SCHEME),
        "power": (power.table(difference, 0, SEEDS, DOCUMENTS), POWER),
    }
    for name, (rows, of_table) in made.items():
        files.write_table(out / f"{name}.csv", rows, of_table)
    parts = [
        "# Calibration",
        "",
        "`python -m lengthgen.bench.intervals`: simulated comparisons whose truth is known. Settings: `lengthgen/statistics/calibration.py`.",
        "",
        *_coverage(pd.DataFrame(made["coverage"][0])),
        *_same_scheme(pd.DataFrame(made["same_scheme"][0])),
        *_anchor(given.sets),
        *_power(
            made["power"][0],
            difference,
            f"{schemes[0]} minus {schemes[1]} at four times the training length, `{found.name}`",
        ),
    ]
    files.write_text(out / "summary.md", "\n".join(parts))
    return [*(out / f"{name}.csv" for name in made), out / "summary.md"]


def _coverage(rows: pd.DataFrame) -> list[str]:
    low, high = AIMS["coverage"]
    ours = rows[rows["method"] == "two-way Student"]
    outside = ours[(ours["covered"] < low) | (ours["covered"] > high)]
    said = [
        f"{row.setting}, {row.n_seeds} seeds, {row.n_documents} documents: {100 * row.covered:.1f} %"
        for row in outside.itertuples()
    ]
    error = 100 * float(np.sqrt(0.95 * 0.05 / rows["n_sets"].iloc[0]))
    return [
        "## Coverage of 95 % intervals (%)",
        "",
        f"{int(rows['n_sets'].iloc[0]):,} comparisons a cell, standard error {error:.1f} at 95.",
        f"Aim: 93 to 97. The interval of every verdict is the two-way Student one; outside the aim: {'; '.join(said) or 'nowhere'}.",
        "",
        *_grid(
            rows,
            ["setting", "n_seeds", "n_documents"],
            "method",
            lambda row: f"{100 * row.covered:.1f}",
        ),
        "",
    ]


def _same_scheme(rows: pd.DataFrame) -> list[str]:
    low, high = AIMS["rejection"]
    ours = rows[rows["test"] == "two-way Student"]
    outside = ours[(ours["rejected"] < low) | (ours["rejected"] > high)]
    keys = ["n_comparisons", "n_seeds", "n_documents"]
    said = [
        "{:,} comparisons, {} seeds, {} documents".format(*row)
        for row in outside[keys].itertuples(index=False, name=None)
    ]
    return [
        "## A scheme compared with itself: rejected at 0.05 (%, and the standard error)",
        "",
        "Two arms with disjoint seeds on the same documents, so that every rejection is wrong. Aim: 2 to 8. The two-way Student test, of",
        f"every verdict, is outside the aim: {'; '.join(said) or 'nowhere'}. Sign flips of 3 and 5 seeds cannot reach 0.05.",
        "",
        *_grid(rows, keys, "test", lambda row: f"{100 * row.rejected:.1f} ({100 * row.error:.1f})"),
        "",
    ]


def _anchor(n_sets: int) -> list[str]:
    covered = calibration.tokens_as_independent(n_sets=n_sets)
    return [
        "## Tokens taken as independent",
        "",
        "100 documents of 1,024 tokens, intra-document correlation 0.05: a 95 % interval from tokens covers the truth",
        f"{100 * covered['tokens']:.1f} % of the time (21.4 by theory), one from documents {100 * covered['documents']:.1f} %.",
        "",
    ]


def _power(rows: Sequence[dict], found: Paired, name: str) -> list[str]:
    parts = power.of(found).parts
    deviations = ", ".join(
        f"{float(np.sqrt(part[0])):.4f} by {unit}"
        for part, unit in zip(vars(parts).values(), UNITS, strict=True)
    )
    largest = next(
        row for row in rows if (row["n_seeds"], row["n_documents"]) == (SEEDS[-1], DOCUMENTS[-1])
    )
    needed = to_the_goal(found)
    reached = "is reached" if largest["reaches_goal"] else "is **not** reached"
    enough = (
        ", ".join(f"{seeds} x {documents:,}" for seeds, documents in needed)
        or f"none up to {MOST_SEEDS} x {ENOUGH[-1]:,}"
    )
    return [
        "## Minimum detectable difference (nats/token)",
        "",
        f"The true difference that is found four times in five, at 0.05, with the variances of {name}:",
        f"standard deviations {deviations}, from {found.n_seeds} seeds.",
        "In brackets: the same, had those runs been lucky with their variances.",
        "",
        f"Goal: {power.GOAL} nats with {SEEDS[-1]} seeds and {DOCUMENTS[-1]} documents. It {reached}: {largest['detectable']:.4f}.",
        f"Seeds x documents that would do: {enough}.",
        "",
        *_grid(
            pd.DataFrame(rows),
            ["n_seeds"],
            "n_documents",
            lambda row: f"{row.detectable:.4f} [{row.cautious:.4f}]",
            "seeds \\ documents",
        ),
        "",
    ]


UNITS = ("seed", "document", "seed and document together")


def _grid(
    rows: pd.DataFrame, keys: list[str], column: str, cell: Any, corner: str | None = None
) -> list[str]:
    """A Markdown table: a line for each value of the keys, a column for each value of `column`, in the order of the rows."""
    heads = [corner] if corner else [key.removeprefix("n_") for key in keys]
    values = list(dict.fromkeys(rows[column]))
    lines = []
    for key, own in rows.groupby(keys, sort=False):
        cells = {getattr(row, column): cell(row) for row in own.itertuples()}
        lines.append([*map(str, key), *(cells[value] for value in values)])
    return text_tables.markdown([*heads, *map(str, values)], lines, "l" * len(heads) + "r")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the files written, one a line, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lengthgen.bench.intervals",
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the tables go"
    )
    parser.add_argument(
        "--pilot",
        default="results/length_512",
        metavar="FOLDER",
        help="published runs whose variances are taken",
    )
    parser.add_argument(
        "--schemes",
        default="t5_bias,alibi",
        metavar="A,B",
        help="the two published schemes that are compared",
    )
    parser.add_argument(
        "--sets",
        type=int,
        default=1000,
        metavar="N",
        help="simulated comparisons a cell of the coverage (default: 1000)",
    )
    parser.add_argument(
        "--resamples", type=int, default=2000, metavar="N", help="of each bootstrap (default: 2000)"
    )
    parser.add_argument(
        "--comparisons",
        type=int,
        nargs="+",
        default=[200, 2000],
        metavar="N",
        help="of a scheme with itself",
    )
    try:
        written = write((given := parser.parse_args(argv)).out, given)
    except UserError as error:
        print(f"lengthgen calibrate: {error}", file=sys.stderr)
        return error.exit_code
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
