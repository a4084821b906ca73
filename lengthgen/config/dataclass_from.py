"""A mapping becomes a dataclass, strictly: a wrong key or type is one line that names the key."""

import dataclasses
import operator
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError


class Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Dataclass)
NUMBERS = ("int", "float", "int | None", "float | None")
TYPE_WORDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def build(cls: type[T], options: Mapping[str, Any], key: str) -> T:
    """`cls(**options)` with types checked and converted as OmegaConf does.

    key: the mapping's place in the configuration, "" at the top. Raises ConfigError for an unknown
    key, a missing mandatory value, a wrong type, or what __post_init__ refuses.
    """
    fields = [field.name for field in dataclasses.fields(cls)]
    for name, value in options.items():
        if name not in fields:
            near = ", ".join(nearest(str(name), fields) or fields)
            raise ConfigError(f"unknown key {_place(key, name)}; expected one of: {near}")
        # OmegaConf would take true for 1.
        if isinstance(value, bool) and _type_of(cls, name) in NUMBERS:
            raise ConfigError(f"{_place(key, name)}={value}: expected a number, not a truth value")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(cls), dict(options))
        return cast(T, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(_in_one_line(error, options, key)) from None


def check(condition: bool, message: str) -> None:
    """Raise ConfigError(message) unless the condition holds: for __post_init__."""
    if not condition:
        raise ConfigError(message)


def limit(config: Any, key: str, bound: str, *names: str) -> None:
    """Raise ConfigError unless the fields `names` of a dataclass keep to `bound`: "> 0", ">= 1".

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


def choice(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `allowed`."""
    if value not in allowed:
        near = nearest(str(value), allowed)
        hint = f"; nearest: {near[0]}" if near else ""
        raise ConfigError(f"{key}={value}: expected one of {', '.join(allowed)}{hint}")


def _in_one_line(error: OmegaConfBaseException, options: Mapping[str, Any], key: str) -> str:
    name = str(getattr(error, "full_key", None) or "")
    reason = str(error).splitlines()[0]
    for kind, words in TYPE_WORDS.items():
        if reason.endswith(f"could not be converted to {kind}"):
            return f"{_place(key, name)}={options.get(name, '...')}: expected {words}"
    return f"{_place(key, name)}: {reason}"


def _place(key: str, name: str) -> str:
    return ".".join(part for part in (key, name) if part)


def _type_of(cls: type[Any], name: str) -> str:
    kind = next(field.type for field in dataclasses.fields(cls) if field.name == name)
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
