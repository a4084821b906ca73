"""Hydra is called here and nowhere else: from `lengthgen train ...` to the configuration that run.py is called with.

run.py takes a composed configuration and stays free of Hydra, so that it can be called from a notebook or a test. Here are:
the call of @hydra.main, the jobs of a sweep, and tab completion by Hydra's own query (hydra_errors.py finds the one line that explains
why Hydra refused a command; HYDRA_FULL_ERROR makes it raise instead of printing).
"""

import contextlib
import io
import logging
import math
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from lengthgen.cli import sweep
from lengthgen.config import catalogue, command_line, compose, messages, refusals
from lengthgen.config.command_line import Request
from lengthgen.errors import DiskError, Interrupted, UserError


@dataclass(frozen=True)
class Asked:
    """What a job must know besides its configuration. Plain data: a launcher may carry it to another process."""

    command: str
    argv: tuple[str, ...]  # as the user wrote it
    user_folders: tuple[Path, ...]  # with the user's schemes, modifiers, retrofits and datasets
    n_jobs: int = 1
    varied: frozenset[str] = frozenset()  # keys that tell the jobs of a sweep apart


def main(command: str, argv: Sequence[str]) -> int:
    """Compose the configuration that `argv` asks of `command` ("train" or "evaluate"), and run its job or jobs.

    Returns the exit code; raises UserError for what the user can mend.
    """
    setup_globals()  # the resolvers ${now:...} and ${hydra:...}
    groups = [group.name for group in catalogue.groups(command)]
    request = command_line.arrange(argv, groups)
    overrides = refusals.checked(command, request, groups)
    asked = Asked(command, tuple(argv), (request.config_dir,) if request.config_dir else ())
    if request.multirun and request.runs_jobs:
        return _sweep(asked, request, overrides)
    ended: list[
        Exception
    ] = []  # a job's exception, kept from Hydra, which would report it in its own way
    _call_hydra(command, request, lambda config: _single_job(asked, config, ended))
    if ended:
        raise ended[0]
    return 0


def _single_job(asked: Asked, config: DictConfig, ended: list[Exception]) -> None:
    try:
        _run(asked, config)
    except Exception as error:
        ended.append(error)


def _run(asked: Asked, config: DictConfig) -> Any:
    """One run from its composed configuration: a run.Outcome."""
    refusals.refuse_gaps(asked.command, config)
    from lengthgen.runs.process import prepare_environment

    prepare_environment()  # before run.py imports torch; here, because a launcher may have started a new process
    from lengthgen.runs import run

    work = {"train": run.train, "evaluate": run.evaluate}[asked.command]
    with _program(
        "lengthgen", [asked.command, *asked.argv]
    ):  # provenance records the command as it was given
        return work(config, list(asked.user_folders))


# Sweeps


def _sweep(asked: Asked, request: Request, overrides: list[Override]) -> int:
    """Every job of `-m`, also after one failed; then the table. Returns 1 if any failed."""
    loader = refusals.loader(request.config_dir)
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(request.overrides)
        refusals.refuse_missing_keys(asked.command, parsed, loader)
        n_jobs = math.prod(len(refusals.assignments(o)) for o in parsed if o.is_sweep_override())
        first_job = [
            refusals.assignments(o)[0] if o.is_sweep_override() else o.input_line for o in parsed
        ]
        folder = Path(
            loader.load_configuration(asked.command, first_job, RunMode.RUN).hydra.sweep.dir
        ).absolute()
    except Exception as error:
        raise refusals.explained(asked.command, request, error) from error
    folder = sweep.claim(folder)
    varied = frozenset(o.get_key_element() for o in overrides if o.is_sweep_override())
    asked = Asked(asked.command, asked.argv, asked.user_folders, n_jobs, varied)
    request.overrides.append(
        f"hydra.sweep.dir={_quoted(str(folder))}"
    )  # decided here once, so that the table finds it
    print(f"{n_jobs} jobs; how each ends is noted in {os.path.relpath(folder)}", flush=True)
    try:
        _call_hydra(asked.command, request, lambda config: _sweep_job(asked, config))
    finally:
        statuses = sweep.read(folder)
        if statuses:
            print("\n" + sweep.table(statuses, n_jobs), flush=True)
    return sweep.exit_code(statuses, n_jobs)


