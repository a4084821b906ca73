"""Learned absolute positions: a vector per position, added to the token embedding.

Source: Gehring et al. (ICML 2017); Vaswani et al. (NeurIPS 2017), section 3.5; the form of GPT-2
(Radford et al., 2019).
Formula: x_i = token_i + P[i], P (train_length, E), P ~ N(0, 0.02^2). No deviation from GPT-2.
No training window has a position i >= L = train_length. What happens there is the option tail:
  untrained a table longer than the training windows (GPT-2 trained at less than its n_positions):
            rows from L on are drawn like the others and never get a gradient; row i is a function
            of (seed, i), whatever the window
  refuse    the window is refused, with the reason (GPT-2: an IndexError)
  clamp     row L - 1
  wrap      row i mod L
  resample  a window of T > L tokens reads the L rows at T evenly spaced points, by linear
            interpolation. The codes then depend on T: not prefix-consistent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lengthgen.config.dataclass_from import choice, limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme

TAILS = {
    "untrained": "untrained: later positions read rows that keep their initial values",
    "refuse": "refuse: windows longer than the table are not processed",
    "clamp": "clamp: every later position reads the last row",
    "wrap": "wrap: position i reads row i mod train_length",
    "resample": "resample: a longer window reads the table at evenly spaced points, "
    "by linear interpolation",
}


@dataclass
class Config:
    # past the last trained row: untrained | refuse | clamp | wrap | resample
    tail: str = "untrained"
    init_std: float = 0.02  # standard deviation of the table at the start (GPT-2)

    def __post_init__(self):
        choice("scheme.tail", self.tail, tuple(TAILS))
        limit(self, "scheme", ">= 0", "init_std")


class Learned(Scheme):
    """x + table[position]. table: (train_length, E) float32."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        self.table = nn.Parameter(torch.zeros(dimensions.train_length, dimensions.width))
        # replaced by `initialise`
        self.generator_for: GeneratorFor = lambda name: torch.Generator().manual_seed(0)

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Gehring et al., ICML 2017; Vaswani et al., NeurIPS 2017, section 3.5",
            year=2017,
            acts_on="input",
            sharing="one table, enters once, serves all layers and heads",
            prefix_consistent=self.config.tail != "resample",
            shift_invariant=False,
            trained_reach=f"position {len(self.table) - 1}",
            tail=TAILS[self.config.tail],
            oracles=("transformers", "x-transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.generator_for = generator_for
        self.table.normal_(0.0, self.config.init_std, generator=generator_for("table"))

    @torch.no_grad()
    def untrained(self, length: int) -> Tensor:
        """Rows train_length .. length-1: (length - train_length, E)."""
        # Whole tables, each with its own generator: a row is the same whatever the length.
        rows = len(self.table)
        tables = [self._drawn(number) for number in range(1, -(-length // rows))]
        return torch.cat(tables)[: length - rows].to(self.table)

    def _drawn(self, number: int) -> Tensor:
        """(train_length, E) on the CPU: rows number * train_length and on, which nothing trains."""
        generator = self.generator_for(f"untrained table {number}")
        return torch.empty(self.table.shape).normal_(0.0, self.config.init_std, generator=generator)

    def refusal(self, length: int) -> str | None:
        rows = len(self.table)
        if self.config.tail != "refuse" or length <= rows:
            return None
        return (
            f"learned absolute positions have {rows} rows and the window has {length} tokens; "
            "scheme.tail=refuse"
        )

    def positions(self, length: int, device: torch.device) -> Tensor:
        """0..T-1; with `resample` past the table, float32 points from 0 to its last row."""
        rows = len(self.table)
        if self.config.tail != "resample" or length <= rows:
            return super().positions(length, device)
        points = torch.arange(length, device=device, dtype=torch.float64)
        return (points * (rows - 1) / (length - 1)).float()

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        rows = len(self.table)
        if positions.is_floating_point():
            below = positions.floor().long().clamp(max=rows - 1)
            above = (below + 1).clamp(max=rows - 1)
            weight = (positions - below).unsqueeze(-1)
            code = torch.lerp(self.table[below], self.table[above], weight)
        else:
            if self.config.tail == "clamp":
                positions = positions.clamp(max=rows - 1)
            elif self.config.tail == "wrap":
                positions = positions % rows
            table: Tensor = self.table
            # By the count of positions: reading their values back would stall a GPU.
            if self.config.tail == "untrained" and len(positions) > rows:
                table = torch.cat((table, self.untrained(len(positions))))
            code = functional.embedding(positions, table)
        return x + code.to(x.dtype)

    def embed_from(self, x: Tensor, positions: Tensor, first: int) -> Tensor:
        rows, last = len(self.table), positions.shape[-1]
        if self.config.tail != "untrained" or last <= rows:
            return super().embed_from(x, positions, first)
        # Only the tables that these tokens read: one of train_length rows, mostly.
        numbers = range(first // rows, (last - 1) // rows + 1)
        tables = [self._drawn(n).to(self.table) if n else self.table for n in numbers]
        places = positions[first:] - numbers[0] * rows
        return x + functional.embedding(places, torch.cat(tables)).to(x.dtype)
