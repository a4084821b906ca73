"""Schemes against their formulas, as plain loops in float64, and every tail policy against what its
name says.

Float32 values are compared to 1e-6. test_references.py holds the comparisons with other people's
implementations.

Shape letters: T positions, H heads, E width.
"""

import math

import pytest
import torch

from lengthgen.model import Attention, ModelConfig
from lengthgen.schemes.base import Scheme

from .oracle import compare
from .scheme_cases import bias_of, make

LONG = 8192
CPU = torch.device("cpu")


def code_of(scheme: Scheme, length: int):
    """What `embed` adds to token embeddings of 0, (T, E)."""
    return scheme.embed(
        torch.zeros(1, length, scheme.dimensions.width), scheme.positions(length, CPU)
    )[0].detach()


def test_learned_rows_past_the_training_length_are_a_function_of_seed_and_position():
    """No gradient reaches them and no window's length matters; `init_std` is theirs too."""
    scheme, other = make("learned", train_length=500), make("learned", train_length=500, seed=1)
    rows = code_of(scheme, 1700)
    assert torch.equal(rows[:500], scheme.table.detach())
    for length in (501, 1000, 1001):
        assert torch.equal(code_of(scheme, length), rows[:length])
    assert torch.equal(code_of(make("learned", train_length=500), 1700), rows)
    assert not torch.equal(code_of(other, 1700)[500:], rows[500:])
    assert rows[500:].std().item() == pytest.approx(0.02, rel=0.02)
    scheme.embed(torch.zeros(1, 1700, 32), scheme.positions(1700, CPU)).sum().backward()
    assert torch.equal(scheme.table.grad, torch.ones(500, 32))


def test_learned_tails():
    scheme = make("learned", train_length=8)
    table = scheme.table.detach()
    assert torch.equal(
        code_of(make("learned", train_length=8, tail="clamp"), 20), table[[*range(8), *[7] * 12]]
    )
    assert torch.equal(
        code_of(make("learned", train_length=8, tail="wrap"), 20), table[[i % 8 for i in range(20)]]
    )
    resample = make("learned", train_length=8, tail="resample")
    assert torch.equal(code_of(resample, 8), table) and torch.equal(code_of(resample, 5), table[:5])
    for length in (9, 15, 20):
        wanted = torch.nn.functional.interpolate(
            table.T[None], size=length, mode="linear", align_corners=True
        )[0].T
        assert torch.allclose(code_of(resample, length), wanted, atol=1e-6)
    assert torch.equal(
        code_of(resample, 15)[::2], table
    )  # 15 points of 8 rows: every second is a row


@pytest.mark.parametrize("tail", ["untrained", "clamp", "wrap", "resample"])
def test_learned_equals_its_loop(tail):
    scheme = make("learned", train_length=8, tail=tail)
    table = scheme.table.detach().double()
    if tail == "untrained":
        rows, drawn = range(8), table.tolist()
    elif tail == "resample":
        places = [i * 7 / 19 for i in range(20)]
        rows = range(20)
        drawn = [
            (table[int(x)] * (1 - x % 1) + table[min(int(x) + 1, 7)] * (x % 1)).tolist()
            for x in places
        ]
    else:
        rows = range(20)
        drawn = [table[min(i, 7) if tail == "clamp" else i % 8].tolist() for i in rows]
    compare(
        "learned",
        "float64 loop",
        f"embedding, 20 tokens of 8 rows, {tail}",
        code_of(scheme, 20)[: len(rows)],
        drawn,
        1e-7,
    )


@pytest.mark.parametrize("T", [100, LONG])
@pytest.mark.parametrize("turns", [None, 1.0])
def test_normalised_sinusoid_by_its_formula(turns, T):
    """sin(2 pi (i - 1) / (2 seq_len)) unless `turns` says otherwise."""
    options = {} if turns is None else {"turns": turns}
    period = 2 * T if turns is None else T / turns
    sine = torch.tensor(
        [math.sin(2 * math.pi * (i - 1) / period) for i in range(1, T + 1)], dtype=torch.float64
    )
    scalar = make("normalised_sinusoid", form="scalar", **options)
    along = make("normalised_sinusoid", **options)
    compare(
        "normalised_sinusoid",
        "float64 loop",
        "scalar, windows to 8192",
        code_of(scalar, T),
        sine[:, None].expand(T, 32),
        1e-6,
    )
    wanted = sine[:, None] * along.direction.detach().double()
    compare(
        "normalised_sinusoid",
        "float64 loop",
        "direction, windows to 8192",
        code_of(along, T),
        wanted,
        1e-7,
    )
    harmonics = code_of(make("normalised_sinusoid", form="harmonics", **options), T)
    for k in range(1, 17):
        angles = [2 * math.pi * k * i / period for i in range(T)]
        wanted = torch.tensor(
            [[f(a) for f in (math.sin, math.cos)] for a in angles], dtype=torch.float64
        )
        compare(
            "normalised_sinusoid",
            "float64 loop",
            "harmonics, windows to 8192",
            harmonics[:, 2 * k - 2 : 2 * k],
            wanted,
            1e-5,
        )


