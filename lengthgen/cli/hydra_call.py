"""Hydra is called here and nowhere else: @hydra.main on a job, and completion by Hydra's query.

Why Hydra refused a command is found by config/refusals.py; HYDRA_FULL_ERROR makes it raise, not
print.
"""

import contextlib
import io
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence

import hydra
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig

from lengthgen.cli import sweep
from lengthgen.config import catalogue, command_line, compose, hydra_settings, refusals
from lengthgen.config.command_line import CommandLine
from lengthgen.errors import DiskError, UserError


def call(command: str, line: CommandLine, job: Callable[[DictConfig], object]) -> None:
    """@hydra.main on `job`, which raises no Exception. UserError for whatever Hydra refuses."""
    application = hydra.main(
        version_base=compose.VERSION_BASE, config_path=str(catalogue.folder()), config_name=command
    )(job)
    argv = [*line.flags, *line.overrides]
    try:
        with (
            program(f"lengthgen {command}", argv),
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
def program(name: str, argv: Sequence[str]) -> Iterator[None]:
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
        call(command, hydra_line, lambda config: None)
    texts = printed.getvalue().split()
    answers = [text for text in texts if not text.lstrip("+").startswith("hydra")]
    if not several:
        return answers
    start = several["key"] + several["before"]
    return [start + text[len(several["key"]) :] for text in answers]
