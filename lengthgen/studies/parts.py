"""The parts of a study's declaration (declaration.py), but for its claims (claims.py)."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lengthgen.config import dataclass_from
from lengthgen.errors import ConfigError

Point = tuple[str, ...]  # of a grid: overrides of `lengthgen train`, such as optim.lr=4e-3


@dataclass
class Scale:
    seeds: int = 3  # of every arm: 0, 1, ...
    # Seeds of single arms; such an arm is compared with no arm of another number of seeds.
    arm_seeds: dict[str, int] = field(default_factory=dict)
    base: list[str] = field(default_factory=list)  # overrides of every arm at this scale
    arms: dict[str, list[str]] = field(default_factory=dict)  # last overrides of single arms

    def __post_init__(self):
        for seeds in (self.seeds, *self.arm_seeds.values()):
            dataclass_from.check(seeds > 0, f"seeds={seeds}: expected a positive integer")

    def seeds_of(self, arm: str) -> int:
        return self.arm_seeds.get(arm, self.seeds)


@dataclass
class Condition:
    arms: list[str] = field(default_factory=list)  # empty: all
    overrides: list[str] = field(default_factory=list)  # of `lengthgen evaluate`


@dataclass
class Published:
    source: str = ""  # paper, table, data, protocol
    # Numbers of a table: subject -> its perplexity (or loss) at each of the length_factors, null
    # where there is none. Or an order alone, at length_factor.
    length_factors: list[float] = field(default_factory=list)  # evaluation length / train_length
    values: dict[str, Any] = field(default_factory=dict)
    length_factor: float = 2.0
    worst_first: list[str] = field(default_factory=list)

    def __post_init__(self):
        for subject, numbers in self.values.items():
            dataclass_from.check(
                isinstance(numbers, list) and len(numbers) == len(self.length_factors),
                f"{self.source}: values.{subject}={numbers}: expected a number or null for each of "
                f"length_factors={self.length_factors}",
            )


@dataclass
class KeyTokens:
    reference: str = ""  # arm whose first seed decides which tokens need long context
    length_factor: float = 4.0  # its long context / train_length of the subjects
    subjects: list[str] = field(default_factory=list)  # arms that are measured on them


@dataclass
class Figure:
    title: str = ""  # what it shows; empty: the study's meaning
    # A measure by length; bias: the heads' bias by distance; difference: the loss minus baseline's.
    show: str = "loss"
    baseline: str = ""  # of show: difference, one of the schemes that the study is `against`
    axis: str = "length"  # length | tokens (trained on) | corpus (tokens of dataset.train_tokens)
    # What panels differ by: dataset | protocol | arm | condition; none: one panel, whatever the
    # arms were trained at; empty: chosen.
    panels: str = ""
    arms: list[str] = field(default_factory=list)  # empty: all
    conditions: list[str] = field(default_factory=list)  # empty: all; [none]: as trained alone
    protocols: list[str] = field(default_factory=list)  # empty: matched, or whole


@dataclass(frozen=True)
class Grid:
    """Values of the training's keys that arms are tried at, the learning rate above all."""

    values: Mapping[str, Sequence[str]]  # key -> values, of every arm that is in the grid
    of_arms: Mapping[str, Mapping[str, Sequence[str]]]  # arm -> its own values instead
    arms: Sequence[str] = ()  # empty: all
    seeds: int = 2  # so many seeds choose an arm's best; claims are judged with all of them

    def points(self, arm: str) -> list[Point]:
        """Every combination of the values of an arm; [] for an arm that is not in the grid."""
        if self.arms and arm not in self.arms:
            return []
        keys = {**self.values, **self.of_arms.get(arm, {})}
        of_key = ([f"{key}={value}" for value in values] for key, values in keys.items())
        return list(itertools.product(*of_key))


def grid(declared: Mapping[str, Any] | None, label: str) -> Grid | None:
    """The key `grid` of a study: config keys with lists of values, and arms, of_arms, seeds."""
    if not declared:
        return None
    rest = {key: value for key, value in declared.items() if "." not in key}
    for key in rest.keys() - {"arms", "of_arms", "seeds"}:
        raise ConfigError(
            f"{label}: grid.{key}: expected arms, of_arms, seeds, or a key of `lengthgen train` "
            "with a dot in it, such as optim.lr"
        )
    of_arms = rest.get("of_arms") or {}
    values = _values({key: value for key, value in declared.items() if "." in key}, label)
    own = {arm: _values(keys, label) for arm, keys in of_arms.items()}
    dataclass_from.check(bool(values or own), f"{label}: grid: expected a list of values for a key")
    seeds = rest.get("seeds", 2)
    dataclass_from.check(
        isinstance(seeds, int) and seeds > 0, f"{label}: grid.seeds={seeds}: expected 1 or more"
    )
    return Grid(values, own, tuple(rest.get("arms") or ()), seeds)


def _values(keys: Mapping[str, Any], label: str) -> dict[str, tuple[str, ...]]:
    for key, values in keys.items():
        dataclass_from.check(
            isinstance(values, list) and len(values) >= 2,
            f"{label}: grid.{key}={values}: expected a list of at least two values",
        )
    return {key: tuple(str(value) for value in values) for key, values in keys.items()}


def flat(overrides: Sequence[str | Sequence[str]]) -> Iterator[str]:
    """Overrides with the lists within them spread out."""
    for override in overrides:
        yield from [override] if isinstance(override, str) else override


def same(one: str, other: str) -> bool:
    """Whether two overrides set the same key to the same value: optim.lr=4e-3 and =0.004."""
    (key, _, value), (other_key, _, other_value) = one.partition("="), other.partition("=")
    if key != other_key or value == other_value:
        return key == other_key
    try:
        return float(value) == float(other_value)
    except ValueError:
        return False
