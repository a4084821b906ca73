"""`lengthgen dashboard`: a workspace in W&B that shows length curves, words and figures of runs.

lengthgen dashboard --entity TEAM              in the project lengthgen; needs `wandb login`
lengthgen dashboard --entity TEAM --to FILE    the same as a JSON file, without an account
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lengthgen import files
from lengthgen.cli.run_table import loss_rows
from lengthgen.config import command_line, paths
from lengthgen.evaluation import records
from lengthgen.tracking import workspace

MOST_LENGTHS = 8


def main(argv: Sequence[str]) -> int:
    """Print the workspace's address, or the file that was written. Returns 0."""
    options = _parser().parse_args(list(argv))
    lengths = _lengths(paths.folder(options.results, "--results"))
    view = workspace.workspace(options.entity, options.project, options.name, lengths)
    if options.to:
        path = paths.folder(options.to, "--to")
        files.write_json(path, workspace.spec(view))
        print(path)
    else:
        print(workspace.save(view))
    return 0


def _lengths(results: Path) -> list[int]:
    """The longest that the runs were evaluated at, as many as a table has room for."""
    found = {
        length
        for run in records.runs(results)
        for folder in run.evaluations
        for length in loss_rows(folder)
    }
    return sorted(found)[-MOST_LENGTHS:]


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(prog="lengthgen dashboard", description=(__doc__ or "").strip())
    add = parser.add_argument
    add("--entity", required=True, metavar="NAME", help="user or team whose project it is")
    add("--project", default="lengthgen", metavar="NAME", help="default: lengthgen")
    add("--name", default="Length extrapolation", metavar="TEXT", help="of the workspace")
    add("--to", metavar="FILE", help="write it as JSON instead; needs no account")
    words = "folder of runs, whose evaluation lengths are columns (default: results)"
    add("--results", default="results", metavar="FOLDER", help=words)
    return parser
