"""BiPE: two-level positions. An absolute place inside a segment at the input, a relative one between segments in attention.

Source: He et al., "Two stones hit one bird: bilevel positional encoding for better length extrapolation" (ICML 2024, arXiv 2401.16421),
section 3; zhenyuhe00/BiPE, get_bilevel_ids.
Formula: a segment ends with a separator, which belongs to it. s_i = number of separators before token i, p_i = i minus the first place
of its segment. Input: x_i = token_i + P[min(p_i, rows - 1)]. Attention, `inter`:
  rope   pair k of queries and keys is turned by s_i base^(-2k/D) (rope.py, positions s_i)
  alibi  score(i, j) = q_i . k_j / sqrt(D) - slope_factor m_h (s_i - s_j), m_h ALiBi's slopes (alibi.py)
so tokens of one segment are told apart by P alone. separators: token ids; the defaults are bytes, newline and full stop, what the
paper splits at. With another tokeniser they must be given: a text without one is a single segment.

P is learned, N(0, init_std^2), one table for the model; intra=sinusoidal is sinusoidal.py's code of p_i, for which no clamping is needed.
`rows` is the longest segment that has rows, null = train_length as in the official code; what lies past it reads the last row,
as there (named tail policy: clamp). slope_factor = 96 as there (between segments there are few steps).
The ALiBi term is a difference of running sums that the text decides, so it runs as gates do: s_i for every token, no matrix.
Deviation: the official code adds slope times the key's own s_j, positive and growing, equal after softmax in exact arithmetic only.
A dot inside a number or a shortened word ends a segment too; so it does in the official code.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from lengthgen import schemes
from lengthgen.attention.bias_forms import Bias, Gates
from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes import rotary
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


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
    """table: (rows, E) float32, if learned. What the hooks get as positions is (2, B, T): segment, place in it; or (T,): one segment."""

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
            structure="gates" if alibi else "none",
            sharing=("one table, enters once" if learned else "no parameters")
            + "; the same in every layer between segments",
            prefix_consistent=True,
            shift_invariant=False,
            trained_reach=f"place {self.dimensions.train_length - 1} of a segment, and as many segments as a training window holds",
            tail=f"{inside}; between segments {between}",
            oracles=("transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        if self.config.intra == "learned":
            self.table.normal_(0.0, self.config.init_std, generator=generator_for("table"))

    def read(self, tokens: Tensor) -> Tensor:
        """(2, B, T) int64: the segment of every token, and its place in it."""
        ends = (
            tokens[..., None] == torch.tensor(self.config.separators, device=tokens.device)
        ).any(-1)
        before = functional.pad(ends, (1, 0))[
            :, :-1
        ]  # the token before it ends a segment, so this one begins the next
        places = torch.arange(tokens.shape[1], device=tokens.device)
        starts = torch.where(before, places, 0).cummax(-1).values
        return torch.stack((before.long().cumsum(-1), places - starts))

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        inside = positions if positions.ndim == 1 else positions[1]
        if self.config.intra == "learned":
            return x + functional.embedding(inside.clamp(max=len(self.table) - 1), self.table).to(
                x.dtype
            )
        E = self.dimensions.width
        waves = rotary.Spectrum(self.config.base, channels=E, kept=E // 2).frequencies(x.device)
        angles = inside.double()[..., None] * waves
        return x * E**0.5 + torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2).to(
            x.dtype
        )

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        if self.config.inter != "rope" or positions.ndim == 1:  # one segment: nothing is turned
            return q, k
        D = self.dimensions.head_dim
        waves = rotary.Spectrum(self.config.base, channels=D, kept=D // 2).frequencies(q.device)
        cos, sin = rotary.waves(positions[0].double()[:, None, :, None] * waves, q.dtype)
        return rotary.turned(q, cos, sin, "interleaved"), rotary.turned(k, cos, sin, "interleaved")

    def biases(self, positions: Tensor) -> list[Bias | None]:
        """Segments are known before the first layer: one object for all layers, where other schemes' gates come layer by layer."""
        if self.config.inter != "alibi" or positions.ndim == 1:
            return [None] * self.dimensions.n_layers
        kind = schemes.load("alibi")
        line = kind(kind.Config(), self.dimensions).toeplitz(
            torch.ones(1, dtype=torch.int64, device=positions.device), 0
        )[:, 0]
        sums = self.config.slope_factor * line.double()[:, None] * positions[0].double()[:, None]
        return [Gates(sums)] * self.dimensions.n_layers
