"""`lengthgen evaluate --where KEY=VALUE ...` and `run='rope-*'`: every run that fits, a job each.

The words are those of selection.py. They become Hydra's `run=ID,ID`, so that what a sweep can do
(`-m +retrofit=none,yarn`, `--isolate`) goes with them.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lengthgen.cli import where_words
from lengthgen.config import paths
from lengthgen.config.command_line import CommandLine
from lengthgen.errors import CheckpointError, ConfigError
from lengthgen.evaluation import selection
from lengthgen.evaluation.records import RunFolder

RUN, RESULTS = "run=", "results="
PLAIN = re.compile(r"[\w.+-]+")  # an id that Hydra reads without quotes


def put(command: str, line: CommandLine, conditions: Sequence[str]) -> None:
    """The chosen runs into `line`, with -m if they are several. ConfigError, CheckpointError."""
    where = selection.where(conditions)
    given = [text for text in line.overrides if text.startswith(RUN)]
    patterns = [part for text in given for part in _patterns(text.removeprefix(RUN))]
    if not where and not any(map(selection.is_pattern, patterns)):
        return
    if command == "pretrained":
        raise ConfigError(
            f"{where_words.FLAG.name} chooses trained runs, model= names a pretrained model: "
            "give one of the two"
        )
    if patterns:
        if where and not all(map(selection.is_pattern, patterns)):
            flag = where_words.FLAG.name
            raise ConfigError(f"{given[0]} names its run: leave it out, or {flag}")
        where["run"] = [*where.get("run", []), *patterns]
    runs = _usable(selection.runs(_results(line), where), where)
    if len(runs) > 1 and not line.runs_jobs:
        raise ConfigError(
            f"{selection.described(where)} chooses {len(runs)} runs, and a configuration is of "
            f"one: give run={runs[0].name}"
        )
    line.overrides = [text for text in line.overrides if not text.startswith(RUN)]
    line.overrides.insert(0, RUN + ",".join(_quoted(run.name) for run in runs))
    if len(runs) > 1 and not line.multirun:
        line.flags.append("--multirun")
        line.flag_names.add("--multirun")


def _patterns(value: str) -> list[str]:
    """`rope-*,'alibi-*'` -> its parts; of a path the name."""
    parts = selection.COMMA.split(value)
    return [Path(part.strip("'\"")).name for part in parts if part.strip("'\"")]


def _usable(found: Sequence[RunFolder], where: selection.Where) -> list[RunFolder]:
    """Finished ones with weights of their own; what is left out is said."""
    usable = [run for run in found if run.status == "done" and "pretrained" not in run.config]
    if not usable:
        raise CheckpointError(
            f"{selection.described(where)} matches {len(found)} runs, and none is a finished "
            "training; rerun their training commands"
        )
    if left_out := [run.name for run in found if run not in usable]:
        names = ", ".join(left_out[:4]) + (" ..." if len(left_out) > 4 else "")
        print(f"lengthgen: not finished, or pretrained, and left out: {names}", file=sys.stderr)
    return usable


def _results(line: CommandLine) -> Path:
    """The folder of the line's `results=`, else the default."""
    given = [text for text in line.overrides if text.startswith(RESULTS)]
    if not given:
        return Path("results")
    try:
        override = OverridesParser.create().parse_override(given[-1])
        value = "" if override.is_sweep_override() else override.value()
    except HydraException:
        value = ""
    text = getattr(value, "text", value)  # of a quoted one
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{given[-1]}: expected one folder, whose runs are chosen")
    return paths.folder(text, "results")


def _quoted(name: str) -> str:
    """As Hydra's grammar has it."""
    if PLAIN.fullmatch(name):
        return name
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"
