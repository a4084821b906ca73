"""BiPE: two-level positions. An absolute place inside a segment, a relative one between segments.

Source: He et al., "Two stones hit one bird" (ICML 2024, arXiv 2401.16421), section 3;
zhenyuhe00/BiPE, get_bilevel_ids.
Formula: a segment ends with a separator, which belongs to it. s_i = separators before token i, p_i
= i minus the first place of its segment. At the input x_i = token_i + P[min(p_i, rows - 1)]. In
attention, by `inter`:
  rope   pair k of queries and keys is turned by s_i base^(-2k/D)
  alibi  score(i, j) = q_i . k_j / sqrt(D) - slope_factor m_h (s_i - s_j), m_h ALiBi's slopes
separators are token ids, by default the bytes newline and full stop, as in the paper; another
tokenizer needs its own. A text without separators is one segment; a dot in a number or an
abbreviation ends one too, as in the official code.

P is learned, N(0, init_std^2), one table for the model; intra=sinusoidal uses the sinusoid of p_i
(sinusoidal.py) instead. Places past `rows` (null: train_length) read the last row, and slope_factor
is 96, both as in the official code.
Deviation: the official code adds the slope times the key's own s_j (see alibi.py).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from lengthgen.attention.bias_forms import Bias, Gates
from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes import rotary
from lengthgen.schemes.alibi import slopes
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme
from lengthgen.schemes.sinusoidal import interleaved


@dataclass
class Config:
    inter: str = "rope"  # between segments: rope | alibi
    intra: str = "learned"  # inside a segment: learned | sinusoidal
    # ids of the tokens that end a segment; bytes: newline and full stop
    separators: list[int] = field(default_factory=lambda: [10, 46])
    # rows of the learned table; later tokens of a segment read the last; null: train_length
    rows: int | None = None
    base: float = 10000.0  # of the rotation (rope) and of the code (sinusoidal)
    slope_factor: float = 96.0  # ALiBi's slopes times this, a step is a whole segment (alibi)
    init_std: float = 0.02  # standard deviation of the table at the start

    def __post_init__(self):
        choice("scheme.inter", self.inter, ("rope", "alibi"))
        choice("scheme.intra", self.intra, ("learned", "sinusoidal"))
        check(
            len(self.separators) > 0,
            "scheme.separators=[]: expected the ids of the tokens that end a segment",
        )
        limit(self, "scheme", "> 0", "rows", "slope_factor")
        limit(self, "scheme", "> 1", "base")
        limit(self, "scheme", ">= 0", "init_std")


class BiPE(Scheme):
    """table: (rows, E) float32, if learned.

    `read` gives the hooks (2, B, T): segments and places in them. Positions (T,): one segment.
    """

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        check(
            dimensions.head_dim % 2 == 0 and dimensions.width % 2 == 0,
            f"model.width={dimensions.width}: scheme bipe expects even heads",
        )
        if config.intra == "learned":
            self.table = nn.Parameter(
                torch.zeros(config.rows or dimensions.train_length, dimensions.width)
            )

    @property
    def structure(self) -> str:
        return "gates" if self.config.inter == "alibi" else "none"

    @property
    def declaration(self) -> Declaration:
        learned, alibi = self.config.intra == "learned", self.config.inter == "alibi"
        inside = (
            f"clamp: places past row {len(self.table) - 1} of a segment read that row"
            if learned
            else "sinusoids of later places"
        )
        between = "the line goes on" if alibi else "unseen angles of the slow pairs"
        return Declaration(
            paper="He et al., ICML 2024, arXiv 2401.16421, section 3",
            year=2024,
            acts_on="scores" if alibi else "input",
            sharing=("one table, enters once" if learned else "no parameters")
            + "; the same in every layer between segments",
            prefix_consistent=True,
            shift_invariant=False,
            trained_reach=f"place {self.dimensions.train_length - 1} of a segment, "
            "and as many segments as a training window holds",
            tail=f"{inside}; between segments {between}",
            oracles=("transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        if self.config.intra == "learned":
            self.table.normal_(0.0, self.config.init_std, generator=generator_for("table"))

    def read(self, tokens: Tensor) -> Tensor:
        """(2, B, T) int64: the segment of every token, and its place in it."""
        separators = torch.tensor(self.config.separators, device=tokens.device)
        ends = (tokens[..., None] == separators).any(-1)
        begins = functional.pad(ends, (1, 0))[:, :-1]  # after the token that ends the last segment
        places = torch.arange(tokens.shape[1], device=tokens.device)
        starts = torch.where(begins, places, 0).cummax(-1).values
        return torch.stack((begins.long().cumsum(-1), places - starts))

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        inside = positions if positions.ndim == 1 else positions[1]
        if self.config.intra == "learned":
            rows = functional.embedding(inside.clamp(max=len(self.table) - 1), self.table)
            return x + rows.to(x.dtype)
        E = self.dimensions.width
        return x * E**0.5 + interleaved(inside, E, self.config.base).to(x.dtype)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        if self.config.inter != "rope" or positions.ndim == 1:  # one segment: nothing is turned
            return q, k
        D = self.dimensions.head_dim
        waves = rotary.Spectrum(self.config.base, channels=D, kept=D // 2).frequencies(q.device)
        cos, sin = rotary.waves(positions[0].double()[:, None, :, None] * waves, q.dtype)
        return rotary.turned(q, cos, sin, "interleaved"), rotary.turned(k, cos, sin, "interleaved")

    def biases(self, positions: Tensor) -> list[Bias | None]:
        # Segments are known before the first layer, so one running sum serves all layers, where the
        # gates of other schemes differ from layer to layer.
        if self.config.inter != "alibi" or positions.ndim == 1:
            return [None] * self.dimensions.n_layers
        line = -slopes(self.dimensions.n_heads, device=positions.device).double()[:, None]
        sums = self.config.slope_factor * line * positions[0].double()[:, None]
        return [Gates(sums)] * self.dimensions.n_layers
