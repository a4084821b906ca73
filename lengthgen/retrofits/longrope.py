"""LongRoPE: each pair is slowed by a factor of its own, searched on held-out training text.

Source: Ding et al., "LongRoPE" (ICML 2024, arXiv 2402.13753), section 3; microsoft/LongRoPE,
rope/longrope.py and evolution/algorithms/dim_mono.py; given factors as in transformers'
_compute_longrope_parameters.
Formula: pair k turns at f_k / x_k with 1 <= x_0 <= x_1 <= ..., and all scores are multiplied by
1 + ln s / ln L, L the training length and s how much longer windows are. Positions below
start_tokens keep their own angles.

Deviations: the paper evolves a population of 64 over 40 rounds. Here the search is deterministic
and along coordinates: it starts at the best of position interpolation, NTK-aware scaling and YaRN,
tries each pair's factor times e^step and e^-step (other pairs follow to keep the order), keeps what
lowers the loss at s L tokens, and halves the step after a round without gain.
start_tokens is not searched. The factors are used at every length, so prefixes are consistent;
transformers changes to other factors for short ones.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import check, limit
from lengthgen.config.plugins import About
from lengthgen.retrofits import yarn
from lengthgen.retrofits.base import LossOf
from lengthgen.retrofits.rotary import Respaced
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration, Scheme

FIRST_STEP, LAST_STEP = 0.5, 0.02  # of the logarithm of a factor
CPU = torch.device("cpu")


@dataclass
class Config:
    # s: the search looks at windows of s train_length tokens; also in the temperature
    factor: float = 4.0
    factors: list[float] | None = None  # one for each pair, fast ones first; null: searched
    looks: int = 64  # losses that the search may ask for
    start_tokens: int = 0  # positions below it keep their own angles
    temperature: bool = True  # multiply scores by 1 + ln s / ln train_length

    def __post_init__(self):
        limit(self, "retrofit", ">= 1", "factor")
        limit(self, "retrofit", ">= 3", "looks")  # one for each start
        limit(self, "retrofit", ">= 0", "start_tokens")
        check(
            self.factors is None or min(self.factors) > 0,
            f"retrofit.factors={self.factors}: expected positive numbers or null",
        )


class LongRoPE(Respaced):
    """`factors`: those in use; before the search YaRN's."""

    Config = Config
    about = About(
        "Ding et al., ICML 2024, arXiv 2402.13753",
        2024,
        "rotary schemes",
        ("transformers", "float64 loop"),
    )
    least_pairs = 2

    def __init__(self, config, inner: Scheme):
        super().__init__(config, inner)
        pairs = self.trained.spectrum.channels // 2
        check(
            config.factors is None or len(config.factors) == pairs,
            f"retrofit.factors has {len(config.factors or [])} numbers:"
            f" expected one for each of {pairs} pairs",
        )
        self.factors = tuple(config.factors or self.starts()["yarn"])
        self.search: dict[str, Any] = {}

    @property
    def change(self) -> str:
        searched = "searched" if self.search else "not searched yet"
        origin = "given" if self.config.factors else searched
        return f"each pair slowed by a factor of its own ({origin})"

    @property
    def declaration(self) -> Declaration:
        inner = super().declaration
        invariant = inner.shift_invariant and self.config.start_tokens == 0
        return replace(inner, shift_invariant=invariant)

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        factors = torch.tensor(self.factors, dtype=torch.float64, device=device)
        return self.trained.spectrum.frequencies(device) / factors

    def angles(self, positions: Tensor) -> Tensor:
        frequencies = self.trained.spectrum.frequencies(positions.device)
        as_trained = rotary.angles(positions, frequencies)
        at_start = positions[:, None] < self.config.start_tokens
        return torch.where(at_start, as_trained, super().angles(positions))

    def temperature(self, length: int) -> float:
        if not self.config.temperature:
            return 1.0
        return 1 + math.log(self.config.factor) / math.log(self.dimensions.train_length)

    def starts(self) -> dict[str, tuple[float, ...]]:
        """The factors that known methods amount to, for each pair."""
        s, spectrum = self.config.factor, self.trained.spectrum
        # Pairs that stand still get a factor too.
        whole = replace(spectrum, kept=spectrum.channels // 2)
        kept = yarn.ramp_by_index(whole, self.dimensions.train_length, 1.0, 32.0, CPU)
        factors = {
            "yarn": 1 / ((1 - kept) / s + kept),
            "ntk": whole.frequencies(CPU) / whole.slowed(s).frequencies(CPU),
            "linear": torch.full_like(kept, s),
        }
        return {name: tuple(of_pairs.tolist()) for name, of_pairs in factors.items()}

    def calibrate(self, loss_of: LossOf) -> None:
        if self.config.factors is not None:
            return
        length = round(self.config.factor * self.dimensions.train_length)
        losses: dict[tuple[float, ...], float] = {}

        def loss(factors: tuple[float, ...]) -> float:
            if factors not in losses:
                self.factors = factors
                value = loss_of(length)
                losses[factors] = value if math.isfinite(value) else math.inf
            return losses[factors]

        starts = self.starts()
        first = min(starts, key=lambda name: loss(starts[name]))
        best, step = starts[first], FIRST_STEP
        while step >= LAST_STEP and len(losses) < self.config.looks:
            before = best
            # The slowest pairs first: they are the ones that meet unseen angles.
            for pair in reversed(range(self.trained.spectrum.kept)):
                for factors in moves(best, pair, step):
                    if len(losses) < self.config.looks and loss(factors) < loss(best):
                        best = factors
                        break
            if best == before:
                step /= 2
        self.factors = best
        self.search = {"start": first, "looks": len(losses), "loss": losses[best]} | {
            f"loss_{name}": losses[factors] for name, factors in starts.items()
        }

    @property
    def search_result(self) -> dict[str, Any]:
        return {"factors": list(self.factors), **self.search} if self.search else {}


def moves(factors: tuple[float, ...], pair: int, step: float) -> Iterator[tuple[float, ...]]:
    """The factor of `pair` times e^step, then e^-step (at least 1); others follow in order."""
    more, less = factors[pair] * math.exp(step), max(1.0, factors[pair] * math.exp(-step))
    yield (*factors[:pair], *(max(more, x) for x in factors[pair:]))
    yield (*(min(less, x) for x in factors[: pair + 1]), *factors[pair + 1 :])
