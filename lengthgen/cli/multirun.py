"""The jobs of a sweep, `-m`: each to its end, whatever the others did; then what they gave.

An engine calls them (engines.py), in whatever process; sweep_job.py is one of them.
"""

import contextlib
import dataclasses
import itertools
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from lengthgen.cli import (
    compare,
    engines,
    hydra_call,
    stop_file,
    sweep,
    sweep_job,
    sweep_progress,
    together,
)  # fmt: skip
from lengthgen.cli.engines import Engine
from lengthgen.cli.job import JobRequest
from lengthgen.config import hydra_settings, messages, paths, refusals
from lengthgen.config.command_line import CommandLine
from lengthgen.errors import ConfigError, UserError

AGAIN = "`lengthgen compare` prints such a table at any time (--where, --json, --csv, --latex)."
SILENT = 60.0  # seconds after which a job that has not said that it runs is taken for dead
POLL = 1.0  # seconds between two looks at jobs that outlived their engine


@dataclass(frozen=True)
class Sweep:
    """What is to be run. chooses: whether values are chosen by the losses of earlier jobs.

    together: the overrides of each job, if they are trained as one program; else none.
    """

    n_jobs: int
    folder: Path
    results: Path
    engine: Engine
    chooses: bool
    together: list[tuple[str, ...]]


def run(request: JobRequest, line: CommandLine, overrides: list[Override]) -> int:
    """Every job of `-m`, also after one failed; then the tables. Returns 1 if any failed."""
    planned = _planned(request.command, line)
    folder, n_jobs, engine = planned.folder, planned.n_jobs, planned.engine
    if request.isolate and engine.parallel:
        raise ConfigError(
            f"--isolate: hydra/launcher={engine.name} gives each job a process already"
        )
    varied = frozenset(o.get_key_element() for o in overrides if o.is_sweep_override())
    request = dataclasses.replace(request, n_jobs=n_jobs, varied=varied, engine=engine)
    # The folder's name holds the time: decided once, so that the table finds it.
    line.overrides.append(f"hydra.sweep.dir={_quoted(str(folder))}")
    print(f"{n_jobs} jobs; how each ends is noted in {os.path.relpath(folder)}", flush=True)
    statuses: list[sweep.Status] = []
    try:
        if planned.together:
            loader = refusals.loader(line.config_dir)
            together.train(request, loader, planned.together)
        with (
            stop_file.written_on_request(folder) if engine.parallel else contextlib.nullcontext(),
            sweep_progress.told(folder, n_jobs),
            _whatever_the_engine_does(folder),
        ):
            hydra_call.call(request.command, line, lambda config: sweep_job.run(request, config))
    finally:
        statuses = sweep.read(folder)
        if statuses:
            print("\n" + sweep.table(statuses, n_jobs), flush=True)
        if failed := sweep.failures(statuses, n_jobs):
            print("\n" + failed, flush=True)
    if planned.chooses:
        print("\n" + sweep.choice(statuses), flush=True)
    else:
        _compare(statuses, planned.results)
    return sweep.exit_code(statuses, n_jobs)


def _planned(command: str, line: CommandLine) -> Sweep:
    """The sweep that the command line describes, and its folder. UserError where it is none."""
    loader = refusals.loader(line.config_dir)
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(line.overrides)
        refusals.refuse_missing_keys(command, parsed, loader)
        each = [refusals.assignments(override) for override in parsed]
        if [] in each:
            raise messages.no_values(refusals.text_of(parsed[each.index([])]))
        first_job = [words[0] for words in each]
        first = loader.load_configuration(command, first_job, RunMode.RUN)
        folder = paths.folder(first.hydra.sweep.dir, "results").absolute()
        results = paths.folder(str(first.results), "results")
    except UserError:
        raise
    except Exception as error:
        raise refusals.explained(command, line, error) from error
    chooses = first.hydra.sweeper._target_ == hydra_settings.OPTUNA
    for override in parsed:
        if override.is_interval_sweep() and not chooses:
            raise messages.no_steps(refusals.text_of(override))
    as_one = bool(first.get("together"))
    if as_one and chooses:
        raise ConfigError(
            "together=true: hydra/sweeper=optuna chooses one job after the other; leave one out"
        )
    n_jobs = first.hydra.sweeper.n_trials if chooses else math.prod(map(len, each))
    engine = engines.ENGINES[first.hydra.launcher._target_]
    jobs = list(itertools.product(*each)) if as_one else []
    return Sweep(n_jobs, sweep.claim(folder), results, engine, chooses, jobs)


@contextlib.contextmanager
def _whatever_the_engine_does(folder: Path) -> Iterator[None]:
    """An engine that fails once jobs have begun, as one of them was killed, is a line.

    The jobs that outlive it are waited for. What is gone without a word is noted as killed.
    """
    try:
        yield
    except UserError as error:
        if not sweep.read(folder):
            raise
        print(f"lengthgen: {messages.in_one_line(error)}", file=sys.stderr)
        while _living(folder):
            time.sleep(POLL)
    for status in sweep.read(folder):
        if status.status == sweep.RUNNING:
            words = "its process ended without a word (killed? out of memory?)"
            status = dataclasses.replace(status, status="failed: killed", message=words)
            sweep.write(folder, status)


def _living(folder: Path) -> bool:
    """Whether a job still says that it runs."""
    running = [status.job for status in sweep.read(folder) if status.status == sweep.RUNNING]
    return any(sweep.silent(folder, job) < SILENT for job in running)


def _compare(statuses: Sequence[sweep.Status], results: Path) -> None:
    """Print what the jobs measured, side by side. The sweep has ended, whatever this does."""
    known = [status for status in statuses if status.run and status.evaluation]
    folders = [results / "runs" / each.run / "evaluation" / each.evaluation for each in known]
    folders = [folder for folder in folders if folder.is_dir()]  # of published runs there is none
    try:
        text = compare.after_sweep(results, folders)
    except UserError as error:
        print(f"lengthgen: no comparison: {messages.in_one_line(error)}", file=sys.stderr)
        return
    if text:
        print(f"\n{text}\n\n{AGAIN}", flush=True)


def declared(command: str, line: CommandLine, overrides: list[Override]) -> list[Override]:
    """What an experiment sweeps over by hydra.sweeper.params, as if it had been written with -m.

    A key that was given on the command line has that value instead.
    """
    try:
        loader = refusals.loader(line.config_dir)
        chosen = [refusals.assignments(override)[0] for override in overrides]
        composed = loader.load_configuration(command, chosen, RunMode.RUN)
    except Exception:
        return []  # `run` says why it does not compose
    given = {override.get_key_element() for override in overrides}
    params = composed.hydra.sweeper.get("params") or {}
    words = [f"{key}={value}" for key, value in params.items() if key not in given]
    if not params:
        return []
    # each once: Hydra's sweeper would add its own to these
    line.overrides += [*words, "hydra.sweeper.params=null"]
    return OverridesParser.create().parse_overrides(words)


def _quoted(text: str) -> str:
    """As a quoted string of Hydra's override grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
