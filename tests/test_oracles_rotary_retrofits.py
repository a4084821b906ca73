"""Rotary retrofits against transformers, x-transformers and loops in float64 written from the
papers' formulas.

transformers' functions of a "rope type" give frequencies and a factor for cosines and sines, so for
scores its square. Theirs are float32: frequencies are compared by their ratio, to 1e-6.

Shape letters: B batch, T positions, H heads, D head size, P pairs.
"""

import math

import pytest
import torch

from lengthgen import retrofits

from .oracle import compare
from .scheme_cases import make
from .test_oracles_rotary import by_llama, few, loop, queries_and_keys, rotation, scores

CPU = torch.device("cpu")
SIZES = [(32, 512), (64, 512), (64, 1024), (64, 4096)]


def around(
    retrofit: str,
    D: int = 64,
    train_length: int = 512,
    scheme: str = "rope",
    layout: str = "half_split",
    **options,
):
    """A retrofit with these options around an initialised two-head scheme."""
    kind = retrofits.load(retrofit)
    inner = make(scheme, head_dim=D, train_length=train_length, layout=layout)
    assert kind.refuses(inner) is None
    return kind(kind.Config(**options), inner)


def hugging_face(kind: str, D: int, train_length: int, seq_len: int | None = None, **options):
    """transformers' (P,) frequencies and factor of scores."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    given = {
        "rope_type": kind,
        "rope_theta": 10000.0,
        "original_max_position_embeddings": train_length,
        **options,
    }
    if kind in ("linear", "dynamic"):
        del given["original_max_position_embeddings"]
    config = LlamaConfig(
        hidden_size=2 * D,
        num_attention_heads=2,
        head_dim=D,
        max_position_embeddings=train_length,
        rope_parameters=given,
    )
    frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config, CPU, seq_len)
    return frequencies, factor**2


def ratio(retrofit, theirs, length: int):
    return retrofit.frequencies(length, CPU) / theirs.double()


def scores_of(retrofit, q, k, positions):
    return scores(*retrofit.rotate(q, k, positions, 0))


@pytest.mark.parametrize(("D", "train_length"), SIZES)
def test_frequencies_equal_those_of_transformers(D, train_length):
    ones, size = torch.ones(D // 2), {"D": D, "train_length": train_length}
    for s in (1.0, 2.0, 4.0, 16.0):
        length = int(s * train_length)
        for given in ({"factor": s}, {"factor": None}):
            theirs, _ = hugging_face("linear", D, train_length, factor=s)
            mine = ratio(around("position_interpolation", **size, **given), theirs, length)
            compare(
                "position_interpolation", "transformers", "frequencies, ratio", mine, ones, 1e-6
            )
            theirs, _ = hugging_face(
                "llama3", D, train_length, factor=s, low_freq_factor=1.0, high_freq_factor=4.0
            )
            compare(
                "llama3",
                "transformers",
                "frequencies, ratio",
                ratio(around("llama3", **size, **given), theirs, length),
                ones,
                1e-6,
            )
            theirs, hotter = hugging_face("yarn", D, train_length, factor=s)
            mine = around("yarn", **size, **given)
            compare(
                "yarn",
                "transformers",
                "frequencies, ratio",
                ratio(mine, theirs, length),
                ones,
                1e-6,
            )
            compare("yarn", "transformers", "temperature", mine.temperature(length), hotter, 1e-12)
        for alpha in (1.0, 2.0, 8.0):
            theirs, _ = hugging_face("dynamic", D, train_length, seq_len=length, factor=alpha)
            mine = ratio(around("dynamic_ntk", **size, alpha=alpha), theirs, length)
            compare("dynamic_ntk", "transformers", "frequencies, ratio", mine, ones, 1e-6)


def test_temperature_of_yarn_is_the_papers():
    """1.143 at twice the length and 1.631 at sixteen times:
    the factor of cosines and sines, so its square is that of the scores.
    """
    for s, factor in ((2, 1.143), (4, 1.2965), (16, 1.631)):
        assert around("yarn", factor=float(s)).temperature(99) == pytest.approx(factor, abs=1e-3)


def test_scores_equal_those_of_transformers():
    """Whole score matrices, the temperature included, to position 8191."""
    positions, q, k = queries_and_keys()
    theirs, hotter = hugging_face("yarn", 64, 512, factor=4.0)
    mine = scores_of(around("yarn", factor=4.0), q, k, positions)
    compare(
        "yarn",
        "transformers",
        "scores to 8191",
        mine,
        by_llama(q, k, positions, theirs) * hotter,
        1e-3,
    )
    factors = torch.linspace(1, 5, 32).tolist()
    theirs, hotter = hugging_face(
        "longrope", 64, 512, seq_len=513, factor=4.0, short_factor=[1.0] * 32, long_factor=factors
    )
    retrofit = around("longrope", factor=4.0, factors=factors)
    compare(
        "longrope",
        "transformers",
        "frequencies, ratio",
        ratio(retrofit, theirs, 2048),
        torch.ones(32),
        1e-6,
    )
    mine = scores_of(retrofit, q, k, positions)
    compare(
        "longrope",
        "transformers",
        "scores to 8191",
        mine,
        by_llama(q, k, positions, theirs) * hotter,
        1e-3,
    )
    theirs, _ = hugging_face(
        "proportional", 64, 512, partial_rotary_factor=0.5
    )  # 16 of 32 pairs complete a turn in 512 tokens
    mine = scores_of(around("rope_zero_slow"), q, k, positions)
    compare(
        "rope_zero_slow",
        "transformers",
        "scores to 8191",
        mine,
        by_llama(q, k, positions, theirs),
        1e-3,
    )


def test_scores_equal_those_of_x_transformers():
    from x_transformers.x_transformers import RotaryEmbedding
    from x_transformers.x_transformers import apply_rotary_pos_emb as x_rotate

    positions, q, k = queries_and_keys()

    def theirs(**options):
        frequencies, _ = RotaryEmbedding(64, **options)(positions)
        return scores(*(x_rotate(x, frequencies) for x in (q, k)))

    mine = scores_of(
        around("position_interpolation", layout="interleaved", factor=4.0), q, k, positions
    )
    compare(
        "position_interpolation",
        "x-transformers",
        "scores to 8191",
        mine,
        theirs(interpolation_factor=4.0),
        1e-3,
    )
    mine = scores_of(around("ntk", layout="interleaved", alpha=4.0), q, k, positions)
    compare("ntk", "x-transformers", "scores to 8191", mine, theirs(base_rescale_factor=4.0), 1e-3)
    mine = scores_of(around("ntk", layout="interleaved", base=80000.0), q, k, positions)
    compare("ntk", "x-transformers", "scores to 8191", mine, theirs(base=80000.0), 1e-3)


# Loops in float64 ---------------------------------------------------------------------------------


def ramp_by_rotations(k, s, D, L):
    f = 10000 ** (-2 * k / D)
    r = L / (2 * math.pi / f)
    g = 0 if r < 1 else 1 if r > 32 else (r - 1) / 31
    return (1 - g) * f / s + g * f


def ramp_by_index(k, s, D, L):
    f, low, high = 10000 ** (-2 * k / D), 0, 0
    while L * 10000 ** (-2 * (low + 1) / D) / (2 * math.pi) >= 32:  # the last pair of 32 turns
        low += 1
    while L * 10000 ** (-2 * high / D) / (2 * math.pi) > 1:  # the first pair of at most one turn
        high += 1
    g = 1 if k <= low else 0 if k >= high else 1 - (k - low) / (high - low)
    return (1 - g) * f / s + g * f


def smooth(k, s, D, L):
    f = 10000 ** (-2 * k / D)
    wavelength = 2 * math.pi / f
    t = (L / wavelength - 1) / (4 - 1)
    return f / s if wavelength > L else f if wavelength < L / 4 else (1 - t) * f / s + t * f


@pytest.mark.parametrize(("D", "L"), SIZES[:3])
def test_scores_equal_loops(D, L):
    positions, q, k = queries_and_keys(D)
    q, k, positions = few(q, k, positions, 8)
    size = {"D": D, "train_length": L, "layout": "interleaved"}

    def exact(frequency, temperature=1.0):
        return (
            loop(q, k, positions.tolist(), rotation([frequency(p) for p in range(D // 2)]))
            * temperature
        )

    def mine(name, **options):
        return scores_of(around(name, **size, **options), q, k, positions)

    what, s = "scores to 8191", 4.0
    hot = (0.1 * math.log(s) + 1) ** 2
    found = mine("position_interpolation", factor=s)
    compare(
        "position_interpolation",
        "float64 loop",
        what,
        found,
        exact(lambda k: 10000 ** (-2 * k / D) / s),
        1e-5,
    )
    found = mine("ntk", alpha=s)
    compare(
        "ntk",
        "float64 loop",
        what,
        found,
        exact(lambda k: (10000 * s ** (D / (D - 2))) ** (-2 * k / D)),
        1e-5,
    )
    found = mine(
        "dynamic_ntk", alpha=2.0
    )  # of a window of as many tokens as there are positions: no change
    compare(
        "dynamic_ntk", "float64 loop", what, found, exact(lambda k: 10000 ** (-2 * k / D)), 1e-5
    )
    found = mine("yarn", factor=s)
    compare(
        "yarn", "float64 loop", what, found, exact(lambda k: ramp_by_index(k, s, D, L), hot), 1e-5
    )
    found = mine("yarn", factor=s, ramp="rotations", temperature=False)
    compare(
        "yarn",
        "float64 loop",
        what + ", ramp in rotations",
        found,
        exact(lambda k: ramp_by_rotations(k, s, D, L)),
        1e-5,
    )
    found = mine("llama3", factor=s)
    compare("llama3", "float64 loop", what, found, exact(lambda k: smooth(k, s, D, L)), 1e-5)
    factors = [1 + 0.2 * p for p in range(D // 2)]
    found = mine("longrope", factor=s, factors=factors)
    compare(
        "longrope",
        "float64 loop",
        what,
        found,
        exact(lambda k: 10000 ** (-2 * k / D) / factors[k], 1 + math.log(s) / math.log(L)),
        1e-5,
    )
    slow = {k for k in range(D // 2) if 2 * math.pi * 10000 ** (2 * k / D) > L}
    found = mine("rope_zero_slow")
    compare(
        "rope_zero_slow",
        "float64 loop",
        what,
        found,
        exact(lambda k: 0.0 if k in slow else 10000 ** (-2 * k / D)),
        1e-5,
    )


def test_dynamic_ntk_of_a_whole_window_equals_a_loop():
    T, D, L, alpha = 40, 16, 10, 2.0
    q, k = torch.randn(2, 1, 2, T, D, generator=torch.Generator().manual_seed(1))
    base = 10000 * (alpha * T / L - (alpha - 1)) ** (D / (D - 2))
    exact = loop(q, k, range(T), rotation([base ** (-2 * p / D) for p in range(D // 2)]))
    found = scores_of(
        around("dynamic_ntk", D, L, layout="interleaved", alpha=alpha), q, k, torch.arange(T)
    )
    compare("dynamic_ntk", "float64 loop", "scores of a window of 4 L", found, exact, 1e-5)


# Offsets that are read as others ------------------------------------------------------------------


def rectified(n, w, a):
    return n if n < w else w + (n - w) * a


def grouped(i, j, G, W):
    return i - j if i - j < W else i // G - j // G + W - W // G


CASES = [
    ("rerope", {"window": 10}, lambda i, j: rectified(i - j, 10, 0.0)),
    (
        "rerope",
        {"window": 10, "interval": 0.0625, "log_n": False},
        lambda i, j: rectified(i - j, 10, 1 / 16),
    ),
    ("self_extend", {"window": 8, "group": 4}, lambda i, j: grouped(i, j, 4, 8)),
    ("self_extend", {"window": 10, "group": 4}, lambda i, j: grouped(i, j, 4, 10)),
]


@pytest.mark.parametrize(("name", "options", "offset"), CASES)
def test_regrouped_scores(name, options, offset):
    """The oracle turns the keys of one row at a time back by the offset at which they are read,
    with Llama's functions.
    """
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    T, D, L = 48, 16, 24
    q, k = torch.randn(2, 1, 2, T, D, generator=torch.Generator().manual_seed(1))
    config = LlamaConfig(
        hidden_size=32,
        num_attention_heads=2,
        head_dim=D,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )
    llama, mine = LlamaRotaryEmbedding(config), {}
    for layout in ("half_split", "interleaved"):
        retrofit = around(name, D, L, layout=layout, **options)
        assert all(
            torch.equal(*pair)
            for pair in zip((q, k), retrofit.rotate(q, k, torch.arange(T), 0), strict=True)
        )
        mine[layout] = retrofit.logits(q, k, None, torch.arange(T), 0, 0).tril()
    hot = [
        max(1, math.log(i + 1) / math.log(L))
        if name == "rerope" and options.get("log_n", True)
        else 1.0
        for i in range(T)
    ]
    theirs = torch.zeros(1, 2, T, T)
    for i in range(T):
        cos, sin = llama(q, torch.tensor([[offset(i, j) for j in range(i + 1)]]))
        _, turned = apply_rotary_pos_emb(q[:, :, : i + 1], k[:, :, : i + 1], cos, -sin)
        theirs[:, :, i, : i + 1] = (q[:, :, i, None] * turned).sum(-1) / D**0.5 * hot[i]

    def score_of(h, x, y, i, j):
        n = offset(i, j) if j <= i else 0
        angles = (n * 10000 ** (-2 * p / D) for p in range(D // 2))
        return hot[i] * sum(
            (a * b.conjugate() * complex(math.cos(t), math.sin(t))).real
            for a, b, t in zip(x, y, angles, strict=True)
        )

    exact = loop(q, k, range(T), score_of).tril()
    if name == "rerope":
        compare(
            "rerope", "transformers", "scores of a window of 2 L", mine["half_split"], theirs, 1e-5
        )
        compare(
            "rerope", "float64 loop", "scores of a window of 2 L", mine["interleaved"], exact, 1e-5
        )
    else:
        compare(
            "self_extend",
            "transformers",
            "scores of a window of 2 L",
            mine["half_split"],
            theirs,
            1e-5,
        )
        compare(
            "self_extend",
            "float64 loop",
            "scores of a window of 2 L",
            mine["interleaved"],
            exact,
            1e-5,
        )