@pytest.mark.parametrize("form", ["vaswani", "tensor2tensor"])
def test_sinusoid_by_its_formula(form):
    places = [*range(130), 511, 2048, LONG - 1]
    ours = code_of(make("sinusoidal", form=form), LONG)[places]
    waves = [
        [i / 10000 ** (k / (16 if form == "vaswani" else 15)) for k in range(16)] for i in places
    ]
    if form == "vaswani":
        wanted = [[f(a) for a in row for f in (math.sin, math.cos)] for row in waves]
    else:
        wanted = [[f(a) for f in (math.sin, math.cos) for a in row] for row in waves]
    wanted = torch.tensor(wanted, dtype=torch.float64)
    compare("sinusoidal", "float64 loop", f"codes to 8191, {form}", ours, wanted, 1e-7)


@pytest.mark.parametrize("form", ["scalar", "direction", "harmonics"])
def test_normalised_sinusoid_dilates_with_the_window(form):
    """pe_rL(r (i - 1)) = pe_L(i - 1); all but the first position change."""
    for turns in (0.5, 1.0):
        scheme = make("normalised_sinusoid", form=form, turns=turns)
        short, long = code_of(scheme, 64), code_of(scheme, 256)
        assert torch.equal(long[::4], short)
        assert ((long[:64] - short).abs().amax(1) > 0).sum() == 63


@pytest.mark.parametrize(("turns", "twin_sum", "values"), [(0.5, 64 + 2, 33), (1.0, 32 + 2, 33)])
def test_normalised_sinusoid_gives_two_positions_one_code(turns, twin_sum, values):
    """i and T + 2 - i for half a turn, i and T/2 + 2 - i for a whole one, counted from 1; the
    harmonics of half a turn tell all positions apart, as do those of a whole turn.
    """
    codes = code_of(make("normalised_sinusoid", form="scalar", turns=turns), 64)[:, 0]
    assert len(codes.mul(1e6).round().unique()) == values
    for i in range(2, twin_sum - 1):
        assert codes[i - 1].item() == pytest.approx(codes[twin_sum - i - 1].item(), abs=1e-6)
    assert (codes.min() > -1e-6) == (turns == 0.5)
    harmonics = code_of(make("normalised_sinusoid", form="harmonics", turns=turns), 64)
    assert torch.pdist(harmonics).min() > 0.1


OFFSETS = [*range(130), 511, 2048, LONG - 1]


def looped(formula, H: int = 4):
    """formula(h, n), float64, at every head and offset: (H, O)."""
    return torch.tensor([[formula(h, n) for n in OFFSETS] for h in range(H)], dtype=torch.float64)


def test_alibi_equals_its_loop():
    """The slopes of twelve heads as the paper's authors say:
    those of 8, then every second one of 16.
    """
    m = [2**-k for k in range(1, 9)] + [2 ** (-k / 2) for k in (1, 3, 5, 7)]
    ours = bias_of(make("alibi", n_heads=12), OFFSETS)
    assert ours.dtype == torch.float32
    compare(
        "alibi",
        "float64 loop",
        "bias of 12 heads, offsets to 8191",
        ours,
        looped(lambda h, n: -m[h] * n, 12),
        1e-4,
    )


def test_kerple_log_equals_its_loop():
    scheme = make("kerple_log", n_heads=4, seed=1)
    r1, r2 = scheme.r1[0].tolist(), scheme.r2[0].tolist()
    wanted = looped(lambda h, n: -r1[h] * math.log(1 + r2[h] * n))
    compare(
        "kerple_log",
        "float64 loop",
        "bias, offsets to 8191",
        bias_of(scheme, OFFSETS),
        wanted,
        3e-6,
    )


