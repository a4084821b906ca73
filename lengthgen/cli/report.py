"""`lengthgen report`: one self-contained HTML page of all that results/ holds.

lengthgen report                               report.html, of results/
lengthgen report --pdf report.pdf              and the same on paper
lengthgen report --results FOLDER --to PAGE.html --title "Our schemes"
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lengthgen import files
from lengthgen.config import command_line, paths
from lengthgen.config.redaction import redact_text
from lengthgen.errors import ConfigError, DataError, UserError
from lengthgen.reporting.page import html, pdf, whole


def main(argv: Sequence[str]) -> int:
    """Print the file that was written. Returns the exit code: 3 if something is damaged."""
    faults: list[str] = []
    try:
        options = _parser().parse_args(list(argv))
        path = _write(options, faults)
        print(path)
        if options.pdf:
            pdf.print_page(path, paths.folder(options.pdf, "--pdf"))
            print(options.pdf)
    except UserError as error:
        faults.append(" ".join(str(error).split()))
        return error.exit_code
    finally:
        for line in faults:
            print(f"lengthgen report: {redact_text(line)}", file=sys.stderr)
    return DataError.exit_code if faults else 0


def _write(options: argparse.Namespace, faults: list[str]) -> Path:
    from lengthgen.decisions import report_section as decisions
    from lengthgen.studies import report_section as studies

    results, path = paths.folder(options.results, "--results"), paths.folder(options.to, "--to")
    if path.is_dir():
        raise ConfigError(f"--to {path} is a folder; expected the name of a file")
    page = whole.page(
        results,
        studies.section(results, faults.append),
        decisions.section(results, faults.append),
        redact_text(options.title),
        not options.published,
        faults.append,
    )
    if page is None:
        raise ConfigError(
            f"nothing to report: no finished evaluation, published folder, study, decision or "
            f"benchmark under {results}; run `lengthgen train` first, or give --results FOLDER"
        )
    files.write_text(path, html.write(page))
    return path


def _parser() -> argparse.ArgumentParser:
    description = (
        "Write one HTML page of all that results/ holds: the answer in words, curves with "
        "switches and zoom, tables with intervals, studies with claims and verdicts, decisions, "
        "costs, and where every number comes from. It needs no network, and no script for all but "
        "the switches. Published folders come first, then runs that are in none of them."
    )
    parser = command_line.Parser(prog="lengthgen report", description=description)
    add = parser.add_argument
    add("--results", default="results", metavar="FOLDER",
        help="what the page is of (default: results)")  # fmt: skip
    add("--to", default="report.html", metavar="FILE",
        help="the page (default: report.html)")  # fmt: skip
    add("--pdf", metavar="FILE", help="print the page to this file too (needs Chromium)")
    add("--title", default=whole.TITLE, metavar="TEXT", help="the page's title")
    add("--published", action="store_true",
        help="leave out the runs of results/runs: published folders alone")  # fmt: skip
    return parser
