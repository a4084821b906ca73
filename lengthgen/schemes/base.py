"""The contract of a positional scheme: which hooks the model calls, with which shapes.

A scheme is a file in this folder and a YAML of the same name in configs/scheme/. The file holds a
dataclass `Config` (the options) and one subclass of `Scheme`, which overrides the hooks it needs:
every hook here is a no-op. The model knows no scheme. A Config may have two things more:
`at_length`, for options whose default follows the training length (config/by_length.py), and
`BEFORE`, what runs had that are older than an option: they are read so, and an option that is as
before stays out of a run's identity.

What a scheme does to the scores decides its `structure` and the kernel that attention uses:

| structure | hook | score(i, j) = |
|---|---|---|
| none | `embed`, `rotate`, `steer` | q_i . k_j scale |
| toeplitz | `toeplitz` | ... + a function of (head, i - j) |
| rows | `rows` | ... + a function of (head, i, j) |
| gates | `gates` | ... + sum of the gates of tokens j + 1 .. i, which depend on the text |
| general | `logits`, `mix` | anything causal; computed by blocks of rows if `by_rows` |

Shape letters: B sequences, T tokens of the window, R query rows, S keys, H heads, D head size,
E width, O offsets. Positions, angles, slopes and distances are float32, float64 or integers,
whatever the model's dtype: bfloat16 cannot tell neighbouring positions apart beyond 256.
A hook computes what it needs from positions: no cache that one length could leave for another.

Decoding with a cache (lengthgen/decoding/) calls the same hooks for the newest tokens alone, so the
last axis of positions is tokens, and `rotate` and `gates` treat each token by itself. What else it
asks (`reads_tokens` and below) has defaults that are right for every scheme; a scheme overrides
them to be faster, or to have less kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn
from torch.nn import functional

from lengthgen.attention.bias_forms import Bias, Rows, Span, Toeplitz
from lengthgen.attention.two_distances import TwoDistances
from lengthgen.config.dataclass_from import check
from lengthgen.errors import ConfigError

STRUCTURES = ("none", "toeplitz", "rows", "gates", "general")


@dataclass(frozen=True)
class Dimensions:
    """What a scheme may know of its model."""

    n_layers: int
    n_heads: int
    head_dim: int
    width: int
    train_length: int  # tokens in a training window


@dataclass(frozen=True)
class Declaration:
    """What a scheme says of itself, as data. Tests check it against the code."""

    paper: str  # authors, title or venue, equation
    year: int
    acts_on: str  # "input" | "queries and keys" | "scores" | "nothing"
    sharing: str  # over layers and heads, in words
    prefix_consistent: bool  # logits at i do not change when more tokens follow
    shift_invariant: bool  # logits do not change when every position id is shifted alike
    trained_reach: str  # the longest position or offset that training reaches, in words
    tail: str  # what happens past it
    oracles: tuple[str, ...] = ()  # independent implementations that the tests compare it with


GeneratorFor = Callable[[str], torch.Generator]


class Scheme(nn.Module):
    """Base class, and no positions at all by itself."""

    Config: ClassVar[type]

    def __init__(self, config: Any, dimensions: Dimensions):
        super().__init__()
        self.config = config
        self.dimensions = dimensions

    @property
    def declaration(self) -> Declaration:
        """What this instance declares; its options may matter."""
        raise NotImplementedError

    @property
    def structure(self) -> str:
        """What it does to the scores, one of STRUCTURES. Asked for in every layer."""
        return "none"

    @property
    def shares_bias_over_layers(self) -> bool:
        """True: `toeplitz` or `rows` is called once, with layer 0, and serves every layer.

        By default unless the scheme has an option `per_layer` and it is on.
        """
        return not getattr(self.config, "per_layer", False)

    @property
    def score_scale(self) -> float:
        """Factor on q k^T: 1/sqrt(D) unless the scheme's paper says otherwise."""
        return self.dimensions.head_dim**-0.5

    def check_even(self, key: str, size: int) -> None:
        """ConfigError unless `size`, the model's `key`, is even."""
        name = name_of(type(self))
        check(size % 2 == 0, f"{key}={size}: scheme {name} expects an even number")

    def initialise(self, generator_for: GeneratorFor) -> None:
        """Set every parameter. `generator_for(name)`: a CPU generator keyed by (seed, name)."""

    def refusal(self, length: int) -> str | None:
        """Why a window of `length` tokens cannot be processed, in one line; None if it can."""
        return None

    def begin_step(self, step: int, steps: int) -> None:
        """Called before training step `step` (from 0) of `steps`; before evaluation: step = steps.

        State set here must be a function of these two numbers, so that a resumed run is the same.
        """

    @property
    def draws(self) -> int:
        """Evaluations of a window to average; above 1 where positions are drawn at random."""
        return 1

    def use_draw(self, draw: int) -> None:
        """The next evaluation is number `draw` of `draws`."""

    def positions(self, length: int, device: torch.device) -> Real[Tensor, " T"]:
        """Position ids of a window: integers 0..T-1, or float32 where the scheme scales them.

        ConfigError for a window that `refusal` refuses.
        """
        if reason := self.refusal(length):
            raise ConfigError(reason)
        return torch.arange(length, device=device)

    def read(self, tokens: Int[Tensor, "B T"]) -> Tensor:
        """What the other hooks get as `positions`. Override it where the text decides them.

        Any shape that the scheme's hooks understand will do, tokens last: the model only hands it
        on.
        """
        return self.positions(tokens.shape[1], tokens.device)

    def embed(self, x: Float[Tensor, "B T E"], positions: Tensor) -> Float[Tensor, "B T E"]:
        """Token embeddings with position information added."""
        return x

    def rotate(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B G T D"],
        positions: Tensor,
        layer: int,
    ) -> tuple[Float[Tensor, "B H T D2"], Float[Tensor, "B G T D2"]]:
        """Queries and keys changed by position, in their dtypes. D may grow, alike in both.

        G: heads of keys, fewer than H where several heads of a pretrained model share them.
        """
        return q, k

    def steer(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B K T D"],
        x: Float[Tensor, "B T E"],
        layer: int,
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B K T D"]]:
        """Queries and keys after `rotate`, changed by the text x, attention's normalised input."""
        return q, k

    def toeplitz(self, offsets: Int[Tensor, " O"], layer: int) -> Float[Tensor, "H O"]:
        """Structure toeplitz: the bias at offsets i - j >= 0, float32."""
        raise NotImplementedError

    def rows(
        self, q_positions: Real[Tensor, " R"], k_positions: Real[Tensor, " S"], layer: int
    ) -> Float[Tensor, "H R S"]:
        """Structure rows: the bias, float32. Entries of keys after the query are ignored."""
        raise NotImplementedError

    def gates(self, x: Float[Tensor, "B T E"], layer: int) -> Float[Tensor, "B H T"] | None:
        """Structure gates: token t's log-gate is added to every score that looks past t; float32.

        Score (i, j) gets `gate_weights` of i times the sum of gates j + 1 .. i. None: no gates in
        this layer. x is attention's normalised input.
        """
        return None

    def gate_weights(self, x: Float[Tensor, "B T E"], layer: int) -> Float[Tensor, "B H T"] | None:
        """Each query's factor on its sums of gates, float32; None: 1. Called where gates exist."""
        return None

    def span(self, layer: int) -> Span | None:
        """The keys that a query sees: a window and sinks; None: all up to its own."""
        return None

    def general(self, layer: int) -> bool:
        """Whether this layer computes `logits` and `mix` in full, for structure general."""
        return self.structure == "general"

    @property
    def by_rows(self) -> bool:
        """Whether `logits` and `mix` can compute some rows at a time.

        Training and evaluation of long windows then hold no tensor (B, H, T, T). Training makes
        each block of rows twice, the second time for its gradients, so that both times must give
        the same: no random numbers.
        """
        return True

    def logits(
        self,
        q: Float[Tensor, "B H R D"],
        k: Float[Tensor, "B H S D"],
        x: Float[Tensor, "B T E"],
        positions: Tensor,
        layer: int,
        first: int,
    ) -> Float[Tensor, "B H R S"]:
        """Scaled scores of the query rows first..first+R-1 with keys 0..S-1, S = first + R.

        q and k come from `rotate` and `steer`. The caller masks keys that are later than the query
        or outside `span`, so no other entry may depend on them. float32 unless the model is
        float64.
        """
        # The factor on the queries, of which there are fewer than scores.
        return (q * self.score_scale) @ k.transpose(-1, -2)

    def mix(
        self, logits: Float[Tensor, "B H R S"], v: Float[Tensor, "B H S D"], layer: int, first: int
    ) -> Float[Tensor, "B H R D"]:
        """The output from masked scores: -inf where a key is not seen."""
        return logits.softmax(-1) @ v

    @property
    def reads_tokens(self) -> bool:
        """Whether `read` looks at the tokens in evaluation: decoding then keeps them."""
        return type(self).read is not Scheme.read

    @property
    def reads_text(self) -> bool:
        """Whether `steer` or `logits` look at x: decoding then keeps x of every token."""
        return type(self).steer is not Scheme.steer or type(self).logits is not Scheme.logits

    def embed_from(
        self, x: Float[Tensor, "B R E"], positions: Tensor, first: int
    ) -> Float[Tensor, "B R E"]:
        """`embed` of the tokens from `first` on alone, positions of the whole window."""
        return self.embed(x, positions[..., first:])

    def steer_from(
        self,
        q: Float[Tensor, "B H R D"],
        k: Float[Tensor, "B K R D"],
        x: Float[Tensor, "B T E"],
        layer: int,
        first: int,
    ) -> tuple[Float[Tensor, "B H R D"], Float[Tensor, "B K R D"]]:
        """`steer` of the tokens from `first` on alone; x of the whole window if `reads_text`."""
        if type(self).steer is Scheme.steer:
            return q, k
        q, k = (functional.pad(part, (0, 0, first, 0)) for part in (q, k))
        q, k = self.steer(q, k, x, layer)
        return q[:, :, first:], k[:, :, first:]

    def gates_from(
        self, x: Float[Tensor, "B R E"], layer: int, first: int
    ) -> tuple[Float[Tensor, "B H R"] | None, Float[Tensor, "B H R"] | None]:
        """`gates` and `gate_weights` of the tokens from `first` on alone, from their own x."""
        gates = self.gates(x, layer)
        return gates, None if gates is None else self.gate_weights(x, layer)

    def two_distances(
        self,
        q: Float[Tensor, "B H R D"],
        k: Float[Tensor, "B K R D"],
        positions: Tensor,
        layer: int,
        first: int,
    ) -> TwoDistances | None:
        """`logits` as products for near and for far keys, of the tokens from `first` on; else None.

        q and k as `logits` gets them, positions of these tokens alone, `mix` the softmax's.
        Decoding then turns each key once, and not again at every token.
        """
        return None

    def biases(self, positions: Tensor) -> list[Bias | None]:
        """Each layer's bias from positions alone; one object where layers share it."""
        n_layers = self.dimensions.n_layers
        structure = self.structure
        if structure not in ("toeplitz", "rows"):
            return [None] * n_layers
        offsets = torch.arange(positions.numel(), device=positions.device)

        def build(layer: int) -> Bias:
            if structure == "toeplitz":
                return Toeplitz(self._checked_vector(offsets, layer))
            return Rows(
                lambda first, last: self._checked_block(
                    positions[first:last], positions[:last], layer
                )
            )

        if self.shares_bias_over_layers:
            return [build(0)] * n_layers
        return [build(layer) for layer in range(n_layers)]

    # `toeplitz` and `rows` are called through these two, so that the tests check the shapes that
    # every scheme returns, users' schemes included.
    def _checked_vector(
        self, offsets: Int[Tensor, " O"], layer: int
    ) -> Float[Tensor, "{self.dimensions.n_heads} O"]:
        return self.toeplitz(offsets, layer)

    def _checked_block(
        self, q_positions: Tensor, k_positions: Tensor, layer: int
    ) -> Float[Tensor, "{self.dimensions.n_heads} {len(q_positions)} {len(k_positions)}"]:
        return self.rows(q_positions, k_positions, layer)


def name_of(cls: type[Scheme]) -> str:
    """The name by which a user chooses a scheme, modifier or retrofit: its file's."""
    return cls.__module__.rpartition(".")[2]
