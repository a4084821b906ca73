"""Hydra is called here and nowhere else: from `lengthgen train ...` to runs/run.py.

Here are the call of @hydra.main, the jobs of a sweep, and completion by Hydra's query. Why Hydra
refused a command is found by config/refusals.py; HYDRA_FULL_ERROR makes it raise, not print.
"""

import contextlib
import dataclasses
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
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from lengthgen.cli import isolated, sweep
from lengthgen.config import (
    catalogue,
    command_line,
    compose,
    hydra_settings,
    messages,
    output,
    own_code,
    paths,
    refusals,
    yaml_files,
)
from lengthgen.config.command_line import CommandLine
from lengthgen.errors import ConfigError, DiskError, Interrupted, UserError
from lengthgen.runs import stopping

if TYPE_CHECKING:
    from lengthgen.runs.run import Outcome


@dataclass(frozen=True)
class JobRequest:
    """What a job must know besides its configuration.

    Plain data: a launcher may carry it to another process.
    """

    command: str
    argv: tuple[str, ...]  # as the user wrote it
    user_folders: tuple[Path, ...]  # with the user's schemes, modifiers, retrofits and datasets
    n_jobs: int = 1
    varied: frozenset[str] = frozenset()  # keys that tell the jobs of a sweep apart
    isolate: bool = False  # each job of a sweep in a process of its own


def main(command: str, argv: Sequence[str]) -> int:
    """Compose the configuration of `command` ("train" or "evaluate"), and run its job or jobs.

    Returns the exit code. Raises UserError.
    """
    with stopping.watched():  # from here on, the import of torch included
        return _main(command, argv)


def _main(command: str, argv: Sequence[str]) -> int:
    setup_globals()  # the resolvers ${now:...} and ${hydra:...}
    groups = [group.name for group in catalogue.groups(command)]
    line = command_line.arrange(argv, groups)
    if line.config_dir:
        yaml_files.check_folder(line.config_dir)
    overrides = refusals.checked(command, line, groups)
    user_folders = (line.config_dir,) if line.config_dir else ()
    request = JobRequest(command, tuple(argv), user_folders, isolate=line.isolates)
    if line.isolates and not line.multirun:
        raise ConfigError("--isolate is for the jobs of a sweep: give -m with it")
    if line.multirun and line.runs_jobs:
        return _sweep(request, line, overrides + _declared(command, line, overrides))
    # Kept from Hydra, which would report an exception in its way.
    errors: list[Exception] = []

    def job(config: DictConfig) -> None:
        try:
            _run(request, config)
        except Exception as error:
            errors.append(error)

    _call_hydra(command, line, job)
    if errors:
        raise errors[0]
    return 0


def _run(request: JobRequest, config: DictConfig) -> "Outcome":
    refusals.refuse_gaps(request.command, config)
    from lengthgen.runs.process import prepare_environment

    # Before the import of torch, and here: a launcher may have started a new process.
    prepare_environment()
    # Provenance records the command as the user wrote it.
    command = "train" if request.command == "train" else "evaluate"
    with _program("lengthgen", [command, *request.argv]), own_code.in_folders(request.user_folders):
        return _worked(request.command, config, list(request.user_folders))


def _worked(command: str, config: DictConfig, user_folders: list[Path]) -> "Outcome":
    """Whatever can be refused without torch is refused before its import, which takes seconds."""
    from lengthgen.runs import before_torch

    getattr(before_torch, command)(config, user_folders)
    if command == "pretrained":
        from lengthgen.runs import pretrained

        return pretrained.evaluate(config, user_folders)
    from lengthgen.runs import run

    return {"train": run.train, "evaluate": run.evaluate}[command](config, user_folders)


# Sweeps


def _sweep(request: JobRequest, line: CommandLine, overrides: list[Override]) -> int:
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
    try:
        _call_hydra(request.command, line, lambda config: _sweep_job(request, config))
    finally:
        statuses = sweep.read(folder)
        if statuses:
            print("\n" + sweep.table(statuses, n_jobs), flush=True)
    return sweep.exit_code(statuses, n_jobs)