def test_kerple_power_equals_its_loop():
    """Values reach millions: the ratio is compared."""
    scheme = make("kerple_power", n_heads=4, seed=1)
    r1, r2 = scheme.r1[0].tolist(), scheme.r2[0].tolist()
    wanted = looped(lambda h, n: -r1[h] * n ** r2[h])
    ours = bias_of(scheme, OFFSETS)
    assert not ours[:, 0].any() and not wanted[:, 0].any()
    ratio = ours[:, 1:].double() / wanted[:, 1:]
    compare(
        "kerple_power",
        "float64 loop",
        "bias, offsets to 8191, ratio",
        ratio,
        torch.ones(ratio.shape),
        2e-6,
    )


def test_sandwich_equals_its_loop():
    wanted = looped(
        lambda h, n: (
            (sum(math.cos(n / 10000 ** (2 * k / 128)) for k in range(64)) - 64) * 4 / (8 * (h + 1))
        )
    )
    compare(
        "sandwich",
        "float64 loop",
        "bias, offsets to 8191",
        bias_of(make("sandwich", n_heads=4), OFFSETS),
        wanted,
        2e-6,
    )


@pytest.mark.parametrize("scale_bias", [False, True])
def test_per_offset_equals_its_loop(scale_bias):
    scheme = make("per_offset", n_heads=4, seed=1, scale_bias=scale_bias)
    table, factor = scheme.table[0].tolist(), 16**0.5 if scale_bias else 1.0
    wanted = looped(lambda h, n: factor * table[h][min(n, 63)])
    compare(
        "per_offset", "float64 loop", "bias, offsets to 8191", bias_of(scheme, OFFSETS), wanted, 0
    )


