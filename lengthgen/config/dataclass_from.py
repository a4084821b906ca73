"""A mapping becomes a dataclass, strictly: unknown keys and wrong types are one line that names the key."""

import dataclasses
import operator
from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError

T = TypeVar("T")


def build(cls: type[T], given: Mapping[str, Any], key: str) -> T:
    """`cls(**given)` with types checked and converted as OmegaConf does. `key` is the mapping's place in the configuration, "" at the top.

    Raises ConfigError: unknown key (with the nearest valid name), missing mandatory value, wrong type, or what the
    dataclass's own __post_init__ refuses.
    """
    fields = [field.name for field in dataclasses.fields(cls)]
    for name in given:
        if name not in fields:
            near = nearest(str(name), fields) or fields
            raise ConfigError(
                f"unknown key {_place(key, name)}; expected one of: {', '.join(near)}"
            )
    for name, value in given.items():
        if isinstance(value, bool) and _type_of(cls, name) in (
            "int",
            "float",
            "int | None",
            "float | None",
        ):
            raise ConfigError(f"{_place(key, name)}={value}: expected a number, not a truth value")
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), dict(given)))
    except OmegaConfBaseException as error:
        raise ConfigError(_in_one_line(error, given, key)) from None


def check(condition: bool, message: str) -> None:
    """Raise ConfigError(message) unless the condition holds. For the range checks of __post_init__."""
    if not condition:
        raise ConfigError(message)


def limit(config: Any, key: str, bound: str, *names: str) -> None:
    """Raise ConfigError unless every field `names` of a dataclass keeps to `bound`: "> 0", ">= 1", ...

    A field whose type allows None may be None. `key` is the place of `config`, as in `build`.
    """
    compare, number = bound.split()
    holds = {">": operator.gt, ">=": operator.ge}[compare]
    for name in names:
        value, kind = getattr(config, name), _type_of(type(config), name)
        if value is None or holds(value, float(number)):
            continue
        noun = {"int": "integer" if bound == "> 0" else "whole number"}.get(kind[:3], "number")
        expected = f"a positive {noun}" if bound == "> 0" else f"a {noun} {bound}"
        null = " or null" if kind.endswith("None") else ""
        raise ConfigError(f"{_place(key, name)}={value}: expected {expected}{null}")


def choice(key: str, given: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless `given` is one of `allowed`."""
    if given not in allowed:
        near = nearest(str(given), allowed)
        raise ConfigError(
            f"{key}={given}: expected one of {', '.join(allowed)}"
            + (f"; nearest: {near[0]}" if near else "")
        )


KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def _in_one_line(error: OmegaConfBaseException, given: Mapping[str, Any], key: str) -> str:
    name = str(getattr(error, "full_key", None) or "")
    what = str(error).splitlines()[0]
    for kind, meaning in KINDS.items():
        if what.endswith(f"could not be converted to {kind}"):
            return f"{_place(key, name)}={given.get(name, '...')}: expected {meaning}"
    return f"{_place(key, name)}: {what}"


def _place(key: str, name: str) -> str:
    return ".".join(part for part in (key, name) if part)


def _type_of(cls: type, name: str) -> str:
    kind = next(field.type for field in dataclasses.fields(cls) if field.name == name)
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