def _declared(command: str, line: CommandLine, overrides: list[Override]) -> list[Override]:
    """What an experiment sweeps over by hydra.sweeper.params, as if it had been written with -m.

    A key that was given on the command line has that value instead.
    """
    try:
        loader = refusals.loader(line.config_dir)
        chosen = [refusals.assignments(override)[0] for override in overrides]
        composed = loader.load_configuration(command, chosen, RunMode.RUN)
    except Exception:
        return []  # _sweep says why it does not compose
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
    job = (request, config, number, label, folder)
    if not request.isolate:
        if code := _to_its_end(*job):
            raise SystemExit(code)  # unlike an Exception, it passes through Hydra's launcher
        return
    try:
        code = isolated.call(_to_its_end, *job)
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
        outcome = _run(request, config)
        status = sweep.Status(number, label, outcome.run_id, outcome.status)
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
        job = f"job {status.job}/{request.n_jobs} ({status.overrides})"
        print(f"lengthgen: {job} failed: {status.message}", file=sys.stderr, flush=True)
    sweep.write(folder, status)


# Calls of Hydra


def _call_hydra(command: str, line: CommandLine, job: Callable[[DictConfig], None]) -> None:
    """@hydra.main on `job`, which raises no Exception. UserError for whatever Hydra refuses."""
    application = hydra.main(
        version_base=compose.VERSION_BASE, config_path=str(catalogue.folder()), config_name=command
    )(job)
    argv = [*line.flags, *line.overrides]
    try:
        with (
            _program(f"lengthgen {command}", argv),
            _full_errors(),
            _logging(),
            hydra_settings.refused_in_time(),
            sweep.noted_without_secrets(),
        ):
            application()
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, HydraException):
            raise DiskError(
                f"cannot write {error.filename}: {error.strerror}; "
                "choose another folder with results=..."
            ) from error
        raise refusals.explained(command, line, error) from error


@contextlib.contextmanager
def _program(name: str, argv: Sequence[str]) -> Iterator[None]:
    """sys.argv for its readers: Hydra takes its arguments from it, provenance the command."""
    before = sys.argv
    sys.argv = [name, *argv]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Restores the handlers and levels that Hydra changes: a later call may close their output."""
    root, ours = logging.getLogger(), logging.getLogger("lengthgen")
    handlers, root_level, our_level = root.handlers[:], root.level, ours.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(root_level)
        ours.setLevel(our_level)


@contextlib.contextmanager
def _full_errors() -> Iterator[None]:
    """Hydra raises what it would otherwise print."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def complete(command: str, words: list[str], word: str) -> list[str]:
    """Completions of the last `word` of a `lengthgen <command>` line, after `words`."""
    setup_globals()
    line = command_line.arrange(words, [group.name for group in catalogue.groups(command)])
    # Hydra completes one value: for scheme=learned,al it is asked for scheme=al.
    several = re.fullmatch(r"(?P<key>[^=]*=)(?P<before>.*[,\[])(?P<last>[^,\[]*)", word)
    query = several["key"] + several["last"] if several else word
    os.environ["COMP_LINE"] = shlex.join(["lengthgen", *line.flags, *line.overrides]) + f" {query}"
    folder = [f"--config-dir={line.config_dir}"] if line.config_dir else []
    hydra_line = CommandLine([*folder, "--shell-completion"], ["query=bash"])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        _call_hydra(command, hydra_line, lambda config: None)
    texts = printed.getvalue().split()
    answers = [text for text in texts if not text.lstrip("+").startswith("hydra")]
    if not several:
        return answers
    start = several["key"] + several["before"]
    return [start + text[len(several["key"]) :] for text in answers]


def _quoted(text: str) -> str:
    """As a quoted string of Hydra's override grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
