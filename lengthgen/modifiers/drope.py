"""DroPE: positions are dropped near the end of training, and the last steps do without them.

Source: Gelberg et al., "Extending the Context of Pretrained LLMs by Dropping Their Positional
Embeddings" (arXiv 2512.12167, 2025). Their 494M model drops positions at 14 of 16 billion
tokens: 0.875.
Formula: the scheme acts in steps k < fraction x steps and never again, in training or evaluation.
fraction = 1 drops positions for the evaluation alone, without recalibration: a
control, not the method.
Deviations: the learning rate is not warmed up again. Positions of any scheme are dropped, not only
rotary ones; a scheme's windows and its factor on q.k stay.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias
from lengthgen.config.dataclass_from import check
from lengthgen.config.plugins import About
from lengthgen.modifiers.base import Silencer
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    # share of the steps that positions last; 1: dropped for the evaluation alone
    fraction: float = 0.875

    def __post_init__(self):
        check(
            0 < self.fraction <= 1,
            f"modifiers.drope.fraction={self.fraction}:"
            " expected a share of the steps, 0 < fraction <= 1",
        )


class DroPE(Silencer):
    """No parameters."""

    Config = Config
    about = About(
        "Gelberg et al., arXiv 2512.12167", 2025, "any scheme with positions", ("float64 loop",)
    )
    stage = 0
    leaves = ("span", "score_scale")

    def __init__(self, config, inner: Scheme):
        super().__init__(config, inner)
        self.dropped = False

    @property
    def declaration(self) -> Declaration:
        if not self.dropped:
            return super().declaration
        return replace(
            super().declaration, acts_on="nothing", prefix_consistent=True,
            shift_invariant=True, trained_reach="no positions any more",
        )  # fmt: skip

    @property
    def structure(self) -> str:
        return "none" if self.dropped else self.inner.structure

    @property
    def tail(self) -> str:
        if self.dropped:
            return "dropped: only the causal mask is left"
        share = f"{100 * self.config.fraction:g} % of the steps"
        return f"dropped after {share}; until then: {super().tail}"

    def begin_step(self, step: int, steps: int) -> None:
        super().begin_step(step, steps)
        # A function of the two numbers alone, so a resumed run drops positions at the same step.
        self.dropped = step >= round(self.config.fraction * steps)

    @property
    def draws(self) -> int:
        return 1 if self.dropped else self.inner.draws

    @property
    def by_rows(self) -> bool:
        return self.dropped or self.inner.by_rows

    def refusal(self, length: int) -> str | None:
        return None if self.dropped else self.inner.refusal(length)

    def positions(self, length: int, device: torch.device) -> Tensor:
        if self.dropped:
            return torch.arange(length, device=device)
        return self.inner.positions(length, device)

    def read(self, tokens: Tensor) -> Tensor:
        if self.dropped:
            return self.positions(tokens.shape[1], tokens.device)
        return self.inner.read(tokens)

    @property
    def reads_tokens(self) -> bool:
        return not self.dropped and self.inner.reads_tokens

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x if self.dropped else self.inner.embed(x, positions)

    def embed_from(self, x: Tensor, positions: Tensor, first: int) -> Tensor:
        return x if self.dropped else self.inner.embed_from(x, positions, first)

    def silent(self, layer: int) -> bool:
        return self.dropped

    def biases(self, positions: Tensor) -> list[Bias | None]:
        return [None] * self.dimensions.n_layers if self.dropped else self.inner.biases(positions)
