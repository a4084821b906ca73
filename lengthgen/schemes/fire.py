"""FIRE: functional interpolation for relative position encoding. A network reads offset / position.

Source: Li et al., "Functional interpolation for relative positions improves long context
Transformers" (ICLR 2024, arXiv 2310.04418), section 3, and the listing of its appendix.
Formula: score(i, j) = q_i . k_j / sqrt(D) + f(psi(i - j) / (psi(max(i, L0)) + eps))_h, psi(x) =
ln(|c x| + 1), i from 0; f = Linear(1, hidden) -> ReLU -> Linear(hidden, H); L0 = |multiplier
threshold_ratio train_length|. c, multiplier and f are learned, start at 0.1, 1 and torch's default,
and belong to one layer each (per_layer=false: FIRE-S, one for all). The normaliser is the query's
position, never the window's length, so prefixes are consistent. f's output bias shifts a whole row,
so the softmax cancels it; kept because the listing has it.
No factor on the bias, as in the listing: hidden units, weights and c multiply, so the bias moves by
more than a learning rate a step, unlike a table's.

The threshold is a trap: with L0 >= train_length the normaliser is constant in training and
interpolation is never learned, the likely reason for FIRE's collapse in some comparisons.
Deviation: L0 scales with train_length; threshold_ratio = 0.25 is the paper's 512 of 2048.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lengthgen.config.dataclass_from import check, limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme

# Hidden units x pairs of positions held at a time without gradients: 4 MiB, 256 MiB.
HIDDEN_AT_ONCE = {"cpu": 2**20, "cuda": 2**26}


@dataclass
class Config:
    hidden: int = 32  # hidden units of the network
    c: float = 0.1  # first value of the learned c in psi(x) = ln(|c x| + 1)
    # first value of L0 / train_length; 1 or more leaves interpolation untrained
    threshold_ratio: float = 0.25
    eps: float = 1e-6  # added to the normaliser
    per_layer: bool = True  # a network for each layer; false = one for all (FIRE-S)

    def __post_init__(self):
        limit(self, "scheme", "> 0", "hidden", "threshold_ratio", "eps")
        check(self.c != 0, f"scheme.c={self.c}: expected a number other than 0")


class FIRE(Scheme):
    """c, multiplier: (N,); w1, b1: (N, hidden); w2: (N, H, hidden); b2: (N, H); float32.

    N = n_layers or 1.
    """

    Config = Config
    structure = "rows"

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        N = dimensions.n_layers if config.per_layer else 1
        H, hidden = dimensions.n_heads, config.hidden
        self.c = nn.Parameter(torch.full((N,), config.c))
        self.multiplier = nn.Parameter(torch.ones(N))
        self.w1 = nn.Parameter(torch.zeros(N, hidden))
        self.b1 = nn.Parameter(torch.zeros(N, hidden))
        self.w2 = nn.Parameter(torch.zeros(N, H, hidden))
        self.b2 = nn.Parameter(torch.zeros(N, H))

    @property
    def threshold(self) -> float:
        """L0 in tokens before `multiplier` learns."""
        return self.config.threshold_ratio * self.dimensions.train_length

    @property
    def declaration(self) -> Declaration:
        last = self.dimensions.train_length - 1
        trained = (
            "later rows train interpolation"
            if self.threshold < last
            else "NO training row lies past it: interpolation is untrained"
        )
        return Declaration(
            paper="Li et al., ICLR 2024, arXiv 2310.04418, section 3",
            year=2024,
            acts_on="scores",
            sharing=(
                "a network per layer" if self.config.per_layer else "one network for all layers"
            )
            + ", an output per head",
            prefix_consistent=True,
            shift_invariant=False,
            trained_reach=f"position {last}; L0 starts at {self.threshold:g}, {trained}",
            tail="defined at any length: offsets are shares of the position, in 0..1",
            oracles=("torch.nn.Linear", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.c.fill_(self.config.c)
        self.multiplier.fill_(1.0)
        hidden = self.config.hidden
        for name, fan_in in (("w1", 1), ("b1", 1), ("w2", hidden), ("b2", hidden)):
            bound = fan_in**-0.5  # what torch.nn.Linear draws from, weights and biases alike
            getattr(self, name).uniform_(-bound, bound, generator=generator_for(name))

    def rows(self, q_positions: Tensor, k_positions: Tensor, layer: int) -> Tensor:
        # Called inside attention, where autocast may be on: bfloat16 would merge neighbouring
        # offsets.
        with torch.autocast(q_positions.device.type, enabled=False):
            n = layer if self.config.per_layer else 0
            wide = torch.promote_types(self.c.dtype, torch.float32)
            i, j = q_positions.to(wide), k_positions.to(wide)
            reach = torch.maximum(i, (self.multiplier[n] * self.threshold).abs())
            share = self._psi(i[:, None] - j, n) / (self._psi(reach, n) + self.config.eps)[:, None]
            if torch.is_grad_enabled():  # autograd keeps every hidden unit anyway
                return self._network(share, n)
            at_once = HIDDEN_AT_ONCE.get(share.device.type, 2**20)
            rows = max(1, at_once // (self.config.hidden * share.shape[1]))
            return torch.cat([self._network(part, n) for part in share.split(rows)], dim=1)

    def _network(self, share: Tensor, n: int) -> Tensor:
        """f of shares (T, S) -> (H, T, S)."""
        # Units first, pairs last: two matrix products, four times faster than units last.
        hidden = torch.addmm(self.b1[n][:, None], self.w1[n][:, None], share.reshape(1, -1)).relu_()
        return torch.addmm(self.b2[n][:, None], self.w2[n], hidden).view(-1, *share.shape)

    def _psi(self, x: Tensor, n: int) -> Tensor:
        return torch.log1p((self.c[n] * x).abs())
