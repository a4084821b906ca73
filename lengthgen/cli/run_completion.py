"""Completion of run ids and of the words after `--where`, from what results/ holds."""

from collections.abc import Sequence
from pathlib import Path

from lengthgen.cli import where_words
from lengthgen.config import paths
from lengthgen.errors import ConfigError
from lengthgen.evaluation import records, selection

TAKES_RUN = ("evaluate", "decide", "export")  # commands with run=ID
TAKES_WHERE = ("evaluate", "compare", "list", "plot")
WHERE_FLAGS = (where_words.FLAG.name, "--reference-where")


def candidates(command: str, words: Sequence[str], word: str) -> list[str] | None:
    """Completions of the last `word` after `words`; None where it is no run and no condition."""
    if command in TAKES_WHERE and (place := _after_where(words)) is not None:
        found = _conditions(words, word)
        # On a line of Hydra's, other words may follow the first condition.
        if found or place == 0 or command != "evaluate":
            return found
    if command in TAKES_RUN and word.startswith("run="):
        return _values(words, "run", word)
    return None


def _after_where(words: Sequence[str]) -> int | None:
    """How many conditions stand before the cursor since the last --where; None without one."""
    for place, word in enumerate(reversed(words)):
        if word in WHERE_FLAGS:
            return place
        if word.partition("=")[0] not in records.IDENTITY:
            return None
    return None


def _conditions(words: Sequence[str], word: str) -> list[str]:
    key, equals, _ = word.partition("=")
    if equals:
        return _values(words, key, word) if key in records.IDENTITY else []
    return [f"{name}=" for name in records.IDENTITY if name.startswith(word)]


def _values(words: Sequence[str], key: str, word: str) -> list[str]:
    """`key=a,b` with every value that a run has for the part after the last comma."""
    typed = word.removeprefix(f"{key}=")
    before, comma, last = typed.rpartition(",")
    start = f"{key}={before}{comma}"
    return [f"{start}{value}" for value in _known(_results(words), key) if value.startswith(last)]


def _known(results: Path, key: str) -> list[str]:
    if key == "run":  # the names alone: nothing is read
        return sorted(path.parent.name for path in (results / "runs").glob("[!.]*/config.yaml"))
    rows = [row for run in records.runs(results) for row in selection.identities(run)]
    return selection.values(rows, key)


def _results(words: Sequence[str]) -> Path:
    """As the line says so far: `results=FOLDER`, `--results FOLDER`, `--results=FOLDER`."""
    given = "results"
    for before, word in zip(["", *words], words, strict=False):
        name, equals, value = word.lstrip("-").partition("=")
        if name == "results" and equals and value:
            given = value.strip("'\"")
        elif before == "--results":
            given = word
    try:
        return paths.folder(given, "results")
    except ConfigError:
        return Path("results")
