"""What a user's own code raises, sys.exit() too, as one line with its file and line."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lengthgen.errors import ConfigError, UserError


@contextmanager
def in_file(file: Path | None, kind: type[UserError] = ConfigError) -> Iterator[None]:
    """For a call of code in `file`: whatever is raised, and is no UserError, is its fault.

    None: code of the package, whose exceptions are left as they are.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if file is None:
            raise
        raise kind(_in_one_line(_place(error, [file]) or str(file), error)) from error


@contextmanager
def in_folders(folders: Sequence[Path]) -> Iterator[None]:
    """For work that may call code in these folders: what passed through it is its fault."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if place := _place(error, folders):
            raise ConfigError(_in_one_line(place, error)) from error
        if isinstance(error, SystemExit):
            # A library that ends the process is a fault, whatever code it gives.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise


def _place(error: BaseException, where: Sequence[Path]) -> str:
    """File and line of the innermost call in one of these files or folders; "" where none is."""
    places = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    inside = [
        f"{file}, line {line}"
        for file, line in places
        if any(Path(file).is_relative_to(each) for each in where)
    ]
    return inside[-1] if inside else ""


def _in_one_line(place: str, error: BaseException) -> str:
    message = getattr(error, "msg", None) or " ".join(str(error).split())
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"{place}: {what[:400]}; expected code that runs"
