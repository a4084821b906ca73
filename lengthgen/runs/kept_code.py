"""What a run folder keeps is used with care: its code is run only where the user vouches for it.

A run trained with a user's own scheme, modifier, dataset or retrofit holds a copy of that file. The
folder may have come from somebody else.
"""

from collections.abc import Sequence
from pathlib import Path

from lengthgen import files, modifiers, retrofits, schemes
from lengthgen.data import datasets
from lengthgen.errors import ConfigError
from lengthgen.runs.folder import RunFolder

NOUNS = tuple(kind.NOUN for kind in (schemes, modifiers, retrofits, datasets))
# Folders of this process's --config-dir, for readers of many runs: see `named`.
_named: list[Path] = []


def trusted(value: object) -> bool:
    """The key trust_code. ConfigError for what is neither true nor false."""
    if not isinstance(value, bool):
        raise ConfigError(f"trust_code={value}: expected true or false")
    return value


def named(user_folders: Sequence[Path]) -> None:
    """From here on, what run folders keep is run where it is the same as in these folders."""
    _named.extend(folder for folder in user_folders if folder not in _named)


def refuse_interpolations(run: RunFolder) -> None:
    """ConfigError for a config.yaml that would read this machine's environment.

    lengthgen writes it with every value in its place.
    """
    with files.reading(run.config):
        text = run.config.read_text(encoding="utf-8", errors="replace")
    if "${" in text:
        line = next(line.strip() for line in text.splitlines() if "${" in line)
        raise ConfigError(
            f"run {run.path.name}: its config.yaml says {line[:80]}; expected values alone, "
            "as lengthgen writes them"
        )


def folders(
    run: RunFolder, user_folders: Sequence[Path], trusted: bool, retrofit: str = ""
) -> list[Path]:
    """Where the code of a stored run is looked for: its own folder first, then the user's.

    trusted: the user said `trust_code=true`. retrofit: hash of the code of an evaluation's own
    retrofit. ConfigError for code that is not, byte for byte, in one of the user's folders.
    """
    roots = [run.path, *([run.retrofit(retrofit)] if retrofit else [])]
    foreign = [
        path.relative_to(run.path).as_posix()
        for root in roots
        for noun in NOUNS
        for path in sorted((root / noun).glob("*.py"))
        if not any(_same(path, folder / noun / path.name) for folder in (*user_folders, *_named))
    ]
    if foreign and not trusted:
        raise ConfigError(
            f"run {run.path.name} brings code of its own, which would be run: "
            f"{', '.join(foreign)}; read it, then give trust_code=true, "
            "or the --config-dir that holds the same files"
        )
    return [*roots, *user_folders]


def _same(path: Path, other: Path) -> bool:
    try:
        return path.read_bytes() == other.read_bytes()
    except OSError:
        return False
