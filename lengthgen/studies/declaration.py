"""What a study declares before it runs: its arms, what is done to them at evaluation, and claims with a sign and a threshold.

A study is one YAML in configs/study/. Overrides in it are those of the command line of `lengthgen train` (arms, base) and of `lengthgen
evaluate` (conditions), so that every run of a study can be repeated by hand, and runs that two studies share are made once.

    base        overrides of every arm
    scales      name -> seeds, and overrides of every arm that come after the base; the first is the default
    arms        name -> overrides that come after those: one trained model a seed
    conditions  name -> arms it is for, and the overrides of their second evaluation; its results are called ARM+NAME
    published   orders of schemes in published tables, beside which the study's own order is shown under every protocol
    costs       evaluation length / train_length at which time and memory of every subject are measured (costs.py); left out: not at all
    information the largest distance up to which the mutual information of every real text in the study is measured; left out: not at all
    key_tokens  on which tokens far context tells, by a reference arm, and who is measured there (evaluation/key_tokens.py); or not at all
    parts       pieces that arms repeat, by YAML anchors; nothing else reads them. A list within a list of overrides is spread out.
    claims      name -> what is said, the measure, of which arm or arm+condition, and the prediction: `above X`, `below X`, `within X` of 0

A threshold has the unit of its measure (measures.py). Primary claims (at most six) decide the study's verdict and share one error rate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lengthgen.config import catalogue, dataclass_from
from lengthgen.errors import ConfigError
from lengthgen.studies import measures
from lengthgen.studies.claims import MOST_PRIMARY, Claim


@dataclass
class Scale:
    seeds: int = 3  # of every arm: 0, 1, ...
    arm_seeds: dict[str, int] = field(
        default_factory=dict
    )  # of single arms, instead; such an arm is compared with none of other seeds
    base: list[str] = field(default_factory=list)  # overrides of every arm at this scale
    arms: dict[str, list[str]] = field(
        default_factory=dict
    )  # overrides of single arms at this scale, after their own

    def __post_init__(self):
        for seeds in (self.seeds, *self.arm_seeds.values()):
            dataclass_from.check(seeds > 0, f"seeds={seeds}: expected a positive integer")

    def seeds_of(self, arm: str) -> int:
        return self.arm_seeds.get(arm, self.seeds)


@dataclass
class Condition:
    arms: list[str] = field(default_factory=list)  # those that are evaluated so; empty: all
    overrides: list[str] = field(default_factory=list)  # of `lengthgen evaluate`


@dataclass
class Published:
    source: str = ""  # paper, table, data, protocol
    length_factor: float = 2.0  # evaluation length / train_length
    worst_first: list[str] = field(
        default_factory=list
    )  # subjects of the study in the order of the published losses


@dataclass
class KeyTokens:
    reference: str = ""  # arm whose first seed decides which tokens those are
    length_factor: float = 4.0  # its long context / train_length of the others
    subjects: list[str] = field(default_factory=list)  # arms that are measured on them


@dataclass(frozen=True)
class Study:
    name: str
    meaning: str  # the YAML's first comment
    claim: str  # the claim that is put to the test, in words
    base: tuple[str, ...]
    scales: Mapping[str, Scale]
    arms: Mapping[str, tuple[str, ...]]
    conditions: Mapping[str, Condition]
    claims: Mapping[str, Claim]
    show: str  # the measure of its table and figure
    axis: str  # of the figure: length | tokens (arms whose names end in _N are then points of one line)
    published: tuple[Published, ...]
    costs: float | None
    information: int | None
    key_tokens: KeyTokens | None

    def scale(self, name: str | None) -> tuple[str, Scale]:
        """(name, scale); None is the first. ConfigError for an unknown one."""
        name = name or next(iter(self.scales))
        if name not in self.scales:
            raise ConfigError(f"--scale {name}: study {self.name} has {', '.join(self.scales)}")
        return name, self.scales[name]

    def training(self, arm: str, scale: Scale) -> list[str]:
        """Overrides of `lengthgen train` for an arm, without the seed; the last one of each key."""
        overrides = [*self.base, *scale.base, *self.arms[arm], *scale.arms.get(arm, [])]
        return list({override.partition("=")[0]: override for override in overrides}.values())

    def conditions_of(self, arm: str) -> dict[str, list[str]]:
        """Name -> overrides of `lengthgen evaluate` for every condition that the arm is evaluated under."""
        return {
            name: one.overrides
            for name, one in self.conditions.items()
            if not one.arms or arm in one.arms
        }

    def subjects(self) -> list[str]:
        """Every arm and arm+condition, in the order of the declaration."""
        return [
            name
            for arm in self.arms
            for name in (arm, *(f"{arm}+{condition}" for condition in self.conditions_of(arm)))
        ]


def names(where: Sequence[Path]) -> list[str]:
    return catalogue.options("study", where)


def load(name: str, where: Sequence[Path]) -> Study:
    """The study of that name in the folders of configurations. ConfigError, in one line, for what is wrong with it."""
    found = catalogue.files("study", where)
    if name not in found:
        dataclass_from.choice("study", name, tuple(sorted(found)))
    return read(found[name])


def read(path: Path) -> Study:
    import yaml

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: {' '.join(str(error).split())}") from None
    return _checked(path.stem, catalogue.meaning(path), given)


KEYS = (
    "name",
    "claim",
    "base",
    "scales",
    "arms",
    "conditions",
    "claims",
    "show",
    "axis",
    "published",
    "costs",
    "information",
    "key_tokens",
    "parts",
)


def _checked(name: str, meaning: str, given: Mapping[str, Any]) -> Study:
    key = f"study {name}"
    for unknown in given.keys() - set(KEYS):
        raise ConfigError(f"{key}: unknown key {unknown}; expected one of: {', '.join(KEYS)}")
    for needed in ("claim", "scales", "arms", "claims"):
        dataclass_from.check(bool(given.get(needed)), f"{key}: {needed} is missing")
    study = Study(
        name, meaning, " ".join(given["claim"].split()), tuple(_spread(given.get("base") or ())),
        {n: dataclass_from.build(Scale, one or {}, f"{key}: scales.{n}") for n, one in given["scales"].items()},
        {n: tuple(_spread(overrides or ())) for n, overrides in given["arms"].items()},
        {n: dataclass_from.build(Condition, one, f"{key}: conditions.{n}") for n, one in (given.get("conditions") or {}).items()},
        {n: dataclass_from.build(Claim, one, f"{key}: claims.{n}") for n, one in given["claims"].items()},
        given.get("show", "loss"), given.get("axis", "length"),
        tuple(dataclass_from.build(Published, one, f"{key}: published") for one in given.get("published") or ()), given.get("costs"),
        given.get("information"),
        dataclass_from.build(KeyTokens, given["key_tokens"], f"{key}: key_tokens") if given.get("key_tokens") else None,
    )  # fmt: skip
    _refuse_strangers(key, study)
    return study


def _spread(overrides: Sequence[str | Sequence[str]]) -> Iterator[str]:
    for one in overrides:
        yield from [one] if isinstance(one, str) else one


def _refuse_strangers(key: str, study: Study) -> None:
    """ConfigError for a name that nothing in the study has, and for too many primary claims."""
    known = study.subjects()
    for n, condition in study.conditions.items():
        for arm in condition.arms:
            dataclass_from.choice(f"{key}: conditions.{n}.arms", arm, tuple(study.arms))
    for n, scale in study.scales.items():
        for arm in (*scale.arms, *scale.arm_seeds):
            dataclass_from.choice(f"{key}: scales.{n}.arms", arm, tuple(study.arms))
    for n, claim in study.claims.items():
        dataclass_from.choice(f"{key}: claims.{n}.measure", claim.measure, tuple(measures.MEASURES))
        for subject in filter(None, (claim.subject, claim.baseline)):
            dataclass_from.choice(f"{key}: claims.{n}", subject, tuple(known))
        for name, scale in study.scales.items():
            of, minus = (
                scale.seeds_of((subject or claim.subject).partition("+")[0])
                for subject in (claim.subject, claim.baseline)
            )
            dataclass_from.check(
                of == minus,
                f"{key}: claims.{n}: {of} seeds of {claim.subject} and {minus} of {claim.baseline} in scale {name}: expected as many",
            )
    for subject in (
        (study.key_tokens.reference, *study.key_tokens.subjects) if study.key_tokens else ()
    ):
        dataclass_from.choice(f"{key}: key_tokens", subject, tuple(known))
    for published in study.published:
        for subject in published.worst_first:
            dataclass_from.choice(f"{key}: published", subject, tuple(known))
    dataclass_from.choice(f"{key}: show", study.show, tuple(measures.BY_LENGTH))
    dataclass_from.choice(f"{key}: axis", study.axis, ("length", "tokens"))
    primary = [n for n, claim in study.claims.items() if claim.primary]
    dataclass_from.check(
        1 <= len(primary) <= MOST_PRIMARY,
        f"{key}: {len(primary)} primary claims; expected 1 to {MOST_PRIMARY}, the others exploratory",
    )