def test_no_positions_is_causal_attention_and_nothing_else():
    """One attention module of the model against a double loop over tokens."""
    T, H, D = 20, 2, 8
    layer = Attention(ModelConfig(n_layers=1, n_heads=H, width=H * D), 0).double()
    x = torch.randn(1, T, H * D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        for seed, weight in enumerate((layer.qkv.weight, layer.out.weight)):
            weight.normal_(0.0, 0.4, generator=torch.Generator().manual_seed(seed))
        ours = layer(x, torch.arange(T), None, make("none", n_heads=H, head_dim=D))[0]
        q, k, v = (
            part.view(T, H, D).tolist() for part in (x[0] @ layer.qkv.weight.T).chunk(3, dim=1)
        )
    mixed = []
    for i in range(T):
        row = []
        for h in range(H):
            weights = [
                math.exp(sum(a * b for a, b in zip(q[i][h], k[j][h], strict=True)) / math.sqrt(D))
                for j in range(i + 1)
            ]
            row += [
                sum(w * v[j][h][d] for j, w in enumerate(weights)) / sum(weights) for d in range(D)
            ]
        mixed.append(row)
    wanted = torch.tensor(mixed, dtype=torch.float64) @ layer.out.weight.detach().T
    compare("none", "float64 loop", "output of an attention module, 20 tokens", ours, wanted, 1e-12)


def test_kerple_draws_and_bounds():
    """Start U(0, 2), U(0, 1) (log) and U(0, 1), U(0, 2) (power).

    Outside its bounds a value acts as the bound and still learns.
    """
    for name, highest in (("kerple_log", (2, 1)), ("kerple_power", (1, 2))):
        scheme = make(name, n_heads=500)
        for parameter, high in zip((scheme.r1, scheme.r2), highest, strict=True):
            assert 0 < parameter.min() < 0.05 * high < 0.95 * high < parameter.max() < high
        outside, bound = make(name, n_heads=1), make(name, n_heads=1)
        with torch.no_grad():
            (
                outside.r1.fill_(-0.5),
                outside.r2.fill_(-3.0),
                bound.r1.fill_(0.01),
                bound.r2.fill_(0.01),
            )
        offsets = torch.arange(50)
        assert torch.allclose(outside.toeplitz(offsets, 0), bound.toeplitz(offsets, 0))
        for scheme in (outside, bound):
            scheme.toeplitz(offsets, 0).sum().backward()
        assert torch.allclose(outside.r1.grad, bound.r1.grad) and torch.allclose(
            outside.r2.grad, bound.r2.grad
        )
        assert outside.r1.item() == -0.5  # the forward pass leaves the stored value alone
        assert outside.r1.grad.isfinite().all() and outside.r2.grad.isfinite().all()
    with torch.no_grad():
        scheme.r2.fill_(5.0)
    assert bias_of(scheme, [10]).item() == pytest.approx(-0.01 * 10**2)  # the power is at most 2


def test_kerple_power_of_one_is_alibi():
    scheme, alibi = make("kerple_power", n_heads=8), make("alibi", n_heads=8)
    offsets = torch.arange(LONG)
    with torch.no_grad():
        scheme.r2.fill_(1.0), scheme.r1.copy_(-bias_of(alibi, [1]).T.clamp(max=-0.01))
    strong = slice(0, 6)  # slopes above KERPLE's lower bound of 0.01
    assert torch.allclose(
        bias_of(scheme, offsets)[strong], bias_of(alibi, offsets)[strong], rtol=1e-6
    )


def test_fire_equals_its_formula_in_float64():
    scheme = make("fire", n_heads=3, train_length=64, seed=4)
    with torch.no_grad():
        scheme.c[1], scheme.multiplier[1] = 0.2, 1.1  # unlike layer 0's
    rows = scheme.rows(torch.arange(90), torch.arange(90), 1).detach()
    c, multiplier = scheme.c[1].item(), scheme.multiplier[1].item()
    w1, b1, w2, b2 = (getattr(scheme, name)[1].double() for name in ("w1", "b1", "w2", "b2"))
    for i in (0, 1, 17, 18, 19, 40, 89):
        for j in range(0, i + 1, 3):
            normaliser = math.log(c * max(i, multiplier * 0.25 * 64) + 1) + 1e-6
            share = math.log(c * (i - j) + 1) / normaliser
            assert 0 <= share <= 1
            wanted = w2 @ (w1 * share + b1).clamp(min=0) + b2
            compare(
                "fire", "float64 loop", "bias, rows to 89", rows[:, i, j], wanted.detach(), 1e-6
            )


def test_fire_at_8191_equals_its_formula():
    scheme = make("fire", n_heads=3, train_length=512, seed=4)
    rows = scheme.rows(torch.tensor([LONG - 1]), torch.arange(LONG), 0).detach()
    keys = [*range(0, LONG - 1, 500), LONG - 3, LONG - 2, LONG - 1]
    shares = torch.tensor(
        [math.log(0.1 * (LONG - 1 - j) + 1) / (math.log(0.1 * (LONG - 1) + 1) + 1e-6) for j in keys]
    ).double()
    w1, b1, w2, b2 = (
        getattr(scheme, name)[0].detach().double() for name in ("w1", "b1", "w2", "b2")
    )
    wanted = w2 @ (w1[:, None] * shares + b1[:, None]).clamp(min=0) + b2[:, None]
    compare("fire", "float64 loop", "bias of row 8191", rows[:, 0, keys], wanted, 2e-6)


def test_fire_starts_as_torch_linear_does_and_prints_its_threshold():
    scheme = make("fire", n_heads=64)
    assert scheme.c.tolist() == pytest.approx([0.1, 0.1]) and scheme.multiplier.tolist() == [1, 1]
    for parameter, linear in (
        (scheme.w1, torch.nn.Linear(1, 32)),
        (scheme.w2, torch.nn.Linear(32, 64)),
    ):
        bound = linear.in_features**-0.5
        assert 0.9 * bound < parameter.abs().max() <= bound and linear.weight.abs().max() <= bound
    assert (
        scheme.threshold == 16
        and "L0 starts at 16, later rows train" in scheme.declaration.trained_reach
    )
    assert (
        "interpolation is untrained" in make("fire", threshold_ratio=1.0).declaration.trained_reach
    )


def test_per_offset_tails():
    offsets = torch.arange(200)
    table = make("per_offset", n_heads=3).table[0].detach() * 16**0.5
    tails = {
        tail: bias_of(make("per_offset", n_heads=3, tail=tail), offsets)
        for tail in ("clamp", "refuse", "zero", "mean", "linear")
    }
    for tail, bias in tails.items():
        assert torch.equal(bias[:, :64], table), tail
    assert torch.equal(tails["clamp"][:, 64:], table[:, 63:].expand(3, 136))
    assert tails["refuse"][:, 64:].isnan().all()
    assert (tails["zero"][:, 64:] == 0).all()
    assert torch.allclose(tails["mean"][:, 64:], table[:, 48:].mean(1, keepdim=True).expand(3, 136))
    x = torch.stack((torch.ones(200), (1 + offsets).log()), dim=1).double()
    fit = torch.linalg.lstsq(x[32:64], table[:, 32:].T.double()).solution
    assert torch.allclose(tails["linear"][:, 64:].double(), (x[64:] @ fit).T, atol=1e-5)
    reach = make("per_offset", n_heads=3, reach=10)
    assert reach.table.shape == (1, 3, 10) and torch.equal(
        bias_of(reach, offsets), 16**0.5 * reach.table[0][:, offsets.clamp(max=9)]
    )
