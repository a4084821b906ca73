"""The contract of a positional scheme.

A scheme is one file in this folder and one YAML in configs/scheme/: a `Config` dataclass and one subclass of `Scheme`
(the only one that the file defines). It overrides the hooks it needs; every other hook is a no-op. The model calls the
hooks and knows no scheme.

Shape letters: B batch, T positions in the window, H heads, D head size, E width, O offsets.
Positions, angles, slopes and distances are float32 (or integers) whatever the model's dtype. No hook reads a table of
fixed length without a named tail policy, and nothing is cached globally.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lengthgen.structures import Bias, Rows, Toeplitz


@dataclass(frozen=True)
class Dimensions:
    """What a scheme may know of the model that it serves."""

    n_layers: int
    n_heads: int
    head_dim: int
    width: int
    train_length: int  # tokens in a training window


@dataclass(frozen=True)
class Declaration:
    """What a scheme says of itself, as data. Tests check each line against the code."""

    paper: str  # authors, title or venue, equation
    year: int
    acts_on: str  # "input" | "queries and keys" | "scores" | "nothing"
    structure: str  # of the additive bias: "none" | "toeplitz" | "rows"
    sharing: str  # over layers and heads, in words
    prefix_consistent: bool  # logits at i do not change when more tokens follow
    shift_invariant: bool  # logits do not change when every position id is shifted alike
    trained_reach: str  # the longest position or offset that training reaches, in words
    tail: str  # what happens past it: a named policy, never silent


GeneratorFor = Callable[[str], torch.Generator]


class Scheme(nn.Module):
    """Base class: no positions at all (every hook a no-op)."""

    Config: ClassVar[type]

    def __init__(self, config: Any, dimensions: Dimensions):
        super().__init__()
        self.config = config
        self.dimensions = dimensions

    @property
    def declaration(self) -> Declaration:
        """What this instance (its options may matter) declares."""
        raise NotImplementedError

    @property
    def shares_bias_over_layers(self) -> bool:
        """True: `toeplitz`/`rows` are asked once (layer 0) and serve every layer."""
        return True

    @property
    def score_scale(self) -> float:
        """Factor on q k^T. 1/sqrt(D) unless a scheme's paper says otherwise."""
        return self.dimensions.head_dim**-0.5

    def initialise(self, generator_for: GeneratorFor) -> None:
        """Set every parameter of the scheme. `generator_for(name)` is a CPU generator keyed by (run seed, name)."""

    def refusal(self, length: int) -> str | None:
        """Why a window of `length` tokens cannot be processed, in one line; None if it can."""
        return None

    def positions(self, length: int, device: torch.device) -> Tensor:
        """Position ids (T,) of a window of `length` tokens: integers 0..T-1, or float32 where they are scaled."""
        return torch.arange(length, device=device)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Token embeddings (B, T, E) -> the same shape with position information."""
        return x

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Queries and keys (B, H, T, D) -> the same shapes, changed by position. Returns q's and k's dtype."""
        return q, k

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        """Bias (H, O) float32 for integer offsets i - j >= 0. For schemes that declare structure "toeplitz"."""
        raise NotImplementedError

    def rows(self, q_positions: Tensor, k_positions: Tensor, layer: int) -> Tensor:
        """Bias (H, T, S) float32; entries with k > q are ignored. For schemes that declare structure "rows"."""
        raise NotImplementedError

    def biases(self, positions: Tensor) -> list[Bias | None]:
        """The bias of each layer; one shared object where layers share it."""
        n_layers = self.dimensions.n_layers
        structure = self.declaration.structure
        if structure == "none":
            return [None] * n_layers
        if structure == "toeplitz":
            offsets = torch.arange(positions.numel(), device=positions.device)

            def build(layer: int) -> Bias:
                return Toeplitz(self.toeplitz(offsets, layer))
        else:

            def build(layer: int) -> Bias:
                return Rows(lambda first, last: self.rows(positions[first:last], positions[:last], layer))

        if self.shares_bias_over_layers:
            return [build(0)] * n_layers
        return [build(layer) for layer in range(n_layers)]
