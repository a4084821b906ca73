"""PaTH attention: every token between key and query reflects the key, by a matrix from the text.

Source: Yang et al., "PaTH attention" (NeurIPS 2025, arXiv 2505.16381);
fla-org/flash-linear-attention, fla/layers/path_attn.py and fla/ops/path_attn/naive.py.
Formula: score(i, j) = q_i^T H_i H_(i-1) ... H_(j+1) k_j / sqrt(D), H_t = I - beta_t w_t w_t^T, for
each layer and head; w_t = u_t / |u_t|, u = SiLU(causal depthwise convolution of W_up W_down x),
beta_t = 2 sigmoid(b . x_t + c), x attention's normalised input. beta in (0, 2) gives H_t an
eigenvalue in (-1, 1) along w_t, so products never grow. beta = 1 forgets a direction, near 2 it
reflects. forget_gate=true (path_fox) adds FoX's sum of ln sigmoid(w' . x_t + c'), t = j + 1 .. i.

Start as in the official model code: N(0, 0.02^2) for matrices, 0 for biases (beta = 1), torch's
default for the convolution. Official defaults: rank 32, a convolution over 3 tokens. Its kernels
add the gates before the division by sqrt(D) (gate_inside=true), so a gate weighs sqrt(D) times less
than in FoX; false adds them after it, as FoX does.

Computed exactly in blocks of 64 tokens by the UT transform: with L = I + strictly lower (beta_t w_t
. w_s), the product of a block's H_t is I - W^T L^-1 diag(beta) W, one triangular solve. Queries are
carried back and keys forward to the edges of their blocks, then queries from block to block: O(T^2
D) work, and no product of H_t, which may be singular, is inverted.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes.base import Declaration
from lengthgen.schemes.convolved import Convolved

BLOCK = 64  # tokens whose reflections are multiplied by one triangular solve


@dataclass
class Config:
    rank: int = 32  # size of the layer between the input and w
    kernel: int = 3  # tokens that the convolution sees
    forget_gate: bool = False  # also FoX's gate
    # that gate's sum is divided by sqrt(head size) with the score (official code); false: as in FoX
    gate_inside: bool = True
    init_std: float = 0.02  # standard deviation of the matrices at the start

    def __post_init__(self):
        limit(self, "scheme", "> 0", "rank", "kernel", "init_std")


class PaTH(Convolved):
    """beta_weight (N, H, E), beta_bias (N, H); with forget_gate gate_weight and gate_bias alike."""

    Config = Config
    structure = "general"

    def __init__(self, config, dimensions):
        N, H, E = dimensions.n_layers, dimensions.n_heads, dimensions.width
        super().__init__(config, dimensions, channels=H * dimensions.head_dim)
        self.beta_weight = nn.Parameter(torch.zeros(N, H, E))
        self.beta_bias = nn.Parameter(torch.zeros(N, H))
        if config.forget_gate:
            self.gate_weight = nn.Parameter(torch.zeros(N, H, E))
            self.gate_bias = nn.Parameter(torch.zeros(N, H))

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Yang et al., NeurIPS 2025, arXiv 2505.16381"
            + (", with FoX's gate" if self.config.forget_gate else ""),
            year=2025,
            acts_on="scores",
            sharing="projections per layer, a reflection per head and token",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"products of {self.dimensions.train_length - 1} reflections",
            tail="defined at any length: products go on"
            + (", gates go on adding up" if self.config.forget_gate else ""),
            oracles=("transformers", "float64 loop"),
        )

    def reflections(self, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """w (B, H, T, D) of length 1 and beta (B, H, T) in (0, 2), of x (B, T, E)."""
        u = F.silu(self.convolved(x, layer)).transpose(2, 3)
        w = u * (u.square().sum(-1, keepdim=True) + 1e-6).rsqrt()
        logits = F.linear(x, self.beta_weight[layer].to(x.dtype), self.beta_bias[layer].to(x.dtype))
        return w, (2 * logits.sigmoid()).transpose(1, 2)

    def logits(
        self, q: Tensor, k: Tensor, x: Tensor, positions: Tensor, layer: int, first: int
    ) -> Tensor:
        x = x[:, : k.shape[2]].to(q.dtype)
        scores = path_scores(q, k, *self.reflections(x, layer), first) * self.score_scale
        if not self.config.forget_gate:
            return scores
        gates = F.logsigmoid(
            F.linear(x, self.gate_weight[layer].to(x.dtype), self.gate_bias[layer].to(x.dtype))
        )
        # In float64: differences of long float32 sums would blur.
        total = gates.transpose(1, 2).double().cumsum(-1)
        between = (total[..., first:, None] - total[..., None, :]).to(q.dtype)
        return scores + between * (self.score_scale if self.config.gate_inside else 1.0)


def path_scores(
    q: Tensor, k: Tensor, w: Tensor, beta: Tensor, first: int, block: int = BLOCK
) -> Tensor:
    """q_i^T H_i ... H_(j+1) k_j (B, H, R, S), H_t = I - beta_t w_t w_t^T; not scaled.

    q (B, H, R, D) are queries first..first+R-1; k, w (B, H, S, D); beta (B, H, S). Entries where
    j > i are finite and mean nothing.
    """
    S, ahead, n_before = k.shape[2], first % block, first // block
    n_blocks = -(-S // block)
    missing = n_blocks * block - S
    k, w = (F.pad(part, (0, 0, 0, missing)).unflatten(2, (n_blocks, block)) for part in (k, w))
    beta = F.pad(beta, (0, missing)).unflatten(2, (n_blocks, block))
    q = F.pad(q, (0, 0, ahead, missing)).unflatten(2, (n_blocks - n_before, block))
    scaled = beta[..., None] * w
    lower = (scaled @ w.mT).tril(-1)  # L without its diagonal of ones, which the solver assumes
    # What token t takes from key j of its block, (..., t, j), and from any vector at its start.
    taken_keys = torch.linalg.solve_triangular(
        lower, (scaled @ k.mT).tril(-1), upper=False, unitriangular=True
    )
    taken = torch.linalg.solve_triangular(lower, scaled, upper=False, unitriangular=True)
    k_end = k - taken_keys.mT @ w
    through = w.mT @ taken  # a vector at a block's start loses this much of itself by its end
    met = (q @ w[:, :, n_before:].mT).tril()
    within = (q @ k[:, :, n_before:].mT).tril() - met @ taken_keys[:, :, n_before:]
    q = q - met @ taken[:, :, n_before:]
    rows = [[part] for part in within.unbind(2)]
    # Then all pairs of a query block and the key block that is `back` blocks before it.
    for back in range(1, n_blocks):
        lead = max(n_before, back)
        q = q[:, :, q.shape[2] - (n_blocks - lead) :]
        keys = slice(lead - back, n_blocks - back)
        parts = (q @ k_end[:, :, keys].mT).unbind(2)
        for row, part in zip(rows[lead - n_before :], parts, strict=True):
            row.insert(0, part)
        q = q - q @ through[:, :, keys]
    later = [(n_blocks - n_before - 1 - a) * block for a in range(len(rows))]
    rows_padded = [F.pad(torch.cat(row, -1), (0, n)) for row, n in zip(rows, later, strict=True)]
    whole = torch.cat(rows_padded, dim=2)
    return whole[:, :, ahead : S - n_before * block, :S]
