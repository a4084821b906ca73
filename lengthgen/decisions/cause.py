"""What a model's loss past its training length is due to: positions, or attention over more keys.

Of a rotary model, which ReRoPE needs. A longer window changes two things at once: offsets leave the
range that training had, and every query sees more keys. Four evaluations tell them apart (a 2 x 2),
a fifth is their bound:

|                       | many keys, as they are       | scores multiplied by ln n / ln L |
|-----------------------|------------------------------|----------------------------------|
| offsets of any size   | the run as it is             | log_n                            |
| offsets in range      | rerope, retrofit.log_n=false | rerope                           |

hard_window: offsets in range and few keys. Shares are of the loss that the window of the training
length takes back: Su 2023 (ReRoPE; log n), and the study position_or_dilution.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lengthgen.decisions.subjects import MATCHED
from lengthgen.errors import ConfigError
from lengthgen.statistics.thresholds import DELTA
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material
from lengthgen.studies.measured import Mean, Share

MOST = 0.5  # of the loss: what gives back surely more is its cause


def _is(name: str, **options: object) -> Callable[[EvaluatedRun], bool]:
    def matches(one: EvaluatedRun) -> bool:
        given = one.retrofit
        return given.get("name") == name and all(
            given.get(key) == value for key, value in options.items()
        )

    return matches


# What is tried -> its retrofit, and the words of the command that evaluates it.
TRIED: Mapping[str, tuple[Callable[[EvaluatedRun], bool], str]] = {
    "positions": (_is("rerope", log_n=False), "+retrofit=rerope retrofit.log_n=false"),
    "spread": (_is("log_n"), "+retrofit=log_n"),
    "both": (_is("rerope", log_n=True), "+retrofit=rerope"),
    "window": (_is("hard_window"), "+retrofit=hard_window"),
}
IN_WORDS = {
    "positions": "offsets kept in range",
    "spread": "scores sharpened by ln n",
    "both": "both together",
}


@dataclass(frozen=True)
class Cause:
    """At one length. shares: of what is lost, given back: (value, low, high). word: the cause."""

    length: int
    lost: tuple[float, float, float]
    shares: Mapping[str, tuple[float, float, float]]
    word: str

    def __str__(self) -> str:
        lost = "{:+.3f} [{:+.3f}, {:+.3f}] nats".format(*self.lost)
        if not self.shares:
            return (
                f"At {self.length:,} tokens: {lost} against a window of the training length; "
                "nothing is surely lost."
            )
        parts = [f"{IN_WORDS[name]} {_percent(*share)}" for name, share in self.shares.items()]
        return (
            f"At {self.length:,} tokens {lost} are lost against a window of the training length. "
            f"Given back: {'; '.join(parts)}. The cause: {self.word}."
        )


def causes(material: Material) -> list[Cause]:
    """At every length past the training length of the first subject, which is the run as it is.

    ConfigError where an evaluation is missing.
    """
    plain, *rest = material.subjects.values()
    tried = {name: _of(rest, matches) for name, (matches, _) in TRIED.items()}
    if missing := [TRIED[name][1] for name, found in tried.items() if found is None]:
        run = plain.evaluations[0].folder.parent.parent.name
        raise ConfigError(
            f"--cause needs a rotary model, and more evaluations of {run}, with the settings of "
            "the others: " + "; ".join(f"lengthgen evaluate run={run} {words}" for words in missing)
        )
    known = {name: found for name, found in tried.items() if found is not None}
    lengths = [n for n in plain.evaluations[0].lengths(MATCHED) if n > plain.train_length]
    return [_at(length, plain, known) for length in lengths]


def _of(arms: list[EvaluatedArm], matches: Callable[[EvaluatedRun], bool]) -> EvaluatedArm | None:
    return next((arm for arm in arms if matches(arm.evaluations[0])), None)


def _at(length: int, plain: EvaluatedArm, tried: Mapping[str, EvaluatedArm]) -> Cause:
    whole = plain.total(MATCHED, length)
    lost = whole.minus(tried["window"].total(MATCHED, length))
    bounds = Mean(lost).bounds
    if not bounds[1] > DELTA:
        return Cause(length, bounds, {}, "nothing")
    given_back = {
        name: Share(whole.minus(tried[name].total(MATCHED, length)), lost) for name in IN_WORDS
    }
    shares = {name: share.bounds for name, share in given_back.items()}
    return Cause(length, bounds, shares, _word(shares))


def _word(shares: Mapping[str, tuple[float, float, float]]) -> str:
    surely = {name: low > MOST for name, (_, low, _) in shares.items()}
    if surely["positions"] and surely["spread"]:
        return "either mends it: positions and spread cannot be told apart"
    if surely["positions"]:
        return "positions outside of the range of training"
    if surely["spread"]:
        return "attention that spreads over more keys"
    if surely["both"]:
        return "positions and the spread of attention together"
    if shares["both"][2] < MOST:
        return "neither; look at how the scheme reads far tokens"
    return "undecided; more documents would tell"


def _percent(value: float, low: float, high: float) -> str:
    return f"{value:.0%} [{low:.0%}, {high:.0%}]"
