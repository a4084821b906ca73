"""Plant known bugs in a copy of the tree, one at a time, and see which test finds each.

    scripts/plant_bugs [--list positions] [--only WORDS] [--log FILE]

The tests named for a bug must pass on the copy as it is and fail on it with the bug. Exit code 1 if
a bug survives, 2 if a text to replace does not occur exactly once, if tests fail without a bug, or
if they cannot run.
"""

import argparse
import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .planted import LISTS, Bug

ROOT = Path(__file__).parent.parent
COPIED = ("lengthgen", "tests", "configs", "scripts", "pyproject.toml")  # all that tests read
WIDTHS = (42, 38, 9)  # of the log's columns: bug, file, outcome
FAILED, NONE_CHOSEN = 1, 5  # pytest's exit codes


@dataclass(frozen=True)
class Outcome:
    bug: Bug
    test: str | None  # the first that failed; None: the bug survived
    seconds: float

    def line(self) -> str:
        """One line of the log."""
        texts = (self.bug.kind, self.bug.file, "caught" if self.test else "SURVIVED")
        columns = " ".join(text.ljust(n) for text, n in zip(texts, WIDTHS, strict=True))
        test = self.test or f"by {self.bug.tests} -k {self.bug.words!r}"
        return f"{columns} {self.seconds:5.1f} s  {test}"


class Broken(Exception):
    """The comparison itself cannot be made, in one line."""


def anyhow_laid_out(text: str) -> re.Pattern:
    """Matches `text` in any layout, with or without a comma before a closing bracket."""
    parts = [re.escape(part) for part in re.findall(r"\w+|[^\w\s]", text)]
    inside = r"\s*".join(
        rf",?\s*{part}" if part in (r"\)", r"\]", r"\}") else part for part in parts
    )
    start, end = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return re.compile(re.escape(start) + inside + re.escape(end))


@contextlib.contextmanager
def planted(tree: Path, bug: Bug) -> Iterator[None]:
    """The tree with this bug, and afterwards as it was. Broken unless the text occurs once."""
    path = tree / bug.file
    before = path.read_text()
    changed, count = anyhow_laid_out(bug.text).subn(lambda _: bug.bug, before)
    if count != 1:
        raise Broken(
            f"{bug.kind}: the text to replace occurs {count} times in {bug.file}, expected once:"
            f" {bug.text.strip()}"
        )
    path.write_text(changed)
    try:
        yield
    finally:
        path.write_text(before)


def first_failure(tree: Path, tests: str, words: str) -> str | None:
    """The first test chosen by -k that fails here; None if all pass. Broken if none can run."""
    options = ["-x", "-q", "--tb=no", "-rf", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, tests, "-k", words]
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    result = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode == 0:
        return None
    names = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("FAILED ")]
    if result.returncode != FAILED or not names:
        code = f"pytest ended with code {result.returncode}"
        why = "no test was chosen" if result.returncode == NONE_CHOSEN else code
        output = result.stdout[-2000:] + result.stderr[-2000:]
        raise Broken(f"{why}: pytest {tests} -k {words!r}\n{output}")
    return names[0]


def chosen(bugs: Sequence[Bug]) -> dict[str, str]:
    """For each file of tests the -k words that choose every test named for some bug."""
    words: dict[str, list[str]] = {}
    for bug in bugs:
        words.setdefault(bug.tests, []).append(bug.words)
    return {
        file: "" if "" in of_file else " or ".join(f"({w})" for w in dict.fromkeys(of_file))
        for file, of_file in words.items()
    }


def check(bugs: Sequence[Bug], tree: Path) -> None:
    """Broken unless every bug's text occurs once, gives Python, and its tests exist."""
    for bug in bugs:
        with planted(tree, bug):
            ast.parse((tree / bug.file).read_text())
        if not (tree / bug.tests).is_file():
            raise Broken(f"{bug.kind}: no file {bug.tests}")


def run(bugs: Sequence[Bug], source: Path, say) -> list[Outcome]:
    """Every bug in turn. `say` gets each line of the log as it comes."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="planted-bugs-") as folder:
        tree = Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (source / name).is_dir() else shutil.copy2
            copy(source / name, tree / name)
        check(bugs, tree)
        for tests, words in chosen(bugs).items():
            if failed := first_failure(tree, tests, words):
                raise Broken(f"{failed} fails without any bug")
        say("all of the tests pass without a bug")
        for bug in bugs:
            began = time.monotonic()
            with planted(tree, bug):
                test = first_failure(tree, bug.tests, bug.words)
            outcomes.append(Outcome(bug, test, time.monotonic() - began))
            say(outcomes[-1].line())
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 all caught, 1 some survived, 2 the comparison cannot be made."""
    parser = argparse.ArgumentParser(prog="scripts/plant_bugs", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--list",
        choices=LISTS,
        action="append",
        help="which list of bugs; may be given again (default: all)",
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="WORDS",
        help="only bugs whose kind or file contains these words",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="write the log to FILE too")
    options = parser.parse_args(arguments)
    bugs = [
        bug
        for name in options.list or LISTS
        for bug in LISTS[name]
        if options.only in bug.kind or options.only in bug.file
    ]
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    try:
        outcomes = run(bugs, ROOT, say)
    except Broken as error:
        say(f"plant_bugs: {error}")
        return 2
    caught = sum(outcome.test is not None for outcome in outcomes)
    say(f"{caught} of {len(outcomes)} bugs caught, of {len({bug.kind for bug in bugs})} kinds")
    if options.log:
        options.log.write_text("\n".join(lines) + "\n")
    return int(caught < len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
