"""`lengthgen plot`: every figure again, or chosen runs' tables and figures in a folder.

lengthgen plot                                           every figure again
lengthgen plot --publish main --where train_length=512   the runs' tables into results/main/
               --reference-where train_length=2048       with the gain of training at that length
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lengthgen.config import command_line, paths
from lengthgen.config.redaction import redact_text
from lengthgen.errors import ConfigError, DataError, UserError
from lengthgen.evaluation import selection
from lengthgen.reporting import publish
from lengthgen.studies import report


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
    if options.publish:
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
    written = publish.write_figures(results, faults.append)
    written += report.write_all(results, faults.append)
    if not written and not faults:
        raise ConfigError(
            f"nothing to plot: no finished evaluation under {results / 'runs'} and no published "
            f"folder under {results}; run `lengthgen train` first, or give --results FOLDER"
        )
    return written


def _parser() -> argparse.ArgumentParser:
    description = "Draw every figure again from the tables under results/, or publish chosen runs."
    parser = command_line.Parser(prog="lengthgen plot", description=description)
    add = parser.add_argument
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
    return parser
