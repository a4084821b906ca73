"""Selective attention: a token tells later ones to look less at an earlier one.

Source: Leviathan et al., "Selective attention improves Transformer" (ICLR 2025, arXiv 2410.02703),
section 3.
Formula: z = q k^T / sqrt(D) with what `inner` does to queries and keys; S_lj = max(0, z_lj of head
0) for 0 < j < l, else 0; score(i, j) = z_ij - F_ij, F_ij = sum over l < i of S_lj, the same F for
every head. The first token (in the paper BOS) is never masked, no token masks itself, and what row
l selects acts from row l + 1 on. F only grows, and is 0 on the diagonal.

inner is a scheme that leaves scores alone (none, rope, learned, sinusoidal, ...). The default is
none: F itself carries order, as only later tokens mask a token. The paper's pruning of masked
tokens from the cache, for inference, is not here.
F needs head 0's scores of all earlier rows, so the whole window is computed at once, training
and evaluating: O(B H T^2) memory.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from lengthgen.config.dataclass_from import check
from lengthgen.schemes.base import Declaration
from lengthgen.schemes.wrapper import Wrapper, inner_scheme


@dataclass
class Config:
    # the scheme that gives positions: one that changes inputs, or queries and keys
    inner: str = "none"
    # its options, as +scheme.inner_options.NAME=VALUE; {} = defaults
    inner_options: dict[str, Any] = field(default_factory=dict)


class Selective(Wrapper):
    """Subtracts what earlier rows selected from all scores. The inner scheme's parameters only."""

    Config = Config
    structure = "general"

    def __init__(self, config, dimensions):
        inner = inner_scheme(config, dimensions)
        check(
            inner.structure == "none",
            f"scheme.inner={config.inner}: expected a scheme that leaves scores as they are",
        )
        super().__init__(config, inner)

    @property
    def declaration(self) -> Declaration:
        inner, name = self.inner.declaration, self.config.inner
        return replace(
            inner,
            paper="Leviathan et al., ICLR 2025, arXiv 2410.02703, section 3",
            year=2024,
            acts_on="scores",
            sharing=f"no parameters of its own; {name}: {inner.sharing}",
            trained_reach=f"{self.dimensions.train_length - 1} rows that can mask a token; "
            f"{name}: {inner.trained_reach}",
            tail=f"defined at any length: masks go on adding up; {name}: {inner.tail}",
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
    """F (B, 1, T, T) from one head's scores (B, 1, T, T)."""
    # Key j + 1 lies at column j, so that tril(-2) keeps the keys before the row; key 0 is dropped.
    selected = scores[..., 1:].relu().tril(-2)
    taken = selected.cumsum(-2)
    return F.pad(taken[..., :-1, :], (1, 0, 1, 0))
