"""`lengthgen plot`: every figure again, or chosen runs' tables and figures in a folder.

lengthgen plot                                           every figure again
lengthgen plot --publish main --where train_length=512   the runs' tables into results/main/
               --reference-where train_length=2048       with the gain of training at that length
lengthgen plot main --format pdf --style paper           main's figures for a paper
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen.cli import plot_look
from lengthgen.config import command_line, paths
from lengthgen.config.redaction import redact_text
from lengthgen.errors import ConfigError, DataError, UserError
from lengthgen.evaluation import selection
from lengthgen.reporting import drawn, publish, tables
from lengthgen.reporting.figures.chosen import Chosen
from lengthgen.studies import report
from lengthgen.terminal.progress import each

RUNS = "runs"  # the figures over all of them


def main(argv: Sequence[str]) -> int:
    """Print the files written, one a line. Returns the exit code: 3 if something is damaged."""
    faults: list[str] = []
    try:
        for path in _write(_parser().parse_args(list(argv)), faults):
            print(path)
    except UserError as error:
        faults.append(" ".join(str(error).split()))
        return error.exit_code
    finally:
        for line in faults:
            print(f"lengthgen plot: {redact_text(line)}", file=sys.stderr)
    return DataError.exit_code if faults else 0


def _write(options: argparse.Namespace, faults: list[str]) -> list[Path]:
    results = paths.folder(options.results, "--results")
    asked = plot_look.given(options)
    if options.publish:
        if asked or options.folders:
            raise ConfigError(
                f"{(asked or options.folders)[0]} cannot be given with --publish, whose figures "
                "stand beside its tables; publish first, then draw them as you like"
            )
        where = selection.where(options.where)
        reference = selection.where(options.reference_where, "--reference-where")
        return publish.publish(
            results, options.publish, where, redact_text(options.note), reference
        )
    if options.where or options.reference_where or options.note:
        raise ConfigError(
            "--where, --reference-where and --note choose and describe what is published; "
            "give --publish NAME with them"
        )
    if asked or options.folders:
        written = _as_asked(options, results, faults)
    else:
        written = publish.write_figures(results, faults.append)
        written += report.write_all(results, faults.append)
    if not written and not faults:
        raise ConfigError(
            f"nothing to plot: no finished evaluation under {results / 'runs'} and no published "
            f"folder under {results}; run `lengthgen train` first, or give --results FOLDER"
        )
    return written


def _as_asked(options: argparse.Namespace, results: Path, faults: list[str]) -> list[Path]:
    """Figures in the look that is asked for, in a folder of their own."""
    look, chosen = plot_look.look(options), plot_look.chosen(options)
    out = plot_look.folder(options, results)
    published = {folder.name: folder for folder in tables.published(results)}
    studies = {f"{report.STUDIES}/{folder.name}": folder for folder in report.folders(results)}
    wanted = options.folders or [RUNS, *published, *studies]
    for name in wanted:
        if name not in {RUNS, *published, *studies}:
            known = ", ".join([RUNS, *published, *studies])
            raise ConfigError(f"{name}: nothing of that name to draw; expected one of {known}")
    plot_look.check_names(chosen.schemes, _schemes(wanted, results, published, studies, chosen))
    written = []
    for name in each("folders", wanted, len(wanted)):
        try:
            if name == RUNS:
                written += drawn.of_runs(results, out / RUNS, look, chosen, faults.append)
            elif name in published:
                written += drawn.of_published(published[name], out / name, look, chosen)
            else:
                written += report.draw(studies[name], out / name, look, chosen)
        except DataError as error:
            faults.append(str(error))
    return written


def _schemes(
    wanted: Sequence[str],
    results: Path,
    published: Mapping[str, Path],
    studies: Mapping[str, Path],
    chosen: Chosen,
) -> set[str]:
    """What --schemes may name; not looked up where it is not given."""
    known: set[str] = set()
    if not chosen.schemes:
        return known
    for name in wanted:
        if name == RUNS:
            known |= set(tables.collect(results).lengths["scheme"])
        elif name in published:
            known |= drawn.schemes_of(published[name])
        else:
            known |= report.names_of(studies[name])
    return known


def _parser() -> argparse.ArgumentParser:
    description = "Draw every figure again from the tables under results/, or publish chosen runs."
    parser = command_line.Parser(prog="lengthgen plot", description=description)
    add = parser.add_argument
    words = f"draw these alone: {RUNS}, published folders, studies/NAME; tables stay as they are"
    add("folders", nargs="*", metavar="FOLDER", help=words)
    words = "where runs, tables and figures are (default: results)"
    add("--results", default="results", metavar="FOLDER", help=words)
    words = "write tables, figures and provenance of the chosen runs into results/NAME/"
    add("--publish", metavar="NAME", help=words)
    several: dict[str, Any] = {
        "nargs": "+",
        "action": "extend",
        "default": [],
        "metavar": "KEY=VALUE",
    }
    add("--where", help=f"runs to publish: {selection.HELP}", **several)
    words = "runs trained at longer lengths, evaluated on the same targets: what longer input gains"
    add("--reference-where", help=words, **several)
    words = "a sentence for the published provenance.json and summary.md"
    add("--note", default="", metavar="TEXT", help=words)
    plot_look.add_flags(parser)
    return parser
