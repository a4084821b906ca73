"""A learned bias per offset: one free number per head and distance, T5's bias without its sharing.

Source: no canonical paper; T5's bias (Raffel et al., 2020) without buckets, the one-dimensional
form of Swin's table (Liu et al., ICCV 2021). It tests the claim that T5 generalises because far
offsets share a well-trained parameter.
Formula: score(i, j) = q_i . k_j / sqrt(D) + sqrt(D) B[h, i - j], B (H, train_length), zero at the
start. sqrt(D) is T5's factor here (scale_bias, see t5_bias.py): both tables then learn as fast, and
what is left between them is the sharing. scale_bias=false is B alone.

Offset n occurs train_length - n times a window, so the table's end is all but untrained. tail, for
offsets past the table:
  clamp   the last entry (the worst-trained one)
  refuse  the window is refused, with the reason
  zero    0, the table's first value
  mean    the mean of the table's last quarter
  linear  a least-squares line in ln(1 + offset) through the table's last half. In the offset itself
          the noise of the slope would be multiplied by thousands.
reach=K shares the entry K - 1 among all offsets >= K - 1, already in training: the table has K
entries, and no offset is past it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme

TAILS = {
    "clamp": "clamp: later offsets read the last entry, which one pair a window trains",
    "refuse": "refuse: windows longer than the table are not processed",
    "zero": "zero: later offsets get no bias",
    "mean": "mean: later offsets read the mean of the table's last quarter",
    "linear": "linear: a line in ln(1 + offset) through the table's last half goes on",
}


@dataclass
class Config:
    tail: str = "clamp"  # for offsets past the table: clamp | refuse | zero | mean | linear
    # K: offsets >= K - 1 share one entry already in training; null: train_length entries
    reach: int | None = None
    per_layer: bool = False  # a table for each layer instead of one for all
    scale_bias: bool = True  # multiply the bias by sqrt(head size), as t5_bias does

    BEFORE: ClassVar[dict[str, Any]] = {"scale_bias": False}

    def __post_init__(self):
        choice("scheme.tail", self.tail, tuple(TAILS))
        limit(self, "scheme", "> 0", "reach")
        check(
            self.reach is None or self.tail == "clamp",
            f"scheme.reach={self.reach} leaves no offset past the table, "
            f"so scheme.tail={self.tail} has no effect: expected tail=clamp",
        )


class PerOffset(Scheme):
    """table: (1 or n_layers, H, K) float32, K = reach or train_length."""

    Config = Config
    structure = "toeplitz"

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        length = dimensions.train_length
        self.size = config.reach or length
        check(
            self.size <= length,
            f"scheme.reach={self.size}: expected at most train_length = {length}",
        )
        tables = dimensions.n_layers if config.per_layer else 1
        self.table = nn.Parameter(torch.zeros(tables, dimensions.n_heads, self.size))

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Raffel et al., JMLR 2020, without buckets; cf. Liu et al. (Swin), ICCV 2021",
            year=2020,
            acts_on="scores",
            sharing="a table per layer, a row per head"
            if self.config.per_layer
            else "one table for all layers, a row per head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {self.size - 1}"
            + (" and all later ones, which share its entry" if self.config.reach else ""),
            tail="reach: later offsets share the last entry, in training too"
            if self.config.reach
            else TAILS[self.config.tail],
            oracles=("transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.table.zero_()

    def refusal(self, length: int) -> str | None:
        if self.config.tail != "refuse" or length <= self.size:
            return None
        return (
            f"the learned bias has {self.size} offsets and the window has {length} tokens; "
            "scheme.tail=refuse"
        )

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        table = self.table[layer if self.config.per_layer else 0]
        if self.config.scale_bias:
            table = table * self.dimensions.head_dim**0.5
        inside = table.index_select(1, offsets.clamp(max=self.size - 1))
        if self.config.tail == "clamp":
            return inside
        return torch.where(offsets >= self.size, self._beyond(table, offsets), inside)

    def _beyond(self, table: Tensor, offsets: Tensor) -> Tensor:
        """The tail's values past the table (H, K): (H, O) or (H, 1)."""
        match self.config.tail:
            case "zero":
                return torch.zeros_like(table[:, :1])
            case "mean":
                return table[:, -max(1, self.size // 4) :].mean(1, keepdim=True)
            case "linear":
                return _line(table, offsets)
            case _:  # refuse: `positions` refused the window; a direct call gets no silent number
                return torch.full_like(table[:, :1], float("nan"))


def _line(table: Tensor, offsets: Tensor) -> Tensor:
    """(H, O): the least-squares line in ln(1 + offset) through the last half of table (H, K)."""
    size = table.shape[1]
    first = max(0, min(size // 2, size - 2))  # a line needs two points
    x = torch.arange(first, size, device=table.device).double().log1p()
    y = table[:, first:].double()
    centre = x.mean()
    slope = (y * (x - centre)).sum(1, keepdim=True) / (x - centre).square().sum().clamp(min=1e-12)
    return (y.mean(1, keepdim=True) + slope * (offsets.double().log1p() - centre)).float()
