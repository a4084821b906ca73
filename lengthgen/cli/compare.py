"""`lengthgen compare`: runs side by side, scheme x length, at any time.

lengthgen compare                                     all runs in results/
lengthgen compare --where scheme=rope,alibi           some of them (`lengthgen list runs`)
lengthgen compare results/length_512                  what was published there
lengthgen compare --json | --csv | --latex            for programs and papers; --json lm-eval too
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthgen.config import command_line, paths
from lengthgen.config.redaction import redact, redact_text
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation import records, selection

if TYPE_CHECKING:
    from lengthgen.reporting.comparison import Group

SCHEMAS = ("lengthgen", "lm-eval")
WIDTH = 120  # characters of a table that goes to no terminal


def main(argv: Sequence[str]) -> int:
    """Print the table, or write it. Returns the exit code: 3 if something is damaged."""
    options = parser().parse_args(list(argv))
    results = paths.folder(options.results, "--results")
    where = selection.where(options.where)
    place = _place(options)
    found, faults = (
        (_published(options.folders, options.where), []) if options.folders
        else _of_runs(results, where)
    )  # fmt: skip
    lengths = _lengths(found, options.lengths)
    text = _text(found, lengths, options, results)
    if place:
        from lengthgen import files

        files.write_text(place, text + "\n")
        print(place)
    else:
        print(text)
    for line in faults:
        print(f"lengthgen compare: {redact_text(line)}", file=sys.stderr)
    return DataError.exit_code if faults else 0


def after_sweep(results: Path, evaluations: Sequence[Path]) -> str:
    """The table of a sweep's runs under the settings that it evaluated; empty without any.

    evaluations: the folders that its jobs made or found. Evaluations with the same settings that
    the runs had before, such as the one without a retrofit, stand beside them.
    """
    from lengthgen.reporting import comparison, comparison_table, tables

    rows = [row for folder in evaluations if (row := selection.first_row(folder))]
    made = {(row["steps"], row["evaluation"]) for row in rows}

    def alike(names: Iterable[str]) -> list[Path]:
        return [
            folder
            for run in map(records.run, (results / "runs" / name for name in sorted(names)))
            for folder in run.evaluations
            if (row := selection.first_row(folder))
            and (row["steps"], row["evaluation"]) in made
            and not run.faults_of(folder)
        ]

    names = {row["run"] for row in rows}
    if not (folders := alike(names)):
        return ""
    without = (path.name for path in (results / "runs").glob("none-*"))
    beside = tables.read_evaluations(alike(set(without) - names)).documents
    chosen = comparison.of_runs(tables.read_evaluations(folders))
    return comparison_table.terminal(comparison.groups(chosen, beside), terminal_width())


def terminal_width() -> int:
    """Of the terminal that is written to; COLUMNS counts, as for other programs."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def _published(folders: Sequence[str], where: Sequence[str]) -> "list[Group]":
    if where:
        raise ConfigError(
            f"--where chooses runs in results/; {folders[0]} is a published folder: "
            "give one of the two"
        )
    from lengthgen.reporting import comparison, published_folder, tables

    found = []
    for name in folders:
        folder = paths.folder(name, "FOLDER")
        if "=" in name and not folder.exists():
            raise ConfigError(f"{name}: expected a published folder; for runs write --where {name}")
        if not tables.is_published(folder):
            known = ", ".join(str(path) for path in tables.published(folder.parent)[:4])
            there = f"published there: {known}" if known else "`lengthgen plot --publish` makes one"
            raise ConfigError(f"{name}: expected a published folder; {there}")
        found += comparison.groups(published_folder.read(folder))
    return found


def _of_runs(results: Path, where: selection.Where) -> "tuple[list[Group], list[str]]":
    """(groups, a line for each damaged evaluation that may be meant)"""
    from lengthgen.reporting import comparison, tables

    collected = tables.collect(results)
    chosen = tables.select(collected, where)
    faults = [fault.line for fault in tables.faults_of(chosen, where)]
    if chosen.lengths.empty and not faults:
        if where:
            selection.runs(results, where)  # says what there is instead
        raise ConfigError(_no_evaluation(results, where))
    return comparison.groups(comparison.of_runs(chosen), collected.documents), faults


def _no_evaluation(results: Path, where: selection.Where) -> str:
    from lengthgen.reporting import tables

    of = f" of {selection.described(where)}" if where else ""
    known = tables.published(results)
    hint = f"; published: `lengthgen compare {known[0]}`" if known else ""
    return (
        f"no finished evaluation{of} in {results / 'runs'}; run `lengthgen train` first, or give "
        f"--results FOLDER{hint}"
    )


def _lengths(found: "Sequence[Group]", asked: Sequence[int] | None) -> Sequence[int] | None:
    known = sorted({length for group in found for length in group.lengths})
    if asked is not None and (unknown := sorted(set(asked) - set(known))):
        raise ConfigError(
            f"--lengths {','.join(map(str, unknown))}: not evaluated; expected some of "
            f"{', '.join(map(str, known))}"
        )
    return asked


def _text(
    found: "Sequence[Group]",
    lengths: Sequence[int] | None,
    options: argparse.Namespace,
    results: Path,
) -> str:
    from lengthgen.reporting import comparison, comparison_table

    if options.json == "lm-eval":
        from lengthgen.exporting import lm_eval_comparison

        return _json(lm_eval_comparison.content(found, results))
    if options.json:
        return _json(comparison.as_json(found))
    if options.csv:
        return comparison.as_csv(found).rstrip("\n")
    if options.latex:
        return comparison_table.latex(found, lengths)
    width = WIDTH if options.to else terminal_width()
    return comparison_table.terminal(found, width, lengths)


def _json(content: Any) -> str:
    return json.dumps(redact(content), indent=2, ensure_ascii=False)


def _place(options: argparse.Namespace) -> Path | None:
    """The file to write, which is not there yet unless it may be replaced."""
    if options.to is None:
        return None
    place = paths.folder(options.to, "--to")
    if place.is_dir() or place.is_symlink() or (place.exists() and not options.overwrite):
        raise ConfigError(
            f"--to {place} exists; give another name, or --overwrite to replace the file"
        )
    return place


def parser() -> argparse.ArgumentParser:
    """Of `lengthgen compare`; completion reads its flags."""
    description = "Runs side by side: the loss at the training length, and what longer input does."
    made = command_line.Parser(prog="lengthgen compare", description=description)
    add = made.add_argument
    words = "published folders, such as results/length_512 (default: the runs in results/)"
    add("folders", nargs="*", metavar="FOLDER", help=words)
    add("--where", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help=f"runs to compare: {selection.HELP}")  # fmt: skip
    words = "lengths of the table (default: all beyond the training length)"
    add("--lengths", type=_numbers, metavar="N,N", help=words)
    kind = made.add_mutually_exclusive_group()
    words = "as JSON; lm-eval: as results of lm-evaluation-harness"
    kind.add_argument("--json", nargs="?", const=SCHEMAS[0], choices=SCHEMAS, help=words)
    words = "as CSV, a row for each scheme and length"
    kind.add_argument("--csv", action="store_true", help=words)
    words = "as LaTeX, for the package booktabs"
    kind.add_argument("--latex", action="store_true", help=words)
    add("--to", metavar="FILE", help="write it into a file (default: print it)")
    add("--overwrite", action="store_true", help="replace that file")
    add("--results", default="results", metavar="FOLDER", help="folder of runs (default: results)")
    return made


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() and 1 <= int(part) <= 2**24 for part in parts):
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected whole numbers, as 1024,2048")
    return [int(part) for part in parts]
