"""Do intervals and tests keep their promise, and what can a study see? By simulation.

    python -m lengthgen.bench.intervals --out results/calibration

writes coverage.csv (every interval, setting and size), few_documents.csv (few, unequal and skewed
documents), same_scheme.csv (how often each test sees a
difference between two arms of one scheme), power.csv (minimum detectable difference by seeds and
documents, from the variances of published runs) and summary.md. Rules: statistics/calibration.py,
statistics/power.py. Two minutes on one core; the same numbers every time.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lengthgen import files
from lengthgen.errors import ConfigError, UserError
from lengthgen.evaluation import records
from lengthgen.reporting import tables, text_tables
from lengthgen.runs import stopping
from lengthgen.statistics import calibration, power
from lengthgen.statistics.documents import FEWEST
from lengthgen.statistics.losses import Losses, common_seeds
from lengthgen.statistics.paired import Paired
from lengthgen.terminal.progress import each

SEEDS = (3, 5, 10)
DOCUMENTS = (48, 96, 200)
AIMS = {"coverage": (0.93, 0.97), "rejection": (0.02, 0.08)}
# Tried to reach the goal: numbers of documents, each with up to so many seeds.
ENOUGH, MOST_SEEDS = (200, 500, 1000, 2000, 5000), 200
COVERAGE = ("setting", "n_seeds", "n_documents", "method", "covered", "error", "width", "n_sets")
FEW = (
    "skew", "n_seeds", "n_documents", "method", "covered", "below", "above", "error", "width",
    "n_sets",
)  # fmt: skip
SAME_SCHEME = ("n_comparisons", "n_seeds", "n_documents", "test", "rejected", "error")
POWER = ("n_seeds", "n_documents", "standard_error", "detectable", "cautious", "reaches_goal")


def same_scheme(
    n_comparisons: Sequence[int], documents: Sequence[int] = (48, 200)
) -> Iterator[dict[str, Any]]:
    """Rows of SAME_SCHEME: the share of A/A comparisons that each test rejects, and its error."""
    for number, n_seeds, n_documents in itertools.product(n_comparisons, SEEDS, documents):
        size = {"n_comparisons": number, "n_seeds": n_seeds, "n_documents": n_documents}
        for test, rejected in calibration.same_scheme(**size).items():
            error = float(np.sqrt(rejected * (1 - rejected) / number))
            yield size | {"test": test, "rejected": rejected, "error": error}


def pilot(folder: Path, schemes: Sequence[str], factor: int = 4) -> Paired:
    """The paired difference of two published schemes at `factor` times the training length.

    ConfigError if it is not there.
    """
    rows = tables.read_table(folder / "documents.csv", records.DOCUMENTS)
    rows = rows[rows["protocol"] == "matched"]
    rows = rows[rows["eval_length"] == factor * rows["train_length"]]
    n_settings = len(rows[list(tables.GROUP)].drop_duplicates())
    if n_settings != 1 or not set(schemes) <= set(rows["scheme"]):
        raise ConfigError(
            f"--pilot {folder} --schemes {','.join(schemes)}: expected one setting with both "
            f"schemes at {factor} times its length"
        )
    one, other = (Losses.of_rows(rows[rows["scheme"] == scheme]) for scheme in schemes)
    seeds = common_seeds(one, other)
    return one.of_seeds(seeds).minus(other.of_seeds(seeds))


def to_the_goal(difference: Paired) -> list[tuple[int, int]]:
    """(seeds, documents) that see power.GOAL: for each of ENOUGH, the fewest seeds that do."""
    cheapest = []
    for n_documents in ENOUGH:
        rows = power.table(difference, 0, range(2, MOST_SEEDS + 1), [n_documents])
        if reaching := [row["n_seeds"] for row in rows if row["reaches_goal"]]:
            cheapest.append((min(reaching), n_documents))
    return cheapest


def write(out: Path, options: argparse.Namespace) -> list[Path]:
    """Every table and the page into `out`. Returns the files."""
    folder, schemes = Path(options.pilot), options.schemes.split(",")
    difference = pilot(folder, schemes)
    sets, resamples = options.sets, options.resamples
    work: list[Callable[[], list[dict]]] = [
        lambda: calibration.table(n_sets=sets, n_resamples=resamples, seeds=SEEDS),
        lambda: calibration.few_documents(n_sets=2 * sets),
        lambda: list(same_scheme(options.comparisons)),
        lambda: power.table(difference, 0, SEEDS, DOCUMENTS),
    ]
    made = []
    for make in each("tables", work, len(work)):
        made.append(make())
    coverage, few, same, detectable = made
    csv = {
        "coverage.csv": (coverage, COVERAGE),
        "few_documents.csv": (few, FEW),
        "same_scheme.csv": (same, SAME_SCHEME),
        "power.csv": (detectable, POWER),
    }
    for file, (rows, columns) in csv.items():
        files.write_table(out / file, rows, columns)
    name = f"{schemes[0]} minus {schemes[1]} at four times the training length, `{folder.name}`"
    parts = [
        "# Calibration",
        "",
        "`python -m lengthgen.bench.intervals`: simulated comparisons whose truth is known. "
        "Settings: `lengthgen/statistics/calibration.py`.",
        "",
        *_coverage(pd.DataFrame(coverage)),
        *_few(pd.DataFrame(few)),
        *_same_scheme(pd.DataFrame(same)),
        *_anchor(options.sets),
        *_power(detectable, difference, name),
    ]
    files.write_text(out / "summary.md", "\n".join(parts))
    return [out / file for file in (*csv, "summary.md")]


def _outside(rows: pd.DataFrame, by: str, column: str, aim: str, words: str) -> str:
    """The cells of the two-way Student method, by which verdicts are made, that miss their aim."""
    rows = rows[rows[by] == "two-way Student"]
    missed = rows[~rows[column].between(*AIMS[aim])]
    cells = (words.format(row) for row in missed.itertuples())
    return "; ".join(cells) or "nowhere"


def _coverage(rows: pd.DataFrame) -> list[str]:
    words = "{0.setting}, {0.n_seeds} seeds, {0.n_documents} documents: {0.covered:.1%}"
    outside = _outside(rows, "method", "covered", "coverage", words).replace("%", " %")
    n_sets = int(rows["n_sets"].iloc[0])
    error = 100 * float(np.sqrt(0.95 * 0.05 / n_sets))
    keys = ["setting", "n_seeds", "n_documents"]
    return [
        "## Coverage of 95 % intervals (%)",
        "",
        f"{n_sets:,} comparisons a cell, standard error {error:.1f} at 95.",
        "Aim: 93 to 97. The interval of every verdict is the two-way Student one; "
        f"outside the aim: {outside}.",
        "",
        *_grid(rows, keys, "method", lambda row: f"{100 * row.covered:.1f}"),
        "",
    ]


def _few(rows: pd.DataFrame) -> list[str]:
    used = rows[rows["method"] == "in use"]
    missed = used[~used["covered"].between(*AIMS["coverage"])]
    cells = [
        f"{row.skew}, {row.n_seeds} seeds, {row.n_documents} documents: {row.covered:.1%}"
        for row in missed.itertuples()
    ]
    n_sets = int(rows["n_sets"].iloc[0])
    error = 100 * float(np.sqrt(0.95 * 0.05 / n_sets))
    sides = "{:.1f} ({:.1f}, {:.1f})".format
    return [
        "## Few, unequal and skewed documents: coverage (%), intervals below and above truth",
        "",
        f"Documents of 1 to 16 blocks, tokens of Student's distribution with 3 degrees of freedom; "
        f"{n_sets:,} comparisons a cell,",
        f"standard error {error:.1f} at 95. `in use` (statistics/documents.py) is the interval of "
        "every verdict and of every mean",
        "loss; plain Student is the two-way interval without its corrections. "
        f"No word is given below {FEWEST} documents.",
        "",
        f"Outside 93 to 97: {'; '.join(cells) or 'nowhere'}.".replace("%", " %"),
        "",
        *_grid(
            rows,
            ["skew", "n_seeds", "n_documents"],
            "method",
            lambda row: sides(100 * row.covered, 100 * row.below, 100 * row.above),
        ),
        "",
    ]


def _same_scheme(rows: pd.DataFrame) -> list[str]:
    words = "{0.n_comparisons:,} comparisons, {0.n_seeds} seeds, {0.n_documents} documents"
    outside = _outside(rows, "test", "rejected", "rejection", words)
    keys = ["n_comparisons", "n_seeds", "n_documents"]
    return [
        "## A scheme compared with itself: rejected at 0.05 (%, and the standard error)",
        "",
        "Two arms with disjoint seeds on the same documents, so that every rejection is wrong. "
        "Aim: 2 to 8. The two-way Student test, of",
        f"every verdict, is outside the aim: {outside}. "
        "Sign flips of 3 and 5 seeds cannot reach 0.05.",
        "",
        *_grid(rows, keys, "test", lambda row: f"{100 * row.rejected:.1f} ({100 * row.error:.1f})"),
        "",
    ]


def _anchor(n_sets: int) -> list[str]:
    covered = calibration.tokens_as_independent(n_sets=n_sets)
    return [
        "## Tokens taken as independent",
        "",
        "100 documents of 1,024 tokens, intra-document correlation 0.05: "
        "a 95 % interval from tokens covers the truth",
        f"{100 * covered['tokens']:.1f} % of the time (21.4 by theory), "
        f"one from documents {100 * covered['documents']:.1f} %.",
        "",
    ]


def _power(rows: Sequence[dict], difference: Paired, name: str) -> list[str]:
    variances = vars(power.of(difference).parts).values()
    units = ("seed", "document", "seed and document together")
    deviations = ", ".join(
        f"{float(np.sqrt(variance[0])):.4f} by {unit}"
        for variance, unit in zip(variances, units, strict=True)
    )
    most = (SEEDS[-1], DOCUMENTS[-1])
    largest = next(row for row in rows if (row["n_seeds"], row["n_documents"]) == most)
    reached = "is reached" if largest["reaches_goal"] else "is **not** reached"
    pairs = (f"{seeds} x {documents:,}" for seeds, documents in to_the_goal(difference))
    enough = ", ".join(pairs) or f"none up to {MOST_SEEDS} x {ENOUGH[-1]:,}"

    def cell(row: Any) -> str:
        return f"{row.detectable:.4f} [{row.cautious:.4f}]"

    return [
        "## Minimum detectable difference (nats/token)",
        "",
        "The true difference that is found four times in five, at 0.05, "
        f"with the variances of {name}:",
        f"standard deviations {deviations}, from {difference.n_seeds} seeds.",
        "In brackets: the same, had those runs been lucky with their variances.",
        "",
        f"Goal: {power.GOAL} nats with {SEEDS[-1]} seeds and {DOCUMENTS[-1]} documents. "
        f"It {reached}: {largest['detectable']:.4f}.",
        f"Seeds x documents that would do: {enough}.",
        "",
        *_grid(pd.DataFrame(rows), ["n_seeds"], "n_documents", cell, "seeds \\ documents"),
        "",
    ]


def _grid(
    rows: pd.DataFrame,
    keys: list[str],
    column: str,
    cell: Callable[[Any], str],
    corner: str | None = None,
) -> list[str]:
    """A Markdown table: a line for each value of `keys`, a column for each of `column`."""
    heads = [corner] if corner else [key.removeprefix("n_") for key in keys]
    values = list(dict.fromkeys(rows[column]))
    lines = []
    for key, group in rows.groupby(keys, sort=False):
        cells = {getattr(row, column): cell(row) for row in group.itertuples()}
        lines.append([*map(str, key), *(cells[value] for value in values)])
    return text_tables.markdown([*heads, *map(str, values)], lines, "l" * len(heads) + "r")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the files written, one a line, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lengthgen.bench.intervals",
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the tables go")
    words = "published runs whose variances are taken"
    add("--pilot", default="results/length_512_800_steps", metavar="FOLDER", help=words)
    add("--schemes", default="t5_bias,alibi", metavar="A,B", help="two schemes of --pilot")
    add("--sets", type=int, default=1000, metavar="N", help="comparisons a cell (default: 1000)")
    add("--resamples", type=int, default=2000, metavar="N", help="of a bootstrap (default: 2000)")
    several: dict[str, Any] = {"type": int, "nargs": "+", "default": [200, 2000], "metavar": "N"}
    add("--comparisons", help="of a scheme with itself", **several)
    options = parser.parse_args(argv)
    try:
        with stopping.watched():
            written = write(options.out, options)
    except UserError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