def _sweep_job(asked: Asked, config: DictConfig) -> None:
    """One job of a sweep. A failure is told and written down at once, and the next job goes on; a signal stops them all."""
    job = HydraConfig.get().job.num + 1
    given = list(HydraConfig.get().overrides.task)
    label = " ".join([text for text in given if text.partition("=")[0] in asked.varied] or given)
    folder = Path(HydraConfig.get().runtime.output_dir)
    print(f"\njob {job}/{asked.n_jobs}: {label}", flush=True)
    try:
        outcome = _run(asked, config)
        status = sweep.Status(job, label, outcome.run_id, outcome.status)
    except (KeyboardInterrupt, Interrupted, BrokenPipeError) as stop:
        code = (
            stop.exit_code
            if isinstance(stop, Interrupted)
            else 141
            if isinstance(stop, BrokenPipeError)
            else 130
        )
        sweep.write(folder, sweep.Status(job, label, "", "interrupted", str(stop)))
        print(
            f"lengthgen: job {job}/{asked.n_jobs} ({label}) interrupted; the same command goes on from there",
            file=sys.stderr,
        )
        raise SystemExit(code) from stop  # unlike an Exception, it passes through Hydra's launcher
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        message = (
            messages.in_one_line(error)
            if isinstance(error, UserError)
            else f"{type(error).__name__}: {error}"
        )
        print(
            f"lengthgen: job {job}/{asked.n_jobs} ({label}) failed: {message}",
            file=sys.stderr,
            flush=True,
        )
        status = sweep.Status(job, label, "", "failed", message)
    sweep.write(folder, status)


# Calls of Hydra


def _call_hydra(command: str, request: Request, job: Callable[[DictConfig], None]) -> None:
    """@hydra.main on `job`. Raises UserError for whatever Hydra refuses; `job` itself raises no Exception."""
    application = hydra.main(
        version_base=compose.VERSION_BASE, config_path=str(catalogue.folder()), config_name=command
    )(job)
    try:
        with (
            _program(f"lengthgen {command}", [*request.flags, *request.overrides]),
            _full_errors(),
            _logging(),
        ):
            application()
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, HydraException):
            raise DiskError(
                f"cannot write {error.filename}: {error.strerror}; choose another folder with results=..."
            ) from error
        raise refusals.explained(command, request, error) from error


@contextlib.contextmanager
def _program(name: str, argv: Sequence[str]) -> Iterator[None]:
    """sys.argv for what reads it: Hydra its arguments, provenance the command. Put back afterwards."""
    before = sys.argv
    sys.argv = [name, *argv]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Hydra gives the root logger a handler on the standard output of this call. Put back afterwards: that output may be closed by then."""
    root, ours = logging.getLogger(), logging.getLogger("lengthgen")
    before = root.handlers[:], root.level, ours.level
    try:
        yield
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])


@contextlib.contextmanager
def _full_errors() -> Iterator[None]:
    """Hydra raises what it would otherwise print. Put back afterwards."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def complete(command: str, words: list[str], word: str) -> list[str]:
    """Completions of the last `word` of a `lengthgen <command>` line, after `words`: Hydra's own query."""
    setup_globals()
    typed = command_line.arrange(words, [group.name for group in catalogue.groups(command)])
    several = re.fullmatch(
        r"(?P<key>[^=]*=)(?P<before>.*[,\[])(?P<last>[^,\[]*)", word
    )  # scheme=learned,al is asked as scheme=al
    asked = several["key"] + several["last"] if several else word
    line = shlex.join(["lengthgen", *typed.flags, *typed.overrides]) + " " + asked
    folder = [f"--config-dir={typed.config_dir}"] if typed.config_dir else []
    printed = io.StringIO()
    os.environ["COMP_LINE"] = line
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        _call_hydra(
            command, Request([*folder, "--shell-completion"], ["query=bash"]), lambda config: None
        )
    found = [
        text for text in printed.getvalue().split() if not text.lstrip("+").startswith("hydra")
    ]
    return [
        several["key"] + several["before"] + text[len(several["key"]) :] if several else text
        for text in found
    ]


def _quoted(text: str) -> str:
    """As a quoted string of Hydra's override grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
