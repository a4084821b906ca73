"""Attention as a scheme's hooks say it, and as a plain double loop says it: what modifiers and
retrofits are compared on.

Shape letters: B batch, T positions, H heads, D head size, E width.
"""

import cmath
import math

import torch

from lengthgen.schemes.base import Scheme

from .test_schemes import SMALL, between, dense, make, seen

# One scheme of each structure, and of each place where positions enter.
SCHEMES = (
    "none",
    "learned",
    "rope",
    "xpos",
    "alibi",
    "t5_bias",
    "per_offset",
    "fire",
    "fox",
    "cope",
)


def bare(name: str, **options) -> Scheme:
    """A small trained-looking scheme: zero tables would hide what is done to them.

    T5's buckets tell far offsets apart, past the training length too.
    """
    buckets = {"num_buckets": 32, "max_distance": 128} if name == "t5_bias" else {}
    return make(name, buckets | options, stir=0.3)


def tensors(length: int, seed: int = 0):
    """Queries, keys, values (1, H, T, D) and the attention's input (1, T, E), float64."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(
        3, 1, SMALL.n_heads, length, SMALL.head_dim, generator=generator, dtype=torch.float64
    )
    return q, k, v, torch.randn(1, length, SMALL.width, generator=generator, dtype=torch.float64)


def through_hooks(scheme: Scheme, length: int, layer: int = 0, seed: int = 0):
    """Attention output (H, T, D) of one layer of `scheme` on `tensors`."""
    q, k, v, x = tensors(length, seed)
    positions = scheme.positions(length, torch.device("cpu"))
    q, k = scheme.steer(*scheme.rotate(q, k, positions, layer), x, layer)
    hidden = ~seen(scheme.span(layer), length)
    if scheme.general(layer):
        scores = scheme.logits(q, k, x, positions, layer, 0).masked_fill(hidden, float("-inf"))
        return scheme.mix(scores, v, layer, 0)[0]
    scores = (
        q @ k.transpose(-1, -2) * scheme.score_scale
        + dense(scheme.biases(positions)[layer], length)
        + between(scheme, x, layer)
    )
    return (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v)[0]


def by_loop(length: int, score, sees=lambda i, j: True, seed: int = 0):
    """The same (H, T, D) of score(q_i, k_j, head, i, j), a float, by a double loop over the keys j
    <= i for which sees(i, j).
    """
    q, k, v, _ = (x[0].tolist() for x in tensors(length, seed))
    out = torch.zeros(SMALL.n_heads, length, SMALL.head_dim, dtype=torch.float64)
    for head in range(SMALL.n_heads):
        for i in range(length):
            keys = [j for j in range(i + 1) if sees(i, j)]
            scores = [score(q[head][i], k[head][j], head, i, j) for j in keys]
            weights = [math.exp(s - max(scores)) for s in scores]
            for d in range(SMALL.head_dim):
                out[head, i, d] = sum(
                    weight * v[head][j][d] for j, weight in zip(keys, weights, strict=True)
                ) / sum(weights)
    return out


def dot(q: list[float], k: list[float]) -> float:
    """q . k / sqrt(D)."""
    return sum(a * b for a, b in zip(q, k, strict=True)) / SMALL.head_dim**0.5


def turned(x: list[float], position: float, base: float = 10000.0) -> list[float]:
    """x (D) rotated as RoPE does at `position`, interleaved pairs."""
    out = []
    for pair in range(len(x) // 2):
        turn = complex(x[2 * pair], x[2 * pair + 1]) * cmath.exp(
            1j * position * base ** (-2 * pair / len(x))
        )
        out += [turn.real, turn.imag]
    return out
