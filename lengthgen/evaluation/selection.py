"""Which runs are meant: `--where KEY=VALUE ...`, the same words for every command.

KEY is one of records.IDENTITY, VALUE what a row of lengths.csv holds there: several by comma, `*`
and `?` stand for any letters or one, and a name may be written as papers write it (`ALiBi`). A
run is taken if one of its evaluations fits in every key; one without an evaluation is known by its
configuration. Knows no torch and no pandas.
"""

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from lengthgen import files
from lengthgen.config.nearest import nearest, same_name
from lengthgen.errors import ConfigError
from lengthgen.evaluation import records
from lengthgen.evaluation.records import IDENTITY, RunFolder

Where = Mapping[str, Sequence[str]]  # identity column -> the values or patterns that are chosen
NAMED = ("scheme", "dataset")  # keys whose values papers spell in their own way
HELP = f"KEY is one of {', '.join(IDENTITY)}; several values by comma, * for any letters"
# A comma in brackets belongs to a label: t5_bias(num_buckets=64,max_distance=256).
COMMA = re.compile(r",(?![^(]*\))")


def where(conditions: Sequence[str], flag: str = "--where") -> dict[str, list[str]]:
    """The conditions KEY=VALUE,VALUE of a command line. ConfigError for one that is none."""
    found: dict[str, list[str]] = {}
    for condition in conditions:
        key, equals, values = condition.partition("=")
        if not equals or not values or key not in IDENTITY:
            near = nearest(key, IDENTITY) if key not in IDENTITY else []
            meant = f" (nearest: {near[0]})" if near else ""
            raise ConfigError(
                f"{flag} {condition}: expected KEY=VALUE with KEY one of "
                f"{', '.join(IDENTITY)}{meant}"
            )
        found.setdefault(key, []).extend(COMMA.split(values))
    return found


def is_pattern(text: str) -> bool:
    """Whether it may stand for several: it holds `*` or `?`."""
    return "*" in text or "?" in text


def fitting(key: str, patterns: Iterable[str], known: Iterable[str]) -> set[str]:
    """Those of the known values of a key that the patterns choose."""
    known = set(known)
    chosen = set()
    for pattern in patterns:
        exact = {value for value in known if _plain(value) == _plain(pattern)}
        if is_pattern(pattern):
            form = re.compile(_as_expression(_plain(pattern)), re.DOTALL)
            exact |= {value for value in known if form.fullmatch(_plain(value))}
        elif not exact and key in NAMED:
            meant = same_name(pattern, known, key)
            exact = {meant} if meant else set()
        chosen |= exact
    return chosen


def runs(results: Path, conditions: Where) -> list[RunFolder]:
    """The runs under results/runs that fit, by name. ConfigError where none does."""
    known = {run.name: (run, identities(run)) for run in records.runs(results)}
    rows = [row for _, of_run in known.values() for row in of_run]
    chosen = {key: fitting(key, conditions[key], values(rows, key)) for key in conditions}
    found = [
        run
        for run, of_run in known.values()
        if any(all(row[key] in chosen[key] for key in conditions) for row in of_run)
    ]
    if not found:
        raise ConfigError(nothing(results, conditions, rows))
    return found


def identities(run: RunFolder) -> list[dict[str, str]]:
    """records.IDENTITY of each finished evaluation, as text; of the configuration without any.

    A configuration does not say the options in a label: where an evaluation is damaged, the scheme
    is not known, and the run is chosen by no scheme. Raises DiskError.
    """
    rows = [first for folder in run.evaluations if (first := first_row(folder)) is not None]
    known = [{key: row.get(key) or "" for key in IDENTITY} | {"run": run.name} for row in rows]
    return known or [_of_config(run) | ({"scheme": ""} if run.evaluations else {})]


def first_row(evaluation: Path) -> dict[str, str] | None:
    """Of an evaluation's lengths.csv; None where it is missing or damaged. Raises DiskError."""
    path = evaluation / "lengths.csv"
    try:
        with files.reading(path), open(path, newline="", encoding="utf-8") as file:
            return next(csv.DictReader(file), None)
    except (*files.NO_FILE, UnicodeDecodeError, csv.Error):
        return None


def values(rows: Iterable[Mapping[str, str]], key: str) -> list[str]:
    """The values that rows of `identities` have of a key, each once."""
    return sorted({row[key] for row in rows} - {""})


def described(conditions: Where) -> str:
    """As it would be written: `scheme=rope,alibi seed=0`."""
    words = (f"{key}={','.join(chosen)}" for key, chosen in conditions.items())
    return " ".join(words) or "anything"


def nothing(results: Path, conditions: Where, rows: Collection[Mapping[str, str]]) -> str:
    """Why no run fits, and what may be meant."""
    if not rows:
        return f"no runs in {results / 'runs'}; `lengthgen train` makes one"
    for key, patterns in conditions.items():
        known = values(rows, key)
        for pattern in patterns:
            if not fitting(key, [pattern], known):
                near = nearest(pattern, known)
                more = " ..." if len(known) > 4 else ""
                hint = f"nearest: {', '.join(near)}" if near else "there are: "
                hint += "" if near else f"{', '.join(known[:4])}{more}"
                return (
                    f"no run under {results / 'runs'} has {key}={pattern}; {hint}; "
                    "`lengthgen list runs` shows all"
                )
    return (
        f"no run under {results / 'runs'} matches {described(conditions)} at once; "
        "`lengthgen list runs` shows all"
    )


def _of_config(run: RunFolder) -> dict[str, str]:
    config = run.config
    names = {key: _named(config.get(key)) for key in ("scheme", "dataset", "model")}
    names["scheme"] = "+".join([names["scheme"], *(config.get("modifiers") or {})])
    numbers = {key: str(config.get(key, "")) for key in ("seed", "train_length", "steps")}
    return dict.fromkeys(IDENTITY, "") | {"run": run.name} | names | numbers


def _named(options: object) -> str:
    """A group's option, by its label where it has one."""
    if not isinstance(options, Mapping):
        return ""
    return str(options.get("label") or options.get("name") or "")


def _as_expression(pattern: str) -> str:
    """`*` and `?` alone mean something: a label may hold brackets."""
    signs = {"*": ".*", "?": "."}
    return "".join(signs.get(letter) or re.escape(letter) for letter in pattern)


def _plain(text: str) -> str:
    """Without blanks, which labels have after their commas."""
    return text.replace(" ", "")
