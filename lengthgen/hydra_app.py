"""The only file that knows Hydra: from `lengthgen train ...` to the configuration that run.py is called with.

run.py takes a composed configuration and stays free of Hydra, so that it can be called from a notebook or a test. Here are:
the call of @hydra.main, the jobs of a sweep, tab completion by Hydra's own query, and the search for the one line that explains
why Hydra refused a command (HYDRA_FULL_ERROR makes it raise instead of printing; mistakes.py words the line).
"""

import contextlib
import io
import logging
import math
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lengthgen import arguments, catalogue, mistakes, sweep
from lengthgen.arguments import Request
from lengthgen.errors import ConfigError, DiskError, Interrupted, UserError

VERSION_BASE = "1.3"


@dataclass(frozen=True)
class Asked:
    """What a job must know besides its configuration. Plain data: a launcher may carry it to another process."""

    command: str
    argv: tuple[str, ...]  # as the user wrote it
    scheme_folders: tuple[Path, ...]
    n_jobs: int = 1
    varied: frozenset[str] = frozenset()  # keys that tell the jobs of a sweep apart


def main(command: str, argv: Sequence[str]) -> int:
    """Compose the configuration that `argv` asks of `command` ("train" or "evaluate"), and run its job or jobs.

    Returns the exit code; raises UserError for what the user can mend.
    """
    setup_globals()  # the resolvers ${now:...} and ${hydra:...}
    groups = [group.name for group in catalogue.groups(command)]
    request = arguments.arrange(argv, groups)
    overrides = _checked(command, request, groups)
    folders = (request.config_dir / "scheme",) if request.config_dir else ()
    asked = Asked(command, tuple(argv), folders)
    if request.multirun and request.runs_jobs:
        return _sweep(asked, request, overrides)
    ended: list[Exception] = []  # a job's exception, kept from Hydra, which would report it in its own way
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
    _refuse_gaps(asked.command, config)
    from lengthgen.process import prepare_environment

    prepare_environment()  # before run.py imports torch; here, because a launcher may have started a new process
    from lengthgen import run

    work = {"train": run.train, "evaluate": run.evaluate}[asked.command]
    with _program("lengthgen", [asked.command, *asked.argv]):  # provenance records the command as it was given
        return work(config, list(asked.scheme_folders))


def _refuse_gaps(command: str, config: DictConfig) -> None:
    """ConfigError for a key that must be given, one that `command` does not have (`+foo=1` adds it), and an interpolation to nothing."""
    known = [key.name for key in [*catalogue.groups(command), *catalogue.keys(command)]]
    for key, value in mistakes.flat(OmegaConf.to_container(config, resolve=False)):
        if value == "???":
            raise mistakes.no_value(command, key)
        if "." not in key and key not in known:
            raise mistakes.unknown_key(command, key, known)
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


# Sweeps


def _sweep(asked: Asked, request: Request, overrides: list[Override]) -> int:
    """Every job of `-m`, also after one failed; then the table. Returns 1 if any failed."""
    loader = _loader(request.config_dir)
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(request.overrides)
        n_jobs = math.prod(len(_assignments(o)) for o in parsed if o.is_sweep_override())
        first_job = [_assignments(o)[0] if o.is_sweep_override() else o.input_line for o in parsed]
        folder = Path(loader.load_configuration(asked.command, first_job, RunMode.RUN).hydra.sweep.dir).absolute()
    except Exception as error:
        raise _explained(asked.command, request, error) from error
    try:
        folder = sweep.claim(folder)
    except OSError as error:
        raise DiskError(f"cannot write {folder}: {error.strerror}; choose another folder with results=...") from error
    varied = frozenset(o.get_key_element() for o in overrides if o.is_sweep_override())
    asked = Asked(asked.command, asked.argv, asked.scheme_folders, n_jobs, varied)
    request.overrides.append(f"hydra.sweep.dir={_quoted(str(folder))}")  # decided here once, so that the table finds it
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
        code = stop.exit_code if isinstance(stop, Interrupted) else 141 if isinstance(stop, BrokenPipeError) else 130
        sweep.write(folder, sweep.Status(job, label, "", "interrupted", str(stop)))
        print(f"lengthgen: job {job}/{asked.n_jobs} ({label}) interrupted; the same command goes on from there", file=sys.stderr)
        raise SystemExit(code) from stop  # unlike an Exception, it passes through Hydra's launcher
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        message = mistakes.in_one_line(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        print(f"lengthgen: job {job}/{asked.n_jobs} ({label}) failed: {message}", file=sys.stderr, flush=True)
        status = sweep.Status(job, label, "", "failed", message)
    sweep.write(folder, status)


# Calls of Hydra


def _call_hydra(command: str, request: Request, job: Callable[[DictConfig], None]) -> None:
    """@hydra.main on `job`. Raises UserError for whatever Hydra refuses; `job` itself raises no Exception."""
    application = hydra.main(version_base=VERSION_BASE, config_path=str(catalogue.folder()), config_name=command)(job)
    try:
        with _program(f"lengthgen {command}", [*request.flags, *request.overrides]), _full_errors(), _logging():
            application()
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, HydraException):
            raise DiskError(f"cannot write {error.filename}: {error.strerror}; choose another folder with results=...") from error
        raise _explained(command, request, error) from error


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


