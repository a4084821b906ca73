"""Rotary schemes against transformers, x-transformers, rotary-embedding-torch and loops in float64
written from the papers' formulas.

Scores are compared, not vectors: layouts differ. The libraries' angles are float32, so at position
8191 they are off by up to 5e-4 rad, and scores by 1e-3; the loops are exact.

Shape letters: B batch, T positions, H heads, D head size, P pairs.
"""

import math

import pytest
import torch

from .oracle import compare
from .scheme_cases import make

LAST = 8191
LAYOUTS = ["interleaved", "half_split"]


def queries_and_keys(D: int = 64, count: int = 64):
    """Positions spread up to 8191, the first ones dense, and q, k (1, 2, T, D) float32 at them."""
    positions = torch.cat(
        (torch.arange(count // 2), torch.linspace(count, LAST, count - count // 2).long())
    )
    return positions, *torch.randn(2, 1, 2, count, D, generator=torch.Generator().manual_seed(3))


def scores(q, k):
    return q.double() @ k.double().transpose(-1, -2) / q.shape[-1] ** 0.5


def ours(name: str, q, k, positions, **options):
    """Scores of an initialised two-head scheme, and the scheme."""
    scheme = make(name, head_dim=q.shape[-1], **options)
    with torch.no_grad():
        q_turned, k_turned = scheme.rotate(q, k, positions, 1)
    return q_turned.double() @ k_turned.double().transpose(-1, -2) * scheme.score_scale, scheme


def loop(q, k, positions, score_of, layout: str = "interleaved"):
    """(1, H, T, T) float64 by score_of(h, x, y, i, j), x and y the lists of complex pairs of the
    query at i and the key at j.
    """
    pairs = q.shape[-1] // 2
    first, second = (
        (slice(0, None, 2), slice(1, None, 2))
        if layout == "interleaved"
        else (slice(0, pairs), slice(pairs, None))
    )
    q, k = (
        torch.complex(x[0, ..., first].double(), x[0, ..., second].double()).tolist()
        for x in (q, k)
    )
    found = [
        [
            [score_of(h, x, y, i, j) for y, j in zip(k[h], positions, strict=True)]
            for x, i in zip(q[h], positions, strict=True)
        ]
        for h in range(len(q))
    ]
    return torch.tensor([found], dtype=torch.float64) / (2 * pairs) ** 0.5


def rotation(frequencies):
    """score_of for plain rotations:
    the real part of q conj(k) e^{i (i - j) f}, added over pairs.
    """

    def score_of(h, x, y, i, j):
        turns = zip(x, y, frequencies, strict=True)
        return sum(
            (a * b.conjugate() * complex(math.cos((i - j) * f), math.sin((i - j) * f))).real
            for a, b, f in turns
        )

    return score_of


def few(q, k, positions, count: int = 12):
    """Some of the positions, the last ones among them."""
    rows = torch.linspace(0, len(positions) - 1, count).long()
    return q[:, :, rows], k[:, :, rows], positions[rows]


def by_llama(q, k, positions, frequencies):
    """Scores with Hugging Face's half-split rotation at given frequencies."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    angles = positions[:, None].float() * torch.cat((frequencies, frequencies))
    return scores(*apply_rotary_pos_emb(q, k, angles.cos()[None], angles.sin()[None]))


# RoPE ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [10000.0, 500000.0])
def test_rope(base):
    from rotary_embedding_torch import RotaryEmbedding as Lucid
    from rotary_embedding_torch import apply_rotary_emb
    from transformers import LlamaConfig
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as gptj
    from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
    from x_transformers.x_transformers import RotaryEmbedding
    from x_transformers.x_transformers import apply_rotary_pos_emb as x_rotate

    positions, q, k = queries_and_keys()
    pairs, halves = (
        ours("rope", q, k, positions, base=base, layout=layout)[0] for layout in LAYOUTS
    )
    config = LlamaConfig(
        hidden_size=128,
        num_attention_heads=2,
        head_dim=64,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    cos, sin = LlamaRotaryEmbedding(config)(q, positions[None])
    compare(
        "rope",
        "transformers",
        "scores of Llama to 8191",
        halves,
        scores(*apply_rotary_pos_emb(q, k, cos, sin)),
        1e-3,
    )
    assert (pairs - halves).abs().max() > 1  # the trap: another layout is another model
    if base == 10000.0:
        sin, cos = create_sinusoidal_positions(LAST + 1, 64)[positions][None].chunk(2, dim=-1)
        theirs = (
            gptj(x.transpose(1, 2), sin, cos).transpose(1, 2) for x in (q, k)
        )  # GPT-J has heads after positions
        compare("rope", "transformers", "scores of GPT-J to 8191", pairs, scores(*theirs), 1e-3)
    frequencies, _ = RotaryEmbedding(64, base=base)(positions)
    compare(
        "rope",
        "x-transformers",
        "scores to 8191",
        pairs,
        scores(*(x_rotate(x, frequencies) for x in (q, k))),
        1e-3,
    )
    frequencies = Lucid(64, theta=base)(positions.float())
    theirs = scores(*(apply_rotary_emb(frequencies.detach(), x) for x in (q, k)))
    compare("rope", "rotary-embedding-torch", "scores to 8191", pairs, theirs, 1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rope_against_a_loop(layout):
    q, k, positions = few(*queries_and_keys()[1:], queries_and_keys()[0])
    for base in (10000.0, 500000.0):
        exact = loop(
            q, k, positions.tolist(), rotation([base ** (-k / 32) for k in range(32)]), layout
        )
        compare(
            "rope",
            "float64 loop",
            "scores to 8191",
            ours("rope", q, k, positions, base=base, layout=layout)[0],
            exact,
            1e-5,
        )


# Parts of RoPE ------------------------------------------------------------------------------------


def test_rope_partial():
    from transformers import GPTNeoXConfig
    from transformers.models.gpt_neox.modeling_gpt_neox import (
        GPTNeoXRotaryEmbedding,
        apply_rotary_pos_emb,
    )
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as gptj
    from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
    from x_transformers.x_transformers import RotaryEmbedding
    from x_transformers.x_transformers import apply_rotary_pos_emb as x_rotate

    positions, q, k = queries_and_keys()
    pairs, halves = (ours("rope_partial", q, k, positions, layout=layout)[0] for layout in LAYOUTS)
    neox = GPTNeoXRotaryEmbedding(
        GPTNeoXConfig(hidden_size=128, num_attention_heads=2, rotary_pct=0.25)
    )
    assert len(neox.inv_freq) == 8
    theirs = scores(*apply_rotary_pos_emb(q, k, *neox(q, positions[None])))
    compare("rope_partial", "transformers", "scores of GPT-NeoX to 8191", halves, theirs, 1e-3)
    sin, cos = create_sinusoidal_positions(LAST + 1, 16)[positions][None].chunk(2, dim=-1)
    turned = (
        torch.cat((gptj(x[..., :16].transpose(1, 2), sin, cos).transpose(1, 2), x[..., 16:]), -1)
        for x in (q, k)
    )
    compare("rope_partial", "transformers", "scores of GPT-J to 8191", pairs, scores(*turned), 1e-3)
    frequencies, _ = RotaryEmbedding(16)(positions)
    compare(
        "rope_partial",
        "x-transformers",
        "scores to 8191",
        pairs,
        scores(*(x_rotate(x, frequencies) for x in (q, k))),
        1e-3,
    )


@pytest.mark.parametrize(("fraction", "channels"), [(0.25, 16), (0.5, 32), (0.3, 18), (1.0, 64)])
def test_rope_partial_against_a_loop(fraction, channels):
    q, k, positions = few(*queries_and_keys()[1:], queries_and_keys()[0])
    frequencies = [10000 ** (-2 * k / channels) for k in range(channels // 2)] + [0.0] * (
        32 - channels // 2
    )
    exact = loop(q, k, positions.tolist(), rotation(frequencies))
    compare(
        "rope_partial",
        "float64 loop",
        "scores to 8191",
        ours("rope_partial", q, k, positions, fraction=fraction)[0],
        exact,
        1e-5,
    )


def proportional(D: int, share: float):
    """Frequencies of transformers' proportional RoPE."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    given = {"rope_type": "proportional", "rope_theta": 10000.0, "partial_rotary_factor": share}
    config = LlamaConfig(
        hidden_size=2 * D, num_attention_heads=2, head_dim=D, rope_parameters=given
    )
    return ROPE_INIT_FUNCTIONS["proportional"](config, torch.device("cpu"))[0]


@pytest.mark.parametrize(("p", "kept"), [(0.0, 0), (0.25, 8), (0.7, 22), (0.75, 24), (1.0, 32)])
def test_p_rope(p, kept):
    positions, q, k = queries_and_keys()
    theirs = proportional(64, p)
    assert int((theirs > 0).sum()) == kept
    halves, _ = ours("p_rope", q, k, positions, p=p, layout="half_split")
    compare(
        "p_rope", "transformers", "scores to 8191", halves, by_llama(q, k, positions, theirs), 1e-3
    )
    q, k, positions = few(q, k, positions)
    frequencies = [10000 ** (-k / 32) if k < kept else 0.0 for k in range(32)]
    exact = loop(q, k, positions.tolist(), rotation(frequencies))
    compare(
        "p_rope",
        "float64 loop",
        "scores to 8191",
        ours("p_rope", q, k, positions, p=p)[0],
        exact,
        1e-5,
    )


@pytest.mark.parametrize(
    ("D", "train_length", "kept"),
    [(64, 512, 16), (64, 1024, 18), (32, 512, 8), (32, 1024, 9), (128, 512, 31)],
)
def test_hope_period(D, train_length, kept):
    """The numbers of pairs that complete a turn:
    16 of 32 at 512 tokens, as in the literature's tables.
    """
    positions, q, k = queries_and_keys(D, 24)
    halves, scheme = ours(
        "hope_period", q, k, positions, train_length=train_length, layout="half_split"
    )
    assert scheme.spectrum.kept == kept
    theirs = by_llama(q, k, positions, proportional(D, 2 * kept / D))
    compare("hope_period", "transformers", "scores to 8191", halves, theirs, 1e-3)
    frequencies = [
        f if 2 * math.pi / f <= train_length else 0.0
        for f in (10000 ** (-2 * k / D) for k in range(D // 2))
    ]
    q, k, positions = few(q, k, positions, 8)
    pairs, _ = ours("hope_period", q, k, positions, train_length=train_length)
    compare(
        "hope_period",
        "float64 loop",
        "scores to 8191",
        pairs,
        loop(q, k, positions.tolist(), rotation(frequencies)),
        1e-5,
    )


# xPos ---------------------------------------------------------------------------------------------


def test_xpos():
    from rotary_embedding_torch import RotaryEmbedding as Lucid
    from x_transformers.x_transformers import RotaryEmbedding
    from x_transformers.x_transformers import apply_rotary_pos_emb as x_rotate

    T = 1024  # of a whole window: both libraries centre on its middle
    positions, (q, k) = (
        torch.arange(T),
        torch.randn(2, 1, 2, T, 64, generator=torch.Generator().manual_seed(5)),
    )
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    mine = ours("xpos", q, k, positions)[0].masked_fill(future, 0)
    frequencies, scale = RotaryEmbedding(64, use_xpos=True)(positions)
    theirs = scores(x_rotate(q, frequencies, scale), x_rotate(k, frequencies, scale**-1))
    compare(
        "xpos", "x-transformers", "scores at 1024 tokens", mine, theirs.masked_fill(future, 0), 5e-4
    )
    with torch.no_grad():
        theirs = scores(*Lucid(64, use_xpos=True).rotate_queries_and_keys(q, k))
    compare(
        "xpos",
        "rotary-embedding-torch",
        "scores at 1024 tokens",
        mine,
        theirs.masked_fill(future, 0),
        5e-4,
    )


@pytest.mark.parametrize(("train_length", "scale_base"), [(64, 512.0), (1024, 512.0), (512, 100.0)])
def test_xpos_against_a_loop(train_length, scale_base):
    q, k, positions = few(*queries_and_keys(32)[1:], queries_and_keys(32)[0])
    positions = (
        positions * int(min(1, scale_base / 512) * LAST) // LAST
    )  # 8191, or where factors leave float32

    def score_of(h, x, y, i, j):
        decay = [((2 * c / 32 + 0.4) / 1.4) ** ((i - j) / scale_base) for c in range(16)]
        turns = [(i - j) * 10000 ** (-c / 16) for c in range(16)]
        return sum(
            (a * b.conjugate() * z * complex(math.cos(t), math.sin(t))).real
            for a, b, z, t in zip(x, y, decay, turns, strict=True)
        )

    past = positions[:, None] >= positions
    mine, _ = ours("xpos", q, k, positions, train_length=train_length, scale_base=scale_base)
    exact = loop(q, k, positions.tolist(), score_of)
    compare("xpos", "float64 loop", "scores to 8191", mine * past, exact * past, 1e-5)


# FoPE ---------------------------------------------------------------------------------------------


def test_fope_without_noise_is_p_rope_of_the_periods():
    positions, q, k = queries_and_keys(64)
    halves, _ = ours("fope", q, k, positions, train_length=512, gain=0.0, layout="half_split")
    compare(
        "fope",
        "transformers",
        "scores to 8191 with gain 0",
        halves,
        by_llama(q, k, positions, proportional(64, 0.5)),
        1e-3,
    )


@pytest.mark.parametrize(
    ("form", "train_length", "F", "M"),
    [("paper", 1024, 9, 9), ("released", 1024, 9, 8), ("released", 512, 8, 8)],
)
def test_fope_against_a_loop(form, train_length, F, M):
    """Pairs as complex numbers, times (sum of cosines) + i (sum of sines).

    The rest times 1, or 1 + i as released.
    """
    q, k, positions = few(*queries_and_keys(32)[1:], queries_and_keys(32)[0])
    mine, scheme = ours(
        "fope", q, k, positions, train_length=train_length, form=form, layout="half_split"
    )
    assert scheme.cosine.shape == scheme.sine.shape == (2, 2, F, M)
    cosine, sine = scheme.cosine[1].tolist(), scheme.sine[1].tolist()

    def wave(h, m, i):
        if m >= M:
            return complex(1, 1 if form == "released" else 0)
        real = sum(cosine[h][f][m] * math.cos(i * 10000 ** (-f / 16)) for f in range(F))
        return complex(
            real, sum(sine[h][f][m] * math.sin(i * 10000 ** (-f / 16)) for f in range(F))
        )

    def score_of(h, x, y, i, j):
        return sum(
            (a * wave(h, m, i) * (b * wave(h, m, j)).conjugate()).real
            for m, (a, b) in enumerate(zip(x, y, strict=True))
        )

    compare(
        "fope",
        "float64 loop",
        "scores to 8191",
        mine,
        loop(q, k, positions.tolist(), score_of, "half_split"),
        1e-5,
    )


# PoPE ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["zero", "uniform"])
def test_pope(init):
    from x_transformers.x_transformers import PolarEmbedding, apply_polar_pos_emb

    positions, q, k = queries_and_keys(32)
    scheme = make("pope", head_dim=32, init=init)
    with torch.no_grad():
        scheme.shift -= 0.5  # some of them past -2 pi, where both clamp
        mine = scheme.rotate(q, k, positions, 1)
    assert mine[0].shape[-1] == 64
    theirs = PolarEmbedding(32, 2)
    with torch.no_grad():
        theirs.learned_bias.copy_(scheme.shift[1][:, None])
        frequencies, bias = theirs(positions)
        wide = apply_polar_pos_emb(q, frequencies), apply_polar_pos_emb(k, frequencies + bias)
    found = mine[0].double() @ mine[1].double().transpose(-1, -2) * scheme.score_scale
    compare(
        "pope",
        "x-transformers",
        "scores to 8191",
        found,
        wide[0].double() @ wide[1].double().transpose(-1, -2) / 32**0.5,
        1e-3,
    )
    shift = scheme.shift[1].clamp(-2 * math.pi, 0).tolist()
    q, k, rows = few(q, k, positions)
    exact = torch.zeros(1, 2, 12, 12, dtype=torch.float64)
    for h in range(2):
        for a, i in enumerate(rows.tolist()):
            for b, j in enumerate(rows.tolist()):
                sizes = (
                    math.log1p(math.exp(x)) * math.log1p(math.exp(y))
                    for x, y in zip(q[0, h, a].tolist(), k[0, h, b].tolist(), strict=True)
                )
                exact[0, h, a, b] = (
                    sum(
                        s * math.cos((j - i) * 10000 ** (-c / 32) + shift[h][c])
                        for c, s in enumerate(sizes)
                    )
                    / 32**0.5
                )
    with torch.no_grad():
        q, k = scheme.rotate(q, k, rows, 1)
    compare(
        "pope",
        "float64 loop",
        "scores to 8191",
        q.double() @ k.double().transpose(-1, -2) * scheme.score_scale,
        exact,
        2e-5,
    )
