"""LongRoPE: a factor for each pair, searched on held-out training text, by which it is slowed.

Source: Ding et al., "LongRoPE" (ICML 2024, arXiv 2402.13753), section 3; microsoft/LongRoPE, rope/longrope.py and
evolution/algorithms/dim_mono.py; factors given outright as in transformers' _compute_longrope_parameters.
Formula: pair k turns at f_k / x_k with 1 <= x_0 <= x_1 <= ..., and all scores are multiplied by 1 + ln s / ln L, L the training length
and s how much longer the windows are. Positions below start_tokens keep their own angles.

Deviations, all in the search. The paper evolves a population of 64 over 40 rounds; here it is a search along coordinates, deterministic
and with a given number of looks at the loss: it starts at the best of position interpolation, NTK-aware scaling and YaRN's frequencies,
multiplies each pair's factor by e^step and e^-step (the slower or the faster pairs follow where the order asks for it), keeps what lowers
the loss at s times the training length, and halves the step when a round brings nothing. The loss is what `calibrate` is given: of a fixed
small set of windows of the training split, never of the evaluated text. start_tokens is not searched, and nothing is fine-tuned afterwards.
The factors are used at every length, shorter ones included, where transformers would change to other ones: so prefixes are consistent.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lengthgen.config import dataclass_from
from lengthgen.config.plugins import About
from lengthgen.retrofits import yarn
from lengthgen.retrofits.base import LossOf
from lengthgen.retrofits.rotary import Respaced, check_factor
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration

FIRST_STEP, LAST_STEP = 0.5, 0.02  # of the logarithm of a factor
CPU = torch.device("cpu")


@dataclass
class Config:
    factor: float = (
        4.0  # s: the search looks at windows of s train_length tokens; also in the temperature
    )
    factors: list[float] | None = None  # one for each pair, fast ones first; null: searched
    looks: int = 64  # losses that the search may ask for
    start_tokens: int = 0  # positions below it keep their own angles
    temperature: bool = True  # multiply scores by 1 + ln s / ln train_length

    def __post_init__(self):
        check_factor(self.factor)
        dataclass_from.check(
            self.looks >= 3, f"retrofit.looks={self.looks}: expected at least 3, one for each start"
        )
        dataclass_from.check(
            self.start_tokens >= 0,
            f"retrofit.start_tokens={self.start_tokens}: expected an integer >= 0",
        )
        dataclass_from.check(
            self.factors is None or min(self.factors) > 0,
            f"retrofit.factors={self.factors}: expected positive numbers or null",
        )


class LongRoPE(Respaced):
    """Slows each pair by a factor of its own. `factors`: those in use; before the search YaRN's."""

    Config = Config
    about = About(
        "Ding et al., ICML 2024, arXiv 2402.13753",
        2024,
        "rotary schemes",
        ("transformers", "float64 loop"),
    )
    least_pairs = 2

    def __init__(self, config, inner):
        super().__init__(config, inner)
        pairs = inner.spectrum.channels // 2
        dataclass_from.check(
            config.factors is None or len(config.factors) == pairs,
            f"retrofit.factors has {len(config.factors or [])} numbers: expected one for each of {pairs} pairs",
        )
        self.factors = tuple(config.factors or self.starts()["yarn"])
        self.search: dict[str, Any] = {}

    @property
    def follows_length(self) -> bool:
        return False

    @property
    def change(self) -> str:
        origin = (
            "given" if self.config.factors else "searched" if self.search else "not searched yet"
        )
        return f"each pair slowed by a factor of its own ({origin})"

    @property
    def declaration(self) -> Declaration:
        inner = super().declaration
        return dataclasses.replace(
            inner, shift_invariant=inner.shift_invariant and self.config.start_tokens == 0
        )

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        return self.inner.spectrum.frequencies(device) / torch.tensor(
            self.factors, dtype=torch.float64, device=device
        )

    def angles(self, positions: Tensor) -> Tensor:
        own = rotary.angles(positions, self.inner.spectrum.frequencies(positions.device))
        return torch.where(
            positions[:, None] < self.config.start_tokens, own, super().angles(positions)
        )

    def temperature(self, length: int) -> float:
        return (
            1 + math.log(self.config.factor) / math.log(self.dimensions.train_length)
            if self.config.temperature
            else 1.0
        )

    def starts(self) -> dict[str, tuple[float, ...]]:
        """The factors that known methods amount to, for each pair."""
        s, spectrum = self.config.factor, self.inner.spectrum
        whole = dataclasses.replace(
            spectrum, kept=spectrum.channels // 2
        )  # a factor for pairs that stand still too
        kept = yarn.by_index(whole, self.dimensions.train_length, 1.0, 32.0, CPU)
        slower = whole.frequencies(CPU) / whole.slowed(s).frequencies(CPU)
        found = {
            "yarn": 1 / ((1 - kept) / s + kept),
            "ntk": slower,
            "linear": torch.full_like(kept, s),
        }
        return {name: tuple(factors.tolist()) for name, factors in found.items()}

    def calibrate(self, loss_of: LossOf) -> None:
        if self.config.factors is not None:
            return
        length = round(self.config.factor * self.dimensions.train_length)
        losses: dict[tuple[float, ...], float] = {}

        def loss(factors: tuple[float, ...]) -> float:
            if factors not in losses:
                self.factors = factors
                found = loss_of(length)
                losses[factors] = found if math.isfinite(found) else math.inf
            return losses[factors]

        starts = self.starts()
        first = min(starts, key=lambda name: loss(starts[name]))
        best, step = starts[first], FIRST_STEP
        while step >= LAST_STEP and len(losses) < self.config.looks:
            before = best
            for pair in reversed(range(self.inner.spectrum.kept)):
                for changed in moves(best, pair, step):
                    if len(losses) < self.config.looks and loss(changed) < loss(best):
                        best = changed
                        break
            if best == before:
                step /= 2
        self.factors = best
        self.search = {"start": first, "looks": len(losses), "loss": losses[best]} | {
            f"loss_{n}": losses[f] for n, f in starts.items()
        }

    @property
    def found(self) -> dict[str, Any]:
        return {"factors": list(self.factors), **self.search} if self.search else {}


def moves(factors: tuple[float, ...], pair: int, step: float) -> Iterator[tuple[float, ...]]:
    """The factors with that of `pair` multiplied by e^step, then by e^-step (at least 1); others follow to keep the order."""
    more, less = factors[pair] * math.exp(step), max(1.0, factors[pair] * math.exp(-step))
    yield (*factors[:pair], *(max(more, x) for x in factors[pair:]))
    yield (*(min(less, x) for x in factors[: pair + 1]), *factors[pair + 1 :])
