"""What a study declares before it runs: arms, conditions of their evaluation, and claims.

A study is one YAML in configs/study/. Its overrides are those of `lengthgen train` (arms, base) and
`lengthgen evaluate` (conditions), so every run can be repeated by hand, and studies share runs.

    base        overrides of every arm
    scales      name -> seeds, and overrides that come after the base; the first is the default
    arms        name -> overrides that come after those: one trained model per seed
    starts      arm -> the arm whose weights, seed by seed, its training starts from: its `from`
    conditions  name -> arms, and the overrides of a second evaluation; its subject is ARM+NAME
    claims      name -> a claim and its prediction (claims.Claim)
    check       true: a check of the instrument, listed apart from what is asked about the world
    grid        key of the training -> values, at least two; an arm's own best is the point with the
                lowest loss at the training length, and claims are judged there and at the declared,
                common values as well. arms, of_arms, seeds: parts.Grid
    show, axis  the measure of the figure, and its x axis: length | tokens | corpus
    figures     several figures of values instead (parts.Figure)
    published   numbers of schemes in published tables, whose order is compared with this study's
    against     schemes whose loss is taken from that of every other arm trained on the same text
                (crossings.py)
    exposure    arms; how often training reached the entries of their tables (exposure_table.py)
    words       true: the word for every subject beyond its training length (words_table.py)
    costs       evaluation length / train_length at which time and memory are measured (costs.py)
    information the largest distance of the mutual information of every real text in the study
    key_tokens  a reference arm, and whose loss on its key tokens is measured
    parts       pieces that arms repeat by YAML anchors; a list within a list is spread out

Primary claims, MOST_PRIMARY at most, decide the study's verdict and share one error rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lengthgen import files
from lengthgen.config import catalogue, dataclass_from
from lengthgen.errors import ConfigError
from lengthgen.studies import measures
from lengthgen.studies.claims import MOST_PRIMARY, Claim
from lengthgen.studies.parts import (
    Condition,
    Figure,
    Grid,
    KeyTokens,
    Point,
    Published,
    Scale,
    flat,
    grid,
    same,
)


@dataclass(frozen=True)
class Study:
    name: str
    meaning: str  # the YAML's first comment
    claim: str  # what is put to the test, in words
    base: tuple[str, ...]
    scales: Mapping[str, Scale]
    arms: Mapping[str, tuple[str, ...]]
    conditions: Mapping[str, Condition]
    claims: Mapping[str, Claim]
    show: str
    axis: str
    published: tuple[Published, ...]
    costs: float | None
    information: int | None
    key_tokens: KeyTokens | None
    check: bool = False
    grid: Grid | None = None
    figures: tuple[Figure, ...] = ()
    against: tuple[str, ...] = ()
    exposure: tuple[str, ...] = ()
    words: bool = False
    starts: Mapping[str, str] = field(default_factory=dict)
    text: str = ""  # the YAML as it was read

    def scale(self, name: str | None) -> tuple[str, Scale]:
        """(name, scale); None is the first. ConfigError for an unknown one."""
        name = name or next(iter(self.scales))
        if name not in self.scales:
            raise ConfigError(f"--scale {name}: study {self.name} has {', '.join(self.scales)}")
        return name, self.scales[name]

    def training(self, arm: str, scale: Scale) -> list[str]:
        """Overrides of `lengthgen train` for an arm, without the seed; the last one of each key."""
        overrides = [*self.base, *scale.base, *self.arms[arm], *scale.arms.get(arm, [])]
        return last_of_each_key(overrides)

    def points(self, arm: str, scale: Scale) -> tuple[list[Point], Point]:
        """(points of the grid of an arm, that of its declared values); [], () without a grid.

        ConfigError if the declared values, which arms have in common, are no point of the grid.
        """
        points = self.grid.points(arm) if self.grid else []
        if not points:
            return [], ()
        declared = self.training(arm, scale)
        for point in points:
            if all(any(same(one, other) for other in declared) for one in point):
                return points, point
        keys = ", ".join(override.partition("=")[0] for override in points[0])
        raise ConfigError(
            f"study {self.name}: arm {arm} declares no value of {keys} that is in its grid; "
            "expected the common value among base, scale or arm"
        )

    def conditions_of(self, arm: str) -> dict[str, list[str]]:
        """Condition -> overrides of `lengthgen evaluate`, for each condition of the arm."""
        return {
            name: condition.overrides
            for name, condition in self.conditions.items()
            if not condition.arms or arm in condition.arms
        }

    def subjects(self) -> list[str]:
        """Every arm and arm+condition, in the order of the declaration."""
        return [
            name
            for arm in self.arms
            for name in (arm, *(f"{arm}+{condition}" for condition in self.conditions_of(arm)))
        ]


def last_of_each_key(overrides: Sequence[str]) -> list[str]:
    return list({override.partition("=")[0]: override for override in overrides}.values())


def names(folders: Sequence[Path]) -> list[str]:
    return catalogue.options("study", folders)


def load(name: str, folders: Sequence[Path]) -> Study:
    """A study from folders of configurations. ConfigError for what is wrong in it."""
    paths = catalogue.files("study", folders)
    if name not in paths:
        dataclass_from.choice("study", name, tuple(sorted(paths)))
    return read(paths[name])


def read(path: Path) -> Study:
    text = files.read_text(path)
    try:
        declared = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: {' '.join(str(error).split())}") from None
    return _build(path.stem, catalogue.meaning(path), declared, text)


PANELS = ("dataset", "protocol", "arm", "condition", "none")
REQUIRED = ("claim", "scales", "arms", "claims")
KEYS = (
    "name", *REQUIRED, "base", "conditions", "show", "axis", "published", "costs", "information",
    "key_tokens", "parts", "check", "grid", "figures", "against", "exposure",
    "words", "starts",
)  # fmt: skip


def _build(name: str, meaning: str, declared: Mapping[str, Any], text: str) -> Study:
    label = f"study {name}"
    for unknown in declared.keys() - set(KEYS):
        raise ConfigError(f"{label}: unknown key {unknown}; expected one of: {', '.join(KEYS)}")
    for key in REQUIRED:
        dataclass_from.check(bool(declared.get(key)), f"{label}: {key} is missing")

    def built(cls: type, key: str) -> dict[str, Any]:
        return {
            name: dataclass_from.build(cls, options or {}, f"{label}: {key}.{name}")
            for name, options in (declared.get(key) or {}).items()
        }

    key_tokens = declared.get("key_tokens")
    study = Study(
        name=name,
        meaning=meaning,
        claim=" ".join(declared["claim"].split()),
        base=tuple(flat(declared.get("base") or ())),
        scales=built(Scale, "scales"),
        arms={arm: tuple(flat(overrides or ())) for arm, overrides in declared["arms"].items()},
        conditions=built(Condition, "conditions"),
        claims=built(Claim, "claims"),
        show=declared.get("show", "loss"),
        axis=declared.get("axis", "length"),
        published=tuple(
            dataclass_from.build(Published, order, f"{label}: published")
            for order in declared.get("published") or ()
        ),
        costs=declared.get("costs"),
        information=declared.get("information"),
        key_tokens=dataclass_from.build(KeyTokens, key_tokens, f"{label}: key_tokens")
        if key_tokens
        else None,
        check=bool(declared.get("check", False)),
        grid=grid(declared.get("grid"), label),
        figures=tuple(
            dataclass_from.build(Figure, options, f"{label}: figures")
            for options in declared.get("figures") or ()
        ),
        against=tuple(declared.get("against") or ()),
        exposure=tuple(declared.get("exposure") or ()),
        words=bool(declared.get("words", False)),
        starts=dict(declared.get("starts") or {}),
        text=text,
    )
    _check_names(label, study)
    _check_seeds(label, study)
    n_primary = sum(claim.primary for claim in study.claims.values())
    dataclass_from.check(
        1 <= n_primary <= MOST_PRIMARY,
        f"{label}: {n_primary} primary claims; expected 1 to {MOST_PRIMARY}, others exploratory",
    )
    return study


def _check_names(label: str, study: Study) -> None:
    """ConfigError for a name that nothing in the study, or no measure, has."""
    arms, subjects = tuple(study.arms), tuple(study.subjects())

    def check(key: str, given: Sequence[str], known: Sequence[str]) -> None:
        for name in given:
            dataclass_from.choice(f"{label}: {key}", name, tuple(known))

    for name, condition in study.conditions.items():
        check(f"conditions.{name}.arms", condition.arms, arms)
    for name, scale in study.scales.items():
        check(f"scales.{name}.arms", [*scale.arms, *scale.arm_seeds], arms)
    for name, claim in study.claims.items():
        check(f"claims.{name}.measure", [claim.measure], [*measures.MEASURES])
        check(f"claims.{name}", [claim.subject, *filter(None, [claim.baseline])], subjects)
        check(f"claims.{name}.gate", [*filter(None, [claim.gate])], arms)
        check(f"claims.{name}.needs", claim.needs, [one for one in study.claims if one != name])
    check("exposure", study.exposure, arms)
    check("starts", [*study.starts], arms)
    check("starts", [*study.starts.values()], [arm for arm in arms if arm not in study.starts])
    if study.key_tokens:
        check("key_tokens", [study.key_tokens.reference, *study.key_tokens.subjects], subjects)
    for order in study.published:
        check("published", [*order.worst_first, *order.values], subjects)
    if study.grid:
        check("grid.arms", [*study.grid.arms, *study.grid.of_arms], arms)
        for scale in study.scales.values():
            for arm in study.arms:
                study.points(arm, scale)
    for figure in (Figure(show=study.show, axis=study.axis), *study.figures):
        check("show", [figure.show], [*measures.BY_LENGTH, measures.BIAS, measures.DIFFERENCE])
        baselines = study.against if figure.show == measures.DIFFERENCE else [""]
        check("figures.baseline", [figure.baseline], baselines)
        check("axis", [figure.axis], ["length", "tokens", "corpus"])
        check("figures.panels", [figure.panels], ["", *PANELS])
        check("figures.arms", figure.arms, arms)
        check("figures.conditions", figure.conditions, [*study.conditions, "none"])


def _check_seeds(label: str, study: Study) -> None:
    """ConfigError for a claim that compares arms with different numbers of seeds, and for an arm
    that starts from one with fewer."""
    for arm, before in study.starts.items():
        for scale_name, scale in study.scales.items():
            dataclass_from.check(
                scale.seeds_of(arm) <= scale.seeds_of(before),
                f"{label}: starts.{arm}: {before} has fewer seeds in scale {scale_name}",
            )
    for name, claim in study.claims.items():
        for scale_name, scale in study.scales.items():
            seeds = scale.seeds_of(claim.subject.partition("+")[0])
            for other in filter(None, (claim.baseline, claim.gate)):
                of_other = scale.seeds_of(other.partition("+")[0])
                dataclass_from.check(
                    seeds == of_other,
                    f"{label}: claims.{name}: {seeds} seeds of {claim.subject} and {of_other} of "
                    f"{other} in scale {scale_name}: expected as many",
                )
