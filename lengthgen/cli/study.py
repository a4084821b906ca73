"""`lengthgen study NAME`: one study, or several one after the other."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from lengthgen.config import catalogue, command_line
from lengthgen.errors import ConfigError
from lengthgen.runs.progress import clock
from lengthgen.studies import conduct, declaration


def main(argv: Sequence[str]) -> int:
    """Run one study, or several one after the other. Returns the exit code: 0 whatever the verdict."""
    given = _parser().parse_intermixed_args(list(argv))
    config_dir = command_line.existing_folder(given.config_dir) if given.config_dir else None
    where = catalogue.folders(config_dir)
    names = [word for word in given.words if "=" not in word]
    overrides = tuple(word for word in given.words if "=" in word)
    if not names:
        raise ConfigError(
            f"study which? expected one of: {', '.join(declaration.names(where))}; or `all`"
        )
    if any(override.startswith("results=") for override in overrides):
        raise ConfigError("results=: give --results FOLDER")
    asked = conduct.Asked(
        given.scale,
        given.seeds,
        given.workers or os.cpu_count() or 1,
        Path(given.results),
        config_dir,
        overrides,
    )
    studies = [
        declaration.load(name, where)
        for name in (declaration.names(where) if names == ["all"] else names)
    ]
    for study in studies:
        asked.scale_of(study)  # refused before the first one begins
    began = time.monotonic()
    for study in studies:
        conduct.run(study, asked)
    if len(studies) > 1:
        print(
            f"\n{len(studies)} studies in {clock(time.monotonic() - began)}; {asked.results / 'studies' / 'README.md'}",
            flush=True,
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(
        prog="lengthgen study",
        description="Run what a study still lacks, and judge its claims. Given again, it goes on where it stopped.",
    )  # fmt: skip
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME",
        help="a study of configs/study (or all); KEY=VALUE goes to every run, as device=cuda",
    )
    parser.add_argument(
        "--scale",
        metavar="NAME",
        help="one of the study's scales (default: its first, for two CPU cores)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="so many seeds instead of the scale's; written to a folder of its own",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="runs made at the same time, one thread each (default: all cores)",
    )
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        default="results",
        help="folder of runs and studies (default: results)",
    )
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        help="your own configurations, DIR/study/NAME.yaml among them",
    )
    return parser
