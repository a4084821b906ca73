"""The word for a scheme at a length, from the losses of its seeds: which comparisons it rests on.

The rules are those of fails_or_uses.py; here the losses are paired, for a run alone (evaluation) as
for several (reporting).

Losses in nats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lengthgen.statistics import comparisons, fails_or_uses
from lengthgen.statistics.comparisons import Estimate
from lengthgen.statistics.documents import FEWEST
from lengthgen.statistics.losses import Losses, common_seeds
from lengthgen.statistics.paired import Paired

WITHOUT = "none"  # the scheme that has no positions
SHUFFLED = "its own shuffled positions"


@dataclass(frozen=True)
class Answer:
    """One scheme at one length.

    estimates: failure, use_fresh, use_hard_window, below_bigram and positions_gain, those that were
    measured. short, long: the losses at L and L' that they are of. positions_over: what
    positions_gain is a gain over; empty if it was not measured. reason: why the word is undecided,
    where the numbers do not say so.
    """

    word: str
    estimates: Mapping[str, Estimate]
    short: Losses
    long: Losses
    positions_over: str = ""
    reason: str = ""

    @property
    def n_seeds(self) -> int:
        return len(self.short.seeds)

    @property
    def n_documents(self) -> int:
        return int(self.estimates["failure"].n_documents[0])


@dataclass(frozen=True)
class Evidence:
    """The losses of one scheme: matched, at the lengths L and L' at least, and what goes with them.

    hard_window: at L'; baselines: losses at L without positions in use, by name, the best first.
    """

    scheme: str
    train_length: int
    matched: Losses
    hard_window: Losses | None = None
    baselines: Mapping[str, Losses] = field(default_factory=dict)

    def at(self, eval_length: int) -> Answer:
        """Of the seeds that have both lengths."""
        short, long = (self.matched.at(n) for n in (self.train_length, eval_length))
        seeds = common_seeds(short, long)
        short, long = short.of_seeds(seeds), long.of_seeds(seeds)
        paired = {"failure": long.minus(short), "use_fresh": short.minus(long)}
        if self.hard_window is not None and eval_length in self.hard_window.lengths:
            window = self.hard_window.at(eval_length)
            if set(seeds) <= set(window.seeds):  # else it would flatter the scheme
                paired["use_hard_window"] = window.of_seeds(seeds).minus(long)
        if (below := short.below_bigram()) is not None:
            paired["below_bigram"] = below.paired()
        over, gain = self._positions(short)
        if gain is not None:
            paired["positions_gain"] = gain
        estimates = {name: comparisons.estimate(each) for name, each in paired.items()}
        uses = [value for name, value in estimates.items() if name.startswith("use_")]
        (word,) = fails_or_uses.classify(
            estimates["failure"],
            uses,
            competence=estimates.get("below_bigram"),
            in_use=estimates.get("positions_gain"),
        )
        n_documents, reason = int(estimates["failure"].n_documents[0]), ""
        if n_documents < FEWEST:
            reason = f"{n_documents} documents: at least {FEWEST} are needed"
        return Answer(word, estimates, short, long, over, reason)

    def _positions(self, short: Losses) -> tuple[str, Paired | None]:
        """What the losses at L are below those of the first baseline that has the seeds."""
        if not is_without(self.scheme):
            for name, baseline in self.baselines.items():
                if seeds := _pairable(short.seeds, baseline):
                    return name, baseline.of_seeds(seeds).minus(short.of_seeds(seeds))
        return "", None


def is_without(scheme: str) -> bool:
    """Is this label that of the model without positions, under whatever modifiers?"""
    return scheme.partition("(")[0].partition("+")[0] == WITHOUT


def _pairable(seeds: Sequence[int], baseline: Losses) -> list[int]:
    """The seeds to pair with a baseline: all of `seeds`, or at least two; else none."""
    shared = [seed for seed in seeds if seed in baseline.seeds]
    return shared if len(shared) == len(seeds) or len(shared) > 1 else []
