"""Stick-breaking attention, no softmax: from the nearest key back, each takes a share of the rest.

Source: Tan et al., "Scaling stick-breaking attention" (ICLR 2025, arXiv 2410.17980);
shawntan/stickbreaking-attention, sb_ref.py and tests/test_attn.py.
Formula: z_ij = q_i . k_j / sqrt(D), b_ij = sigmoid(z_ij), A_ij = b_ij * product over t = j + 1 .. i
- 1 of (1 - b_it) for j < i; output_i = sum over j < i of A_ij v_j + (1 - sum over j of A_ij) v_i.
As in the official default a query does not attend to its own token (attend_current=true: t and j
run to i), and what is left of the stick goes to that token's value (remainder=drop: to nothing, so
that weights sum to less than 1). The first token has only itself.
Positions come from the order alone: of two equal scores the nearer takes its share first.
"""

from dataclasses import dataclass

from torch import Tensor

from lengthgen.config.dataclass_from import choice
from lengthgen.schemes import broken_stick
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    # the query's own key takes the first share; false (official): only earlier keys do
    attend_current: bool = False
    # what is left of the stick: value (added to the token's own value) | drop
    remainder: str = "value"

    def __post_init__(self):
        choice("scheme.remainder", self.remainder, ("value", "drop"))


class StickBreaking(Scheme):
    """Replaces the softmax. No parameters."""

    Config = Config
    structure = "general"
    reads_text = False

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Tan et al., ICLR 2025, arXiv 2410.17980",
            year=2024,
            acts_on="scores",
            sharing="no parameters",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.dimensions.train_length - 1}",
            tail="defined at any length: shares of what is left of the stick",
            oracles=("torch.distributions", "float64 loop"),
        )

    def mix(self, logits: Tensor, v: Tensor, layer: int, first: int) -> Tensor:
        rows = logits.shape[2]
        weights = broken_stick.weights(logits, None if self.config.attend_current else first)
        mixed = weights @ v[:, :, v.shape[2] - weights.shape[-1] :]
        if self.config.remainder == "value":
            mixed = mixed + (1 - weights.sum(-1, keepdim=True)) * v[:, :, first : first + rows]
        return mixed
