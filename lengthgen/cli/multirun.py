"""The jobs of a sweep, `-m`: one after the other, each to its end, whatever the others did.

How they ended is noted by sweep.py.
"""

import dataclasses
import itertools
import math
import os
import sys
import traceback
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig

from lengthgen.cli import compare, hydra_call, isolated, job, sweep, together
from lengthgen.cli.job import JobRequest
from lengthgen.config import messages, output, paths, refusals
from lengthgen.config.command_line import CommandLine
from lengthgen.errors import Interrupted, UserError

AGAIN = "`lengthgen compare` prints such a table at any time (--where, --json, --csv, --latex)."


def run(request: JobRequest, line: CommandLine, overrides: list[Override]) -> int:
    """Every job of `-m`, also after one failed; then the table. Returns 1 if any failed."""
    loader = refusals.loader(line.config_dir)
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(line.overrides)
        refusals.refuse_missing_keys(request.command, parsed, loader)
        for override in parsed:
            if override.is_interval_sweep():
                raise messages.no_steps(refusals.text_of(override))
        each = [refusals.assignments(override) for override in parsed]
        if [] in each:
            raise messages.no_values(refusals.text_of(parsed[each.index([])]))
        n_jobs = math.prod(map(len, each))
        first_job = [words[0] for words in each]
        first = loader.load_configuration(request.command, first_job, RunMode.RUN)
        folder = paths.folder(first.hydra.sweep.dir, "results").absolute()
        results = paths.folder(str(first.results), "results")
    except UserError:
        raise
    except Exception as error:
        raise refusals.explained(request.command, line, error) from error
    folder = sweep.claim(folder)
    varied = frozenset(o.get_key_element() for o in overrides if o.is_sweep_override())
    request = dataclasses.replace(request, n_jobs=n_jobs, varied=varied)
    # The folder's name holds the time: decided once, so that the table finds it.
    line.overrides.append(f"hydra.sweep.dir={_quoted(str(folder))}")
    print(f"{n_jobs} jobs; how each ends is noted in {os.path.relpath(folder)}", flush=True)
    statuses: list[sweep.Status] = []
    try:
        if first.get("together"):
            together.train(request, loader, itertools.product(*each))
        hydra_call.call(request.command, line, lambda config: _sweep_job(request, config))
    finally:
        statuses = sweep.read(folder)
        if statuses:
            print("\n" + sweep.table(statuses, n_jobs), flush=True)
    _compare(statuses, results)
    return sweep.exit_code(statuses, n_jobs)


def _compare(statuses: list[sweep.Status], results: Path) -> None:
    """Print what the jobs measured, side by side. The sweep has ended, whatever this does."""
    known = [status for status in statuses if status.run and status.evaluation]
    folders = [results / "runs" / each.run / "evaluation" / each.evaluation for each in known]
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


def _sweep_job(request: JobRequest, config: DictConfig) -> None:
    """After a failure the next job goes on; a signal stops them all."""
    with output.without_secrets():  # here too: a launcher may have started a new process
        _noted(request, config)


def _noted(request: JobRequest, config: DictConfig) -> None:
    """One job, and its status file."""
    number = HydraConfig.get().job.num + 1
    words = list(HydraConfig.get().overrides.task)
    label = " ".join([w for w in words if w.partition("=")[0] in request.varied] or words)
    folder = Path(HydraConfig.get().runtime.output_dir)
    print(f"\njob {number}/{request.n_jobs}: {label}", flush=True)
    arguments = (request, config, number, label, folder)
    if not request.isolate:
        if code := _to_its_end(*arguments):
            raise SystemExit(code)  # unlike an Exception, it passes through Hydra's launcher
        return
    try:
        code = isolated.call(_to_its_end, *arguments)
    except Interrupted as stop:
        raise SystemExit(stop.exit_code) from stop
    if code and not sweep.known(folder, number):
        ended = isolated.how_it_ended(code)
        _note(request, sweep.Status(number, label, "", f"failed: {ended}", ended), folder)


def _to_its_end(
    request: JobRequest, config: DictConfig, number: int, label: str, folder: Path
) -> int:
    """Run a job of a sweep and note how it ended. Returns the code that ends the sweep, or 0."""
    try:
        outcome = job.run(request, config)
        tables = outcome.evaluation.name
        status = sweep.Status(number, label, outcome.run_id, outcome.status, evaluation=tables)
    except (KeyboardInterrupt, Interrupted, BrokenPipeError) as stop:
        sweep.write(folder, sweep.Status(number, label, "", "interrupted", str(stop)))
        print(
            f"lengthgen: job {number}/{request.n_jobs} ({label}) interrupted; "
            "rerun the same command to resume",
            file=sys.stderr,
        )
        return getattr(stop, "exit_code", 141 if isinstance(stop, BrokenPipeError) else 130)
    except UserError as error:
        status = sweep.Status(number, label, "", "failed", messages.in_one_line(error))
    except Exception as error:
        traceback.print_exc()
        status = sweep.Status(number, label, "", "failed", f"{type(error).__name__}: {error}")
    _note(request, status, folder)
    return 0


def _note(request: JobRequest, status: sweep.Status, folder: Path) -> None:
    if status.message:
        which = f"job {status.job}/{request.n_jobs} ({status.overrides})"
        print(f"lengthgen: {which} failed: {status.message}", file=sys.stderr, flush=True)
    sweep.write(folder, status)


def _quoted(text: str) -> str:
    """As a quoted string of Hydra's override grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
