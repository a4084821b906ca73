"""Mistakes on the command line, each told in one line: what was given, what was expected, what to do.

Works on the texts of overrides and on lists of valid names; knows no Hydra (hydra_app.py asks it when Hydra refuses something).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen.config.nearest import key_meant, nearest, same_name
from lengthgen.errors import ConfigError

LISTED = {  # key -> topic of `lengthgen list`
    "scheme": "schemes", "modifier": "modifiers", "retrofit": "retrofits", "dataset": "datasets", "model": "models", "run": "runs",
}  # fmt: skip
# Keys that are there once an option of this group is chosen.
CHOSEN_BY = {"modifiers": "modifier", "retrofit": "retrofit", "diagnostics": "diagnostics"}
SHORT_LIST = 8  # names that one line may hold


def unknown_option(group: str, given: str, options: Sequence[str]) -> ConfigError:
    """`scheme=t5bias`: no such option of the group."""
    same = same_name(given, options, group)
    near = [same] if same else nearest(given, options)
    parts = [f"no {group} {given!r}"]
    if near:
        parts.append(f"nearest: {', '.join(near)}")
    if group in LISTED:
        parts.append(f"`lengthgen list {LISTED[group]}` shows all")
    elif options and (len(options) <= SHORT_LIST or not near):
        parts.append(f"expected one of: {', '.join(options)}")
    return ConfigError("; ".join(parts))


def given_twice(first: str, second: str) -> ConfigError:
    """`scheme=alibi scheme=rope`: of a group, one option can be chosen."""
    group = second.partition("=")[0].lstrip("+")
    return ConfigError(
        f"{group} is given twice: {first} and {second}; give one, or several as a sweep: -m {group}=A,B"
    )


def null_option(group: str, options: Sequence[str]) -> ConfigError:
    """`modifier=null`, which Hydra does not take."""
    none = f", or give {group}=none (in a sweep: {group}=none,...)" if "none" in options else ""
    return ConfigError(f"{group}=null: leave {group} out to choose none{none}")


def of_the_other(command: str, given: str, other: str) -> ConfigError:
    """`lengthgen train +retrofit=yarn`, `lengthgen evaluate run=x scheme=alibi`."""
    return ConfigError(
        f"no key {given!r} in {command}: it is one of `lengthgen {other}`; `lengthgen {command} --help` shows its own"
    )


def unknown_key(command: str, given: str, known: Sequence[str], choice: str = "") -> ConfigError:
    """`trian_length=3`, `scheme.bukets=3`, `width=3`: no such key in the composed configuration.

    choice: `scheme=rope`, the option of a sweep that lacks the key.
    """
    where = f"{choice}: " if choice else ""
    top, *below = given.split(".")
    parent, _, last = given.rpartition(".")
    if below and top in CHOSEN_BY and not any(key.startswith(f"{parent}.") for key in known):
        name = below[0] if top == "modifiers" and len(below) > 1 else "NAME"
        return ConfigError(
            f"{where}no key {given!r}: that {CHOSEN_BY[top]} is not chosen; give {CHOSEN_BY[top]}={name} with it"
        )
    siblings = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == parent}
    places: dict[str, str] = {}
    for key in known:
        places.setdefault(key.rpartition(".")[2], key)
    # the right name in the wrong place (width for model.width); else a like name in the place given; else anywhere
    near = (
        [places[last]] if last in places else [siblings[name] for name in nearest(last, siblings)]
    )
    if not parent and (meant := key_meant(given)) in {**dict.fromkeys(known)}:
        near = [meant]
    if not near and not (parent and siblings):
        near = [places[name] for name in nearest(last, places)] or nearest(given, known)
    if near:
        expected = f"nearest: {', '.join(near)}; "
    elif siblings and (parent or len(siblings) <= SHORT_LIST):
        expected = f"{parent or command} has: {', '.join(list(siblings.values())[:SHORT_LIST])}; "
    else:
        expected = ""
    return ConfigError(
        f"{where}no key {given!r}; {expected}`lengthgen {command} --cfg job` shows all"
    )


def unknown_plugin(group: str, given: str, options: Sequence[str]) -> ConfigError:
    """`hydra/launcher=joblib` where that plugin is not installed."""
    return ConfigError(
        f"no {group} {given!r}; expected one of: {', '.join(options)}; joblib and submitit come with pip install 'lengthgen[launchers]'"
    )


def unreadable(command: str, given: str, options: Mapping[str, Sequence[str]]) -> ConfigError:
    """`alibi`, `seed`, `seed=[1,2`: not of the form key=value."""
    key, equals, _ = given.partition("=")
    if not equals:
        groups = [group for group, names in options.items() if given in names]
        meant = (
            f"{groups[0]}={given}" if groups else f"{given}=..." if given.isidentifier() else None
        )
        hint = f"; did you mean {meant}?" if meant else f"; `lengthgen {command} --help` shows how"
        return ConfigError(f"cannot read {given!r}: expected key=value{hint}")
    if not key.strip("+~ "):
        return ConfigError(
            f"cannot read {given!r}: expected a key before '='; `lengthgen {command} --help` shows how"
        )
    forms = "a number, a word, [a,b], {a:b} or quoted text"
    return ConfigError(
        f"cannot read the value in {given!r}: expected {forms}, for example {key}=[512,1024] or {key}=\"'a b'\""
    )


def hidden_key(given: str, key: str, config_dir: Path) -> ConfigError:
    """`results=x` beside a folder results/ in the --config-dir, which Hydra takes for a group of options."""
    return ConfigError(
        f"{given}: the folder {key}/ of --config-dir {config_dir} hides the key {key}; move it, or keep your YAML in another folder"
    )


def several_without_multirun(command: str, given: str, is_group: bool) -> ConfigError:
    """`seed=0,1` without -m."""
    key, _, value = given.partition("=")
    as_list = "" if is_group or "(" in value else f", or write {key}=[{value}] for a list"
    return ConfigError(
        f"{given} gives several values: add -m for one job each (lengthgen {command} -m {given}){as_list}"
    )


def plus_on_known_key(given: str) -> ConfigError:
    """`+seed=1`: the key exists, nothing is to be added."""
    return ConfigError(f"{given}: the key exists already; write {given.lstrip('+')}")


def no_value(command: str, key: str) -> ConfigError:
    """`lengthgen evaluate` without run=..., or `~scheme`."""
    look = (
        f"`lengthgen list {LISTED[key]}` shows which there are"
        if key in LISTED
        else f"`lengthgen {command} --help` shows how"
    )
    return ConfigError(f"{key} has no value: give {key}=...; {look}")


def in_one_line(error: BaseException) -> str:
    """The texts of an exception and of its causes, without line breaks. For what has no better explanation."""
    lines: list[str] = []
    while error is not None:
        lines += [line.strip() for line in str(error).splitlines()]
        error = error.__cause__
    kept = [
        line
        for line in lines
        if line
        and not line.startswith(("full_key:", "object_type=", "reference_type=", "See http"))
    ]
    return "; ".join(dict.fromkeys(kept)) or type(error).__name__


def flat(config: Mapping, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(key in dotted form, value) of a nested mapping, parents included."""
    for key, value in config.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
