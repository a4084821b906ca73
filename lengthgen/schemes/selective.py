"""Selective attention: a token can tell later ones to look less at an earlier one. No parameters; one head's scores do it.

Source: Leviathan, Kalman, Matias, "Selective attention improves Transformer" (ICLR 2025, arXiv 2410.02703), section 3.
Formula: z = q k^T / sqrt(D) with what `inner` does to queries and keys; S_lj = max(0, z_lj of head 0) for 0 < j < l, else 0;
score(i, j) = z_ij - F_ij, F_ij = sum over l < i of S_lj, the same F for every head.
So the first token (in the paper BOS) cannot be masked, nor can a token mask itself, and what row l selects acts from row l + 1 on.
F only grows, so a masked token stays masked; the diagonal always has F = 0, so every row keeps something to look at.

It goes with any positions that leave scores alone. `inner` names the scheme that gives them: one that changes inputs, or queries and keys
(none, rope, learned, sinusoidal, ...); `none` is the default, since F itself tells the order of tokens: a token is masked only by later
ones. The paper's pruning of masked tokens from the cache, for inference, is not here.

F of a row needs head 0's scores of all rows before it: the whole window is computed at once, in evaluation too, with O(H T^2) memory.
"""

from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from lengthgen import schemes
from lengthgen.config.dataclass_from import build, check
from lengthgen.schemes.base import Declaration
from lengthgen.schemes.wrapper import Wrapper


@dataclass
class Config:
    # the scheme that gives positions: one that changes inputs, or queries and keys
    inner: str = "none"
    # its options, as +scheme.inner_options.NAME=VALUE; {} = defaults
    inner_options: dict[str, Any] = field(default_factory=dict)


class Selective(Wrapper):
    """Subtracts what earlier rows selected from all scores. The inner scheme's parameters only."""

    Config = Config

    def __init__(self, config, dimensions):
        kind = schemes.load(config.inner)
        inner = kind(build(kind.Config, config.inner_options, "scheme.inner_options"), dimensions)
        structure = inner.declaration.structure
        check(
            structure == "none",
            f"scheme.inner={config.inner}: expected a scheme that leaves scores as they are",
        )
        super().__init__(config, inner)

    @property
    def declaration(self) -> Declaration:
        inner = self.inner.declaration
        return Declaration(
            paper="Leviathan et al., ICLR 2025, arXiv 2410.02703, section 3",
            year=2024,
            acts_on="scores",
            structure="general",
            sharing=f"no parameters of its own; {self.config.inner}: {inner.sharing}",
            prefix_consistent=inner.prefix_consistent,
            shift_invariant=inner.shift_invariant,
            trained_reach=f"{self.dimensions.train_length - 1} rows that can mask a token; {self.config.inner}: {inner.trained_reach}",
            tail=f"defined at any length: masks go on adding up; {self.config.inner}: {inner.tail}",
            oracles=("x-transformers", "float64 loop"),
        )

    @property
    def by_rows(self) -> bool:
        return False

    def general(self, layer: int) -> bool:
        return True

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        scores = q @ k.transpose(-1, -2) * self.score_scale
        return scores - masked(scores[:, :1])


def masked(scores: Tensor) -> Tensor:
    """F (B, 1, T, T) of one head's scores (B, 1, T, T): what the rows before each row have taken from each key."""
    # key j + 1 lies at j: only keys before the row, the first one never
    selected = scores[..., 1:].relu().tril(-2)
    taken = selected.cumsum(-2)
    return F.pad(taken[..., :-1, :], (1, 0, 1, 0))
