"""`lengthgen plot`: every figure again, or the tables and figures of chosen runs in a folder of their own.

lengthgen plot                                               every figure again
lengthgen plot --publish main --where train_length=512       the runs' tables into results/main/, for the README
               --reference-where train_length=2048           and what models trained at the longer length gain by it
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lengthgen.config import command_line
from lengthgen.errors import ConfigError, UserError
from lengthgen.evaluation import records
from lengthgen.reporting import publish
from lengthgen.studies import report


def main(argv: Sequence[str]) -> int:
    """`lengthgen plot`: prints the files written, one a line, and returns the exit code."""
    try:
        given = _parser().parse_args(list(argv))
        results = Path(given.results)
        if given.publish:
            where = (
                _where(given.where, "--where"),
                _where(given.reference_where, "--reference-where"),
            )
            written = publish.publish(results, given.publish, where[0], given.note, where[1])
        elif given.where or given.reference_where or given.note:
            raise ConfigError(
                "--where, --reference-where and --note choose and describe what is published; give --publish NAME with them"
            )
        else:
            written = publish.write_figures(results) + report.write_all(results)
            if not written:
                raise ConfigError(
                    f"nothing to plot: no finished evaluation under {results / 'runs'} and no published folder under {results};"
                    " run `lengthgen train` first, or name another folder with --results"
                )
    except UserError as error:
        print(f"lengthgen plot: {error}", file=sys.stderr)
        return error.exit_code
    for path in written:
        print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(
        prog="lengthgen plot",
        description="Draw every figure again from the tables under results/, or publish chosen runs.",
    )  # fmt: skip
    parser.add_argument(
        "--results",
        default="results",
        metavar="FOLDER",
        help="where runs, tables and figures are (default: results)",
    )
    parser.add_argument(
        "--publish",
        metavar="NAME",
        help="write tables, figures and provenance of the chosen runs into results/NAME/",
    )
    parser.add_argument(
        "--where", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help=f"runs to publish: KEY is one of {', '.join(records.IDENTITY)}; several values by comma",
    )  # fmt: skip
    parser.add_argument(
        "--reference-where", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="runs trained at longer lengths, evaluated on the same targets: how much is there to be gained by longer input at all?",
    )  # fmt: skip
    parser.add_argument(
        "--note",
        default="",
        metavar="TEXT",
        help="a sentence for the published provenance.json and summary.md",
    )
    return parser


def _where(conditions: Sequence[str], flag: str) -> dict[str, list[str]]:
    where: dict[str, list[str]] = {}
    for condition in conditions:
        key, equals, values = condition.partition("=")
        if not equals or not values or key not in records.IDENTITY:
            raise ConfigError(
                f"{flag} {condition}: expected KEY=VALUE with KEY one of {', '.join(records.IDENTITY)}"
            )
        # A comma inside brackets belongs to a scheme's label: t5_bias(num_buckets=64,max_distance=256).
        where.setdefault(key, []).extend(re.split(r",(?![^(]*\))", values))
    return where
