"""A mapping becomes a dataclass, strictly: a wrong key or type is one line that names the key."""

import dataclasses
import math
import operator
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar, cast

from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError


class Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Dataclass)
NUMBERS = ("int", "float", "int | None", "float | None")
TYPE_WORDS = {"int": "whole number", "float": "number", "bool": "true or false", "str": "text"}


def build(cls: type[T], options: Mapping[str, Any], key: str) -> T:
    """`cls(**options)` with types checked and converted as OmegaConf does.

    key: the mapping's place in the configuration, "" at the top. Raises ConfigError for an unknown
    key, a missing mandatory value, a wrong type, or what __post_init__ refuses.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f"{key}={options}: expected keys with values")
    fields = [field.name for field in dataclasses.fields(cls)]
    for name, value in options.items():
        if name not in fields:
            near = ", ".join(nearest(str(name), fields) or fields)
            raise ConfigError(f"unknown key {_place(key, str(name))}; expected one of: {near}")
        _refuse_other_kind(_place(key, name), value, _type_of(cls, name))
    try:
        merged: Any = OmegaConf.merge(OmegaConf.structured(cls), dict(options))
        for name in options:
            _refuse_endless(merged[name], _place(key, name))
        return cast(T, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(_in_one_line(cls, error, options, key)) from None


def _refuse_other_kind(place: str, value: Any, kind: str) -> None:
    """ConfigError for what OmegaConf would convert: true to 1, 2 to true, a list to text."""
    if isinstance(value, bool) and kind in NUMBERS:
        raise ConfigError(f"{place}={value}: expected a number, not a truth value")
    if type(value) in (int, float) and kind in ("bool", "bool | None"):
        raise ConfigError(f"{place}={value}: expected {_expected(kind)}")
    many = kind.startswith("list")
    if value is not None and _is_list(value) != many:
        expected = f"a list, as {place}=[{value}]" if many else "one value, not a list"
        raise ConfigError(f"{place}={value}: expected {expected}")
    if _is_list(value) and any(_is_list(each) or isinstance(each, bool) for each in value):
        raise ConfigError(f"{place}={value}: expected {_expected(kind)}")


def _refuse_endless(value: Any, place: str) -> None:
    """ConfigError for NaN, infinity and whole numbers of more than 64 bits, in lists as well."""
    for each in value if _is_list(value) else [value]:
        if isinstance(each, float) and not math.isfinite(each):
            raise ConfigError(f"{place}={value}: expected a finite number")
        if isinstance(each, int) and not -(2**63) <= each < 2**63:
            raise ConfigError(f"{place}={value}: expected a number of at most 64 bits")


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | ListConfig)


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


def _in_one_line(
    cls: type[Any], error: OmegaConfBaseException, options: Mapping[str, Any], key: str
) -> str:
    name = re.split(r"[.\[]", str(getattr(error, "full_key", None) or ""))[0]
    if name not in options:
        return f"{_place(key, name)}: {str(error).splitlines()[0]}"
    value = "null" if options[name] is None else options[name]
    return f"{_place(key, name)}={value}: expected {_expected(_type_of(cls, name))}"


def _expected(kind: str) -> str:
    """In words: `list[int] | None` -> a list of whole numbers, or null."""
    each = re.sub(r"^list\[(.*?)\]", r"\1", kind).partition(" |")[0]
    words = TYPE_WORDS.get(each, each)
    if kind.startswith("list"):
        words = f"a list of {words}{'s' if words.endswith('number') else ''}"
    elif words.endswith("number"):
        words = f"a {words}"
    return f"{words} or null" if kind.endswith("| None") else words


def _place(key: str, name: str) -> str:
    return ".".join(part for part in (key, name) if part)


def _type_of(cls: type[Any], name: str) -> str:
    kind: Any = next(field.type for field in dataclasses.fields(cls) if field.name == name)
    if isinstance(kind, str):
        return kind
    # list[int] has a __name__ too, which leaves out the int.
    return str(kind) if hasattr(kind, "__args__") else getattr(kind, "__name__", str(kind))
