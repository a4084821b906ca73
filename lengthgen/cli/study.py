"""`lengthgen study NAME`: one study, or several one after the other."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from lengthgen.config import catalogue, command_line, paths
from lengthgen.config.redaction import redact_text
from lengthgen.errors import ConfigError
from lengthgen.studies import conduct, declaration, registration
from lengthgen.studies.registration import Registration
from lengthgen.terminal.progress import clock


def main(argv: Sequence[str]) -> int:
    """Register studies, or run them one after the other. Returns 0 for any verdict."""
    options = _parser().parse_intermixed_args(list(argv))
    config_dir = command_line.existing_folder(options.config_dir) if options.config_dir else None
    where = catalogue.folders(config_dir)
    names = [word for word in options.words if "=" not in word]
    overrides = tuple(word for word in options.words if "=" in word)
    if not names:
        known = ", ".join(declaration.names(where))
        raise ConfigError(f"study which? expected one of: {known}; or `all`")
    if any(override.startswith("results=") for override in overrides):
        raise ConfigError("results=: give --results FOLDER")
    for override in overrides:
        if redact_text(override) != override:
            raise ConfigError(
                f"{redact_text(override)}: a study's command is stored and published; "
                "expected no secret in it"
            )
    workers = options.workers or os.cpu_count() or 1
    results = paths.folder(options.results, "--results")
    asked = options.scale, options.seeds, workers, results, config_dir, overrides
    request = conduct.Options(*asked, options.unregistered)
    if names == ["all"]:
        names = declaration.names(where)
    studies = [declaration.load(name, where) for name in names]
    if options.register:
        sources = catalogue.files("study", where)
        for study in studies:
            print(_registered(study.name, request.register(study, sources[study.name]), results))
        return 0
    for study in studies:
        request.registered(study)  # refused before the first one begins
    if config_dir:
        from lengthgen.runs import kept_code  # imports torch

        kept_code.named([config_dir])
    began = time.monotonic()
    for study in studies:
        conduct.run(study, request)
    if len(studies) > 1:
        seconds, page = clock(time.monotonic() - began), results / "studies" / "README.md"
        print(f"\n{len(studies)} studies in {seconds}; {page}", flush=True)
    return 0


def _registered(name: str, made: Registration, results: Path) -> str:
    path = results / registration.FOLDER / name / f"{made.number}.yaml"
    commit = made.commit[:12] or "no commit"
    unlike = "" if made.committed or not made.commit else ", which lacks it as it stands: commit it"
    return (
        f"{made.label}: registration {made.number}, {made.registered}, hash {made.hash} "
        f"({commit}{unlike}); {path}"
    )


def _parser() -> argparse.ArgumentParser:
    description = "Run what a study still lacks, and judge its claims. Rerun it to resume."
    parser = command_line.Parser(prog="lengthgen study", description=description)
    add = parser.add_argument
    words = "a study of configs/study (or all); KEY=VALUE goes to every run, as device=cuda"
    add("words", nargs="*", metavar="NAME", help=words)
    words = "one of the study's scales (default: its first, for two CPU cores)"
    add("--scale", metavar="NAME", help=words)
    words = "store what the study declares, before its runs, and stop"
    add("--register", action="store_true", help=words)
    words = (
        "run a pilot that is not registered, into a folder of its own; all that it writes says so"
    )
    add("--unregistered", action="store_true", help=words)
    words = "so many seeds instead of the scale's; written to a separate folder"
    add("--seeds", type=int, metavar="N", help=words)
    words = "runs made at the same time, one thread each (default: all cores)"
    add("--workers", type=int, metavar="N", help=words)
    words = "folder of runs and studies (default: results)"
    add("--results", metavar="FOLDER", default="results", help=words)
    words = "your configurations, DIR/study/NAME.yaml among them"
    add("--config-dir", metavar="DIR", help=words)
    return parser
