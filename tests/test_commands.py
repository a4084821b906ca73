"""Every command of README.md and docs/pages/ runs, in the order of the pages, in one folder.

    python -m pytest -s -m slow tests/test_commands.py --basetemp FOLDER

prints a line for each, and FOLDER/.../commands.log holds them: page, the words as documented, what
was changed to make it small, exit code, seconds, the last line that it printed.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("peft")

from . import command_cases, test_docs

SECONDS = 600  # of one command


class Log:
    """One line a command, on the terminal and in a file."""

    def __init__(self, path: Path, hidden: str):
        self.path, self.hidden, self.failed, self.left_out = path, hidden, [], []

    def add(self, *cells: object) -> None:
        line = " | ".join(str(cell) for cell in cells).replace(self.hidden, ".")
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")

    def run_all(self, why: str, table: dict, case: command_cases.Case, folder: Path) -> None:
        for line in command_cases.first_fitting(table, case) or ():
            self.run(command_cases.Case(case.page, line), folder, f" ({why})")

    def run(self, case: command_cases.Case, folder: Path, why: str = "") -> None:
        words = command_cases.small(case, folder / "results")
        changed = command_cases.changes(shlex.split(case.line), words) or "as it stands"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "lengthgen", *words], cwd=folder, env=environment(folder),
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        seconds = time.monotonic() - began
        last = last_line(done.stdout) or last_line(done.stderr)
        self.add(case.page + why, case.line, changed, done.returncode, f"{seconds:.0f} s", last)
        if done.returncode:
            self.failed.append(f"{case.line}\n{done.stdout[-500:]}{done.stderr[-2000:]}")


def environment(folder: Path) -> dict[str, str]:
    """Of a user at home in `folder`, without network or an account."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    given["PYTHONPATH"] = os.pathsep.join(
        [str(command_cases.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return given | {"LENGTHGEN_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def missing(module: str) -> bool:
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:
        return True


CASES = list(command_cases.cases())


def test_they_are_the_commands_of_the_pages():
    assert len(CASES) == len(test_docs.COMMANDS)


@pytest.mark.parametrize("pattern", command_cases.NOT_RUN)
def test_each_reason_not_to_run_is_of_one_command(pattern):
    assert len([case for case in CASES if re.search(pattern, f" {case.line}")]) == 1


@pytest.mark.slow
def test_every_command_runs(tmp_path):
    folder = tmp_path / "user"
    command_cases.user_folder(folder)
    log = Log(tmp_path / "commands.log", str(folder))
    began = time.monotonic()
    for case in CASES:
        reason = command_cases.first_fitting(command_cases.NOT_RUN, case)
        module = command_cases.first_fitting(command_cases.NEEDS, case)
        if not reason and module and missing(module):
            reason = f"the package {module}"
        if reason:
            log.left_out.append(case)
            log.add(case.page, case.line, f"not run: needs {reason}")
            continue
        log.run_all("needed next", command_cases.BEFORE, case, folder)
        log.run(case, folder)
        log.run_all("its comment", command_cases.AFTER, case, folder)
    ran = len(CASES) - len(log.left_out)
    log.add(f"{ran} of {len(CASES)} run in {time.monotonic() - began:.0f} s; {log.path}")
    assert not log.failed, "\n\n".join(log.failed)
    assert len(log.left_out) <= len(command_cases.NOT_RUN) + len(command_cases.NEEDS)
