"""What is wrong with a command line, in one line: what was given, what was expected, what to do.

Works on the texts of overrides and on lists of valid names; knows no Hydra (refusals.py does).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen.config.nearest import key_meant, nearest, same_name
from lengthgen.errors import ConfigError

# Key -> topic of `lengthgen list`.
LISTED = {key: f"{key}s" for key in ("scheme", "modifier", "retrofit", "dataset", "model", "run")}
# Keys that exist once an option of this group is chosen.
CHOSEN_BY = {"modifiers": "modifier", "retrofit": "retrofit", "diagnostics": "diagnostics"}
SHORT_LIST = 8  # names that one line may hold
# A primary configuration -> how a user calls it, where that is not its name.
CALLED = {"pretrained": "evaluate model=hf:..."}


def unknown_option(group: str, name: str, options: Sequence[str]) -> ConfigError:
    """`scheme=t5bias`: no such option of the group."""
    same = same_name(name, options, group)
    near = [same] if same else nearest(name, options)
    parts = [f"no {group} {name!r}"]
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
        f"{group} is given twice: {first} and {second}; "
        f"give one, or several as a sweep: -m {group}=A,B"
    )


def null_option(group: str, options: Sequence[str]) -> ConfigError:
    """`modifier=null`, which Hydra does not take."""
    none = f", or give {group}=none (in a sweep: {group}=none,...)" if "none" in options else ""
    return ConfigError(f"{group}=null: leave {group} out to choose none{none}")


def of_the_other(command: str, key: str, other: str) -> ConfigError:
    """`lengthgen train +retrofit=yarn`, `lengthgen evaluate run=x scheme=alibi`."""
    command = CALLED.get(command, command)
    return ConfigError(
        f"no key {key!r} in {command}: it is one of `lengthgen {other}`; "
        f"`lengthgen {command} --help` shows its own"
    )


def unknown_key(command: str, key: str, known: Sequence[str], choice: str = "") -> ConfigError:
    """`trian_length=3`, `scheme.bukets=3`, `width=3`: no such key in the composed configuration.

    choice: `scheme=rope`, the option of a sweep that lacks the key.
    """
    command = CALLED.get(command, command)
    where = f"{choice}: " if choice else ""
    top, *below = key.split(".")
    parent, _, last = key.rpartition(".")
    if below and top in CHOSEN_BY and not any(name.startswith(f"{parent}.") for name in known):
        group = CHOSEN_BY[top]
        option = below[0] if top == "modifiers" and len(below) > 1 else "NAME"
        return ConfigError(
            f"{where}no key {key!r}: that {group} is not chosen; give {group}={option} with it"
        )
    siblings = [name for name in known if name.rpartition(".")[0] == parent]
    near = _keys_meant(key, parent, last, known, siblings)
    if near:
        expected = f"nearest: {', '.join(near)}; "
    elif siblings and (parent or len(siblings) <= SHORT_LIST):
        expected = f"{parent or command} has: {', '.join(siblings[:SHORT_LIST])}; "
    else:
        expected = ""
    return ConfigError(
        f"{where}no key {key!r}; {expected}`lengthgen {command} --cfg job` shows all"
    )


def _keys_meant(
    key: str, parent: str, last: str, known: Sequence[str], siblings: Sequence[str]
) -> list[str]:
    meant = key_meant(key)
    if not parent and meant and meant in known:
        return [meant]
    by_last: dict[str, str] = {}  # the last part of a key -> the first key that ends so
    for name in known:
        by_last.setdefault(name.rpartition(".")[2], name)
    # The right name in the wrong place (width for model.width).
    if last in by_last:
        return [by_last[last]]
    # A similar name in the given place, then anywhere.
    prefix = f"{parent}." if parent else ""
    near = [prefix + name for name in nearest(last, [name[len(prefix) :] for name in siblings])]
    if near or (parent and siblings):
        return near
    return [by_last[name] for name in nearest(last, by_last)] or nearest(key, known)


def unknown_plugin(group: str, name: str, options: Sequence[str]) -> ConfigError:
    """`hydra/launcher=joblib` where that plugin is not installed."""
    return ConfigError(
        f"no {group} {name!r}; expected one of: {', '.join(options)}; "
        "joblib and submitit come with pip install 'lengthgen[launchers]'"
    )


def unreadable(command: str, text: str, options: Mapping[str, Sequence[str]]) -> ConfigError:
    """`alibi`, `seed`, `seed=[1,2`: not of the form key=value. options: of each group."""
    command = CALLED.get(command, command)
    key, equals, _ = text.partition("=")
    see_help = f"; `lengthgen {command} --help` shows how"
    if not equals:
        groups = [group for group, names in options.items() if text in names]
        if groups:
            see_help = f"; did you mean {groups[0]}={text}?"
        elif text.isidentifier():
            see_help = f"; did you mean {text}=...?"
        return ConfigError(f"cannot read {text!r}: expected key=value{see_help}")
    if not key.strip("+~ "):
        return ConfigError(f"cannot read {text!r}: expected a key before '='{see_help}")
    return ConfigError(
        f"cannot read the value in {text!r}: expected a number, a word, [a,b], {{a:b}} or quoted "
        f"text, for example {key}=[512,1024] or {key}=\"'a b'\""
    )


def hidden_key(text: str, key: str, config_dir: Path) -> ConfigError:
    """`results=x` beside a folder results/ in --config-dir, which Hydra takes for a group."""
    return ConfigError(
        f"{text}: the folder {key}/ of --config-dir {config_dir} hides the key {key}; "
        "move it, or keep your YAML in another folder"
    )


def several_without_multirun(command: str, text: str, is_group: bool) -> ConfigError:
    """`seed=0,1` without -m."""
    command = CALLED.get(command, command)
    key, _, value = text.partition("=")
    as_list = "" if is_group or "(" in value else f", or write {key}=[{value}] for a list"
    return ConfigError(
        f"{text} gives several values: "
        f"add -m for one job each (lengthgen {command} -m {text}){as_list}"
    )


def no_values(text: str) -> ConfigError:
    """`-m seed=range(0,0)`."""
    return ConfigError(f"{text} gives no value; expected one or more, as {text.split('=')[0]}=0,1")


def no_steps(text: str) -> ConfigError:
    """`-m seed=interval(0,1)`, which is for optimisers of hyperparameters."""
    key = text.partition("=")[0]
    return ConfigError(f"{text} gives no single values; expected {key}=0,1 or {key}=range(0,2)")


def plus_on_known_key(text: str) -> ConfigError:
    """`+seed=1`: the key exists, nothing is to be added."""
    return ConfigError(f"{text}: the key exists already; write {text.lstrip('+')}")


def no_value(command: str, key: str) -> ConfigError:
    """`lengthgen evaluate` without run=..., or `~scheme`."""
    command = CALLED.get(command, command)
    look = f"`lengthgen {command} --help` shows how"
    if key in LISTED:
        look = f"`lengthgen list {LISTED[key]}` shows which there are"
    return ConfigError(f"{key} has no value: give {key}=...; {look}")


def in_one_line(error: BaseException) -> str:
    """The texts of an exception and its causes, where nothing explains them better."""
    lines: list[str] = []
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:  # an error can be its own cause
        seen.add(id(cause))
        lines += [line.strip() for line in str(cause).splitlines()]
        cause = cause.__cause__
    noise = ("full_key:", "object_type=", "reference_type=", "See http")  # OmegaConf's and Hydra's
    kept = [line for line in lines if line and not line.startswith(noise)]
    return "; ".join(dict.fromkeys(kept)) or type(error).__name__


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(key in dotted form, value) of a nested mapping, parents included."""
    for key, value in config.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
