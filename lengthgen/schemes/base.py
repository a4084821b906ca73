"""The contract of a positional scheme.

A scheme is one file in this folder and one YAML in configs/scheme/: a `Config` dataclass and one subclass of `Scheme`
(the only one that the file defines). It overrides the hooks it needs; every other hook is a no-op. The model calls the
hooks and knows no scheme.

What a scheme does to the scores is declared as a structure, and attention runs the fastest exact kernel for it:

| structure | hook | score(i, j) = |
|---|---|---|
| none | `embed`, `rotate`, `steer` | q_i . k_j scale |
| toeplitz | `toeplitz` | ... + a function of (head, i - j) |
| rows | `rows` | ... + a function of (head, i, j) |
| gates | `gates` | ... + sum of the gates of tokens j + 1 .. i, which the text decides |
| general | `logits`, `mix` | anything causal; a tensor of (B, H, T, T) in training |

Shape letters: B batch, T positions in the window, R some rows of queries, S keys that they may see, H heads, D head size, E width,
O offsets. Positions, angles, slopes and distances are float32 (or integers) whatever the model's dtype. No hook reads a table of
fixed length without a named tail policy, and nothing is cached globally: evaluating one length never changes another's numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lengthgen.attention.bias_forms import Bias, Rows, Span, Toeplitz

STRUCTURES = ("none", "toeplitz", "rows", "gates", "general")


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
    structure: str  # of the change of scores: one of STRUCTURES
    sharing: str  # over layers and heads, in words
    prefix_consistent: bool  # logits at i do not change when more tokens follow
    shift_invariant: bool  # logits do not change when every position id is shifted alike
    trained_reach: str  # the longest position or offset that training reaches, in words
    tail: str  # what happens past it: a named policy, never silent
    oracles: tuple[
        str, ...
    ] = ()  # the independent implementations that the tests compare this scheme with


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

    def begin_step(self, step: int, steps: int) -> None:
        """Called before training step `step` of `steps` (from 0), and with step = steps before an evaluation.

        For schemes that change on the way. What is set must be a function of the two numbers alone, so that a run that was interrupted
        goes on as it would have.
        """

    @property
    def draws(self) -> int:
        """How many evaluations of a window are averaged: more than 1 only where positions are drawn at random in evaluation too."""
        return 1

    def use_draw(self, draw: int) -> None:
        """The evaluation to come is number `draw` of `draws`."""

    def positions(self, length: int, device: torch.device) -> Tensor:
        """Position ids (T,) of a window of `length` tokens: integers 0..T-1, or float32 where they are scaled."""
        return torch.arange(length, device=device)

    def read(self, tokens: Tensor) -> Tensor:
        """What the other hooks get as `positions`, from tokens (B, T): those of the window's length unless the text itself decides.

        The model hands the result on unread: a scheme may give it any shape that its own hooks understand.
        """
        return self.positions(tokens.shape[1], tokens.device)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Token embeddings (B, T, E) -> the same shape with position information."""
        return x

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Queries and keys (B, H, T, D) -> the same shapes, changed by position (D may grow, alike in both). Keeps their dtypes."""
        return q, k

    def steer(self, q: Tensor, k: Tensor, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Queries and keys after `rotate`, (B, H, T, D) each, changed by the text: x (B, T, E) is the attention's normalised input."""
        return q, k

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        """Bias (H, O) float32 for integer offsets i - j >= 0. For schemes that declare structure "toeplitz"."""
        raise NotImplementedError

    def rows(self, q_positions: Tensor, k_positions: Tensor, layer: int) -> Tensor:
        """Bias (H, T, S) float32; entries with k > q are ignored. For schemes that declare structure "rows"."""
        raise NotImplementedError

    def gates(self, x: Tensor, layer: int) -> Tensor | None:
        """Log-gates (B, H, T) float32 from the attention's normalised input x (B, T, E): token t's is added to every score over it.

        Score (i, j) gets the sum of the gates j + 1 .. i, times query i's `gate_weights`. For schemes that declare structure "gates";
        None: no gate in this layer.
        """
        return None

    def gate_weights(self, x: Tensor, layer: int) -> Tensor | None:
        """How much each query heeds the gates, (B, H, T) float32 from x (B, T, E); None: 1. Asked only where there are gates."""
        return None

    def span(self, layer: int) -> Span | None:
        """Which keys a query sees: a window of the last ones, the first ones; None: all before it."""
        return None

    def general(self, layer: int) -> bool:
        """True: this layer's scores are `logits` and its output `mix`, computed whole. For schemes that declare structure "general"."""
        return self.declaration.structure == "general"

    @property
    def by_rows(self) -> bool:
        """Whether `logits` may be asked for some rows at a time (evaluation of long windows); False: only for the whole window."""
        return True

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        """Scores (B, H, R, S) of queries q (B, H, R, D), rows first..first+R-1, and keys k (B, H, S, D), S = first + R; scale included.

        q and k have been through `rotate` and `steer`. x (B, T, E): the attention's normalised input. Entries with k > q are masked by the
        caller, as are keys outside `span`: no entry that is kept may depend on one. float32 wherever the model is not float64.
        """
        return q @ k.transpose(-1, -2) * self.score_scale

    def mix(self, logits: Tensor, v: Tensor, layer: int, first: int) -> Tensor:
        """Output (B, H, R, D) of masked scores (B, H, R, S), -inf where a key is not seen, and values v (B, H, S, D)."""
        return logits.softmax(-1) @ v

    def biases(self, positions: Tensor) -> list[Bias | None]:
        """The bias of each layer that positions alone decide; one shared object where layers share it."""
        n_layers = self.dimensions.n_layers
        structure = self.declaration.structure
        if structure not in ("toeplitz", "rows"):
            return [None] * n_layers
        if structure == "toeplitz":
            offsets = torch.arange(positions.numel(), device=positions.device)

            def build(layer: int) -> Bias:
                return Toeplitz(self._checked_vector(offsets, layer))
        else:

            def build(layer: int) -> Bias:
                return Rows(
                    lambda first, last: self._checked_block(
                        positions[first:last], positions[:last], layer
                    )
                )

        if self.shares_bias_over_layers:
            return [build(0)] * n_layers
        return [build(layer) for layer in range(n_layers)]

    # A scheme's `toeplitz` and `rows` are called through these two, so that the tests check what
    # every scheme returns, users' schemes included, and not only annotations that it repeats.
    def _checked_vector(
        self, offsets: Int[Tensor, " O"], layer: int
    ) -> Float[Tensor, "{self.dimensions.n_heads} O"]:
        return self.toeplitz(offsets, layer)

    def _checked_block(
        self, q_positions: Tensor, k_positions: Tensor, layer: int
    ) -> Float[Tensor, "{self.dimensions.n_heads} {len(q_positions)} {len(k_positions)}"]:
        return self.rows(q_positions, k_positions, layer)