def _loader(config_dir: Path | None) -> ConfigLoaderImpl:
    """Hydra's loader over the same folders as the real call, to compose and to count without running."""
    search_path = create_config_search_path(str(catalogue.folder()))
    if config_dir:
        search_path.prepend("command-line", f"file://{config_dir}", anchor=SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(search_path)


def complete(command: str, words: list[str], word: str) -> list[str]:
    """Completions of the last `word` of a `lengthgen <command>` line, after `words`: Hydra's own query."""
    setup_globals()
    typed = arguments.arrange(words, [group.name for group in catalogue.groups(command)])
    before, comma, last = word.rpartition(",")
    head = before[: before.index("=") + 1] if comma and "=" in before else ""  # scheme=learned,al is asked as scheme=al
    line = shlex.join(["lengthgen", *typed.flags, *typed.overrides]) + " " + (head + last if head else word)
    folder = [f"--config-dir={typed.config_dir}"] if typed.config_dir else []
    printed = io.StringIO()
    os.environ["COMP_LINE"] = line
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        _call_hydra(command, Request([*folder, "--shell-completion"], ["query=bash"]), lambda config: None)
    found = [text for text in printed.getvalue().split() if not text.lstrip("+").startswith("hydra")]
    return [f"{before},{text[len(head) :]}" if head else text for text in found]


# Why Hydra refused


def _checked(command: str, request: Request, groups: list[str]) -> list[Override]:
    """The overrides, parsed; ConfigError for what can be told without composing: form, options of groups, `-m` forgotten."""
    where = catalogue.folders(request.config_dir)
    options = {group: catalogue.options(group, where) for group in {*groups, *catalogue.all_groups(where)}}
    parsed = []
    for text in request.overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise mistakes.unreadable(command, text, options) from error
        if not override.key_or_group:
            raise mistakes.unreadable(command, text, options)
        parsed.append(override)
        group = override.key_or_group
        if override.is_sweep_override() and request.runs_jobs and not request.multirun:
            raise mistakes.several_without_multirun(command, text, group in groups)
        if group in groups:
            for name in _names(override):
                if name not in options[group]:
                    raise mistakes.unknown_option(group, name, options[group])
            if (override.is_delete() or override.value() is None) and group != "experiment":
                raise mistakes.no_value(command, group)
    return parsed


def _names(override: Override) -> list[str]:
    """The options that an override of a group names; none where it is null or a pattern such as glob(*)."""
    if override.is_discrete_sweep() and "glob(" not in override.input_line:
        return [text.partition("=")[2].strip("'\"") for text in _assignments(override)]
    value = None if override.is_sweep_override() else override.value()
    return [] if value is None or override.is_delete() else [str(value)]


def _assignments(override: Override) -> list[str]:
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _explained(command: str, request: Request, error: Exception) -> UserError:
    """The line for a composition that Hydra refused: the first override that names no key, else Hydra's own words."""
    if isinstance(error, UserError):
        return error
    loader = _loader(request.config_dir)
    groups = [group.name for group in catalogue.groups(command)]
    overrides = [OverridesParser.create().parse_override(text) for text in request.overrides]
    for override in overrides:
        plugins = loader.get_group_options(override.key_or_group) if override.key_or_group.startswith("hydra/") else []
        if plugins and override.get_value_element_as_str() not in plugins:
            return mistakes.unknown_plugin(override.key_or_group, override.get_value_element_as_str(), plugins)
    try:
        of_groups = [o.input_line for o in overrides if o.key_or_group in groups]
        config = OmegaConf.to_container(loader.load_configuration(command, of_groups, RunMode.MULTIRUN), resolve=False)
    except Exception:  # not a key's fault: the composition itself fails
        return ConfigError(mistakes.in_one_line(error))
    del config["hydra"]
    known = [key for key, _ in mistakes.flat(config)]
    for override in overrides:
        key, adds = override.key_or_group, override.is_add() or override.is_force_add()
        if override.is_add() and key in known and key not in groups:
            return mistakes.plus_on_known_key(override.input_line)
        if not adds and key not in [*known, *groups] and not key.startswith("hydra"):
            return mistakes.unknown_key(command, key, known)
    return ConfigError(mistakes.in_one_line(error))


def _quoted(text: str) -> str:
    """As a quoted string of Hydra's override grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
