"""PaTH attention: between a key and a query every token in between turns the key, by a Householder-like matrix read from the text.

Source: Yang, Shen, Wen, Tan, Mishra, Ren, Panda, Kim, "PaTH attention: position encoding via accumulating Householder transformations"
(NeurIPS 2025, arXiv 2505.16381); fla-org/flash-linear-attention, fla/layers/path_attn.py and fla/ops/path_attn/naive.py.
Formula: score(i, j) = q_i^T H_i H_(i-1) ... H_(j+1) k_j / sqrt(D), H_t = I - beta_t w_t w_t^T, for each layer and head;
w_t = u_t / |u_t|, u = SiLU(causal depthwise convolution of W_up W_down x), beta_t = 2 sigmoid(b . x_t + c), x the attention's normalised
input. beta in (0, 2): eigenvalues of H_t along w_t in (-1, 1), so products never grow. beta = 1 forgets a direction, near 2 it reflects.
forget_gate=true (named variant path_fox) adds FoX's sum of ln sigmoid(w' . x_t + c') over t = j + 1 .. i.

Start as in the official model code: N(0, 0.02^2) for matrices, 0 for biases (beta = 1), torch's default for the convolution.
Official defaults: rank 32, a convolution over 3 tokens. Its kernels add the gate's sum before the division by sqrt(D), so a gate
weighs sqrt(D) times less than in FoX; gate_inside=true, the default, is that; false adds it outside, as in FoX.

Computed exactly in blocks of 64 tokens, by the UT transform: with L = I + strictly lower (beta_t w_t . w_s), a product of a block's H_t is
I - W^T L^-1 diag(beta) W, one triangular solve. Queries are carried back and keys forward to the edges of their blocks, then queries on
from block to block: O(T^2 D) work and no product of matrices is ever inverted (H_t may be singular).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lengthgen.config.dataclass_from import limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme

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


class PaTH(Scheme):
    """down (N, rank, E), up (N, H D, rank), conv (N, H D, kernel), beta_weight (N, H, E), beta_bias (N, H); with a gate two more alike."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        N, H, E, size = (
            dimensions.n_layers,
            dimensions.n_heads,
            dimensions.width,
            dimensions.n_heads * dimensions.head_dim,
        )
        self.down, self.up = (
            nn.Parameter(torch.zeros(N, config.rank, E)),
            nn.Parameter(torch.zeros(N, size, config.rank)),
        )
        self.conv = nn.Parameter(torch.zeros(N, size, config.kernel))
        self.beta_weight, self.beta_bias = (
            nn.Parameter(torch.zeros(N, H, E)),
            nn.Parameter(torch.zeros(N, H)),
        )
        if config.forget_gate:
            self.gate_weight, self.gate_bias = (
                nn.Parameter(torch.zeros(N, H, E)),
                nn.Parameter(torch.zeros(N, H)),
            )

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Yang et al., NeurIPS 2025, arXiv 2505.16381"
            + (", with FoX's gate" if self.config.forget_gate else ""),
            year=2025,
            acts_on="scores",
            structure="general",
            sharing="projections per layer, a reflection per head and token",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"products of {self.dimensions.train_length - 1} reflections",
            tail="defined at any length: products go on"
            + (", gates go on adding up" if self.config.forget_gate else ""),
            oracles=("transformers", "float64 loop"),
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif name == "conv":
                bound = self.config.kernel**-0.5  # what torch.nn.Conv1d draws from
                parameter.uniform_(-bound, bound, generator=generator_for(name))
            else:
                parameter.normal_(0.0, self.config.init_std, generator=generator_for(name))

    def reflections(self, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """w (B, H, T, D) of length 1 and beta (B, H, T) in (0, 2), of x (B, T, E)."""
        low = F.linear(
            F.linear(x, self.down[layer].to(x.dtype)), self.up[layer].to(x.dtype)
        ).transpose(1, 2)
        conv = self.conv[layer].to(x.dtype)
        u = F.silu(
            F.conv1d(F.pad(low, (self.config.kernel - 1, 0)), conv[:, None], groups=len(conv))
        )
        u = u.unflatten(1, (self.dimensions.n_heads, -1)).transpose(2, 3)
        w = u * (u.square().sum(-1, keepdim=True) + 1e-6).rsqrt()
        beta = (
            2
            * F.linear(
                x, self.beta_weight[layer].to(x.dtype), self.beta_bias[layer].to(x.dtype)
            ).sigmoid()
        )
        return w, beta.transpose(1, 2)

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
        total = gates.transpose(1, 2).double().cumsum(-1)
        between = (total[..., first:, None] - total[..., None, :]).to(q.dtype)
        return scores + between * (self.score_scale if self.config.gate_inside else 1.0)


def path_scores(
    q: Tensor, k: Tensor, w: Tensor, beta: Tensor, first: int, block: int = BLOCK
) -> Tensor:
    """q_i^T H_i ... H_(j+1) k_j, (B, H, R, S), of queries first..first+R-1, (B, H, R, D), and keys (B, H, S, D); 0 or rubbish where j > i.

    w (B, H, S, D), beta (B, H, S): H_t = I - beta_t w_t w_t^T. Not scaled. Rubbish is finite.
    """
    S, ahead, n_before = k.shape[2], first % block, first // block
    n_blocks = -(-S // block)
    missing = n_blocks * block - S
    k, w = (F.pad(part, (0, 0, 0, missing)).unflatten(2, (n_blocks, block)) for part in (k, w))
    beta = F.pad(beta, (0, missing)).unflatten(2, (n_blocks, block))
    q = F.pad(q, (0, 0, ahead, missing)).unflatten(2, (n_blocks - n_before, block))
    scaled = beta[..., None] * w
    lower = (scaled @ w.mT).tril(-1)  # the solver takes the ones of the diagonal for granted
    # (..., t, j)
    taken_keys = torch.linalg.solve_triangular(
        lower, (scaled @ k.mT).tril(-1), upper=False, unitriangular=True
    )
    # of any vector at the block's start
    taken = torch.linalg.solve_triangular(lower, scaled, upper=False, unitriangular=True)
    k_end = k - taken_keys.mT @ w
    through = w.mT @ taken  # a vector at a block's start loses this much of itself by its end
    met = (q @ w[:, :, n_before:].mT).tril()
    within = (q @ k[:, :, n_before:].mT).tril() - met @ taken_keys[:, :, n_before:]
    q = q - met @ taken[:, :, n_before:]
    rows = [[part] for part in within.unbind(2)]
    for back in range(
        1, n_blocks
    ):  # the blocks of keys that lie so many blocks before those of the queries
        lead = max(n_before, back)
        q = q[:, :, q.shape[2] - (n_blocks - lead) :]
        keys = slice(lead - back, n_blocks - back)
        for row, part in zip(
            rows[lead - n_before :], (q @ k_end[:, :, keys].mT).unbind(2), strict=True
        ):
            row.insert(0, part)
        q = q - q @ through[:, :, keys]
    whole = torch.cat(
        [
            F.pad(torch.cat(row, dim=-1), (0, (n_blocks - n_before - 1 - a) * block))
            for a, row in enumerate(rows)
        ],
        dim=2,
    )
    return whole[:, :, ahead : S - n_before * block, :S]
