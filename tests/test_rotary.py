"""The rotation that the rotary schemes share, what they become at the ends of their options, and
how far they reach.

Shape letters: B batch, T positions, H heads, D head size, P pairs.
"""

import dataclasses
import math

import pytest
import torch

from lengthgen.attention import dispatch
from lengthgen.errors import ConfigError
from lengthgen.schemes import rotary

from .scheme_cases import make

CPU = torch.device("cpu")
ROTARY = ["rope", "rope_partial", "p_rope", "hope_period", "fope", "xpos"]


def queries_and_keys(T: int = 80, D: int = 16, dtype=torch.float32):
    return torch.randn(2, 1, 2, T, D, generator=torch.Generator().manual_seed(3)).to(dtype)


def rotated(name: str, T: int = 80, D: int = 16, dtype=torch.float32, positions=None, **options):
    """(2, 1, H, T, D'): queries and keys as a scheme leaves them."""
    q, k = queries_and_keys(T, D, dtype)
    with torch.no_grad():
        return torch.stack(
            make(name, head_dim=D, **options).rotate(
                q, k, torch.arange(T) if positions is None else positions, 0
            )
        )


# Frequencies and pairs ----------------------------------------------------------------------------


def test_frequencies():
    spectrum = rotary.Spectrum(10000.0, channels=8, kept=3)
    assert spectrum.frequencies(CPU).tolist() == pytest.approx([1, 0.1, 0.01, 0], abs=1e-15)
    assert spectrum.frequencies(CPU).dtype == torch.float64
    whole = dataclasses.replace(spectrum, kept=4)
    slower = whole.frequencies(CPU) / whole.slowed(5.0).frequencies(CPU)
    assert slower.tolist() == pytest.approx(
        [1, 5 ** (1 / 3), 5 ** (2 / 3), 5]
    )  # the last pair exactly


def test_base_of_ntk_as_published():
    assert rotary.Spectrum(10000.0, 64, 32).slowed(2.0).base == pytest.approx(20452, abs=1)
    assert rotary.Spectrum(10000.0, 64, 32).slowed(4.0).base == pytest.approx(41829, abs=1)


@pytest.mark.parametrize(("D", "unfinished"), [(64, (16, 14)), (32, (8, 7)), (128, (33, 28))])
def test_pairs_that_never_complete_a_turn(D, unfinished):
    """At 512 and 1024 tokens and base 10,000."""
    assert tuple(D // 2 - rotary.within(10000.0, D, length) for length in (512, 1024)) == unfinished


def test_layouts_are_one_rotation_of_permuted_channels():
    x, order = queries_and_keys(dtype=torch.float64)[0], [*range(0, 16, 2), *range(1, 16, 2)]
    cos, sin = rotary.waves(
        rotary.angles(torch.arange(80), rotary.Spectrum(100.0, 16, 8).frequencies(CPU)), x.dtype
    )
    pairs, halves = (
        rotary.turned(x, cos, sin, "interleaved"),
        rotary.turned(x[..., order], cos, sin, "half_split"),
    )
    assert torch.allclose(pairs[..., order], halves, atol=1e-14)
    assert not torch.allclose(pairs, rotary.turned(x, cos, sin, "half_split"), atol=0.1)
    assert torch.allclose(pairs.square().sum(-1), x.square().sum(-1))
    assert torch.allclose(rotary.turned(pairs, cos, -sin, "interleaved"), x, atol=1e-14)


@pytest.mark.parametrize("layout", rotary.LAYOUTS)
def test_pairs_of_frequency_zero_are_left_alone_to_the_bit(layout):
    x = queries_and_keys()[0]
    cos, sin = rotary.waves(
        rotary.angles(torch.arange(80), torch.zeros(8, dtype=torch.float64)), x.dtype
    )
    assert torch.equal(rotary.turned(x, cos, sin, layout), x)


@pytest.mark.parametrize("D", [2, 16, 64])
def test_rope_is_to_the_bit_what_runs_were_trained_with(D):
    """The expression of the first release, once more: a trained model must not change."""
    positions, (q, k) = torch.arange(80), queries_and_keys(D=D)
    angles = positions.double()[:, None] * 10000.0 ** (
        -2 * torch.arange(D // 2, dtype=torch.float64) / D
    )
    turn = torch.complex(angles.cos().float(), angles.sin().float())
    for mine, x in zip(rotated("rope", D=D), (q, k), strict=True):
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
        assert torch.equal(mine, torch.view_as_real(pairs * turn).flatten(-2))


# The ends of the options --------------------------------------------------------------------------


@pytest.mark.parametrize("layout", rotary.LAYOUTS)
def test_equivalences(layout):
    rope, still = rotated("rope", layout=layout), queries_and_keys()
    assert torch.equal(rotated("p_rope", p=1.0, layout=layout), rope)
    assert torch.equal(rotated("p_rope", p=0.0, layout=layout), still)
    assert torch.equal(rotated("rope_partial", fraction=1.0, layout=layout), rope)
    hope = rotated("hope_period", layout=layout)
    assert torch.equal(rotated("p_rope", p=rotary.within(10000.0, 16, 64) / 8, layout=layout), hope)
    assert torch.equal(rotated("fope", gain=0.0, layout=layout), hope)
    assert torch.equal(rotated("hope_period", train_length=10**6, layout=layout), rope)
    assert torch.allclose(rotated("xpos", scale_base=1e9, layout=layout), rope, atol=1e-5)


def test_partial_rotation_turns_a_slice_and_leaves_the_rest():
    for layout in rotary.LAYOUTS:
        mine = rotated("rope_partial", D=32, fraction=0.25, layout=layout)
        q, k = queries_and_keys(D=32)
        small = make("rope", head_dim=8, layout=layout).rotate(
            q[..., :8], k[..., :8], torch.arange(80), 0
        )
        assert torch.allclose(mine[..., :8], torch.stack(small), atol=1e-6)
        assert torch.equal(mine[..., 8:], torch.stack((q, k))[..., 8:])


def test_released_fope_doubles_the_share_of_pairs_without_position():
    q, k = queries_and_keys()
    paper, released = (
        rotated("fope", gain=0.0, form=form, layout="half_split") for form in ("paper", "released")
    )
    M = rotary.within(10000.0, 16, 64)
    assert M == 3
    content = [slice(M, 8), slice(8 + M, 16)]
    for channels in content:
        assert torch.equal(paper[0][..., channels], q[..., channels])
    share = sum((released[0][..., 5, c] * released[1][..., 9, c]).sum() for c in content)
    assert float(share) == pytest.approx(
        2 * float(sum((q[..., 5, c] * k[..., 9, c]).sum() for c in content)), rel=1e-5
    )


def test_fope_draws_other_coefficients_for_each_layer_and_wave_of_the_declared_size():
    scheme = make("fope", head_dim=256, n_heads=8, train_length=512, base=1.5)
    N, H, F, M = scheme.cosine.shape
    assert (N, H, F, M) == (2, 8, 128, 128)
    noise = scheme.cosine - torch.eye(F)
    assert noise.std().item() == pytest.approx(0.3 * (2 / (F * F + H * F)) ** 0.5, rel=0.01)
    assert not scheme.cosine.requires_grad and make("fope", learnable=True).sine.requires_grad
    assert not torch.equal(scheme.cosine[0], scheme.cosine[1])


def test_pope_moves_its_peak_by_the_shift_and_never_by_content():
    """One frequency, so that the score is a single cosine of the offset:
    its peak stands where the shift says, whatever q and k are.
    """
    q, k = queries_and_keys(T=60, D=2)
    scheme = make("pope", head_dim=2, base=1.0000001)
    with torch.no_grad():
        scheme.shift.fill_(-2.0)
        q, k = scheme.rotate(
            q[:, :, :1].expand_as(q), k[:, :, :1].expand_as(k), torch.arange(60), 0
        )
    row = (q @ k.transpose(-1, -2))[0, 0, 59]
    offsets = 59 - torch.arange(60)
    assert torch.allclose(row / row.abs().max(), torch.cos(-offsets - 2.0), atol=0.02)


def test_pope_shifts_past_the_edge_have_no_gradient_unless_the_clamp_is_off():
    for clamp, moving in ((True, False), (False, True)):
        scheme = make("pope", clamp=clamp)
        with torch.no_grad():
            scheme.shift.fill_(0.1)
        q, k = scheme.rotate(*queries_and_keys(), torch.arange(80), 0)
        (q @ k.transpose(-1, -2)).square().sum().backward()
        assert bool((scheme.shift.grad[0] != 0).any()) is moving


# Far positions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ROTARY, "pope"])
def test_prefixes_are_the_same_up_to_8192(name):
    """To the last bits, in which vector units treat the end of an array another way."""
    whole = rotated(name, T=8192, train_length=1024)
    assert whole.isfinite().all()
    q, k = queries_and_keys(8192)
    with torch.no_grad():
        for n in (1, 512, 1024, 4097):
            part = make(name, head_dim=16, train_length=1024).rotate(
                q[:, :, :n], k[:, :, :n], torch.arange(n), 0
            )
            assert torch.allclose(torch.stack(part), whole[..., :n, :], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [*ROTARY, "pope"])
def test_bfloat16_queries_are_turned_by_exact_angles(name):
    """What is left of an error is the rounding of the result: 2^-8 of each value."""
    positions = torch.linspace(0, 8191, 80).long()
    coarse = rotated(name, dtype=torch.bfloat16, positions=positions)
    q, k = queries_and_keys(dtype=torch.bfloat16).double()
    with torch.no_grad():
        exact = torch.stack(make(name, head_dim=16).rotate(q, k, positions, 0))
    assert coarse.dtype == torch.bfloat16
    assert (
        (coarse - exact).abs()
        <= 2**-8 * exact.abs() + 1e-6 * exact.abs().amax((2, 3, 4), keepdim=True)
    ).all()


def test_xpos_is_finite_as_far_as_it_says_and_refuses_what_is_farther():
    scheme = make("xpos", head_dim=16, train_length=1024)
    assert scheme.longest == 28328
    assert scheme.refusal(scheme.longest) is None
    with pytest.raises(
        ConfigError, match="stays within float32 up to 28328 tokens, and the window has 28329"
    ):
        scheme.positions(28329, CPU)
    q, k = queries_and_keys(2)
    q, k = scheme.rotate(q, k, torch.tensor([0, scheme.longest - 1]), 0)
    scores = q @ k.transpose(-1, -2)  # those of masked later keys are the largest
    assert scores.isfinite().all() and scores.abs().max() > 1e25


def test_xpos_fades_at_the_papers_rate():
    """Equal vectors: the first pair alone keeps (0.4 / 1.4)^(offset / 512) of its size, the last
    nearly all.
    """
    scheme = make("xpos", head_dim=16, train_length=512)
    factors = scheme.factors(torch.tensor([512, 0]))
    assert float(factors[0, 0] / factors[1, 0]) == pytest.approx(0.4 / 1.4)
    assert float(factors[0, 7] / factors[1, 7]) == pytest.approx((14 / 16 + 0.4) / 1.4)
    assert (scheme.factors(torch.tensor([256])) == 1).all()  # the middle of a training window


# Queries and keys wider than values ---------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["cpu", "sdpa", "reference"])
def test_attention_takes_wide_queries_and_keys(kernel):
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, 2, 70, 32, generator=generator).requires_grad_() for _ in range(2))
    v = torch.randn(2, 2, 70, 16, generator=generator).requires_grad_()
    future = torch.ones(70, 70, dtype=torch.bool).triu(1)
    exact = (q @ k.transpose(-1, -2) / math.sqrt(16)).masked_fill(future, float("-inf")).softmax(
        -1
    ) @ v
    mine = dispatch.attend(q, k, v, None, 1 / math.sqrt(16), force=kernel)
    assert mine.shape == v.shape and torch.allclose(mine, exact, atol=1e-5)
    weight = torch.randn(v.shape, generator=generator)
    for a, b in zip(
        *(
            torch.autograd.grad((x * weight).sum(), (q, k, v), retain_graph=True)
            for x in (mine, exact)
        ),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("name", [*ROTARY, "pope"])
def test_rotation_is_exact_under_autocast(name):
    """`rotate` is called inside attention, where autocast may be on:
    float32 queries come back as they would without it.
    """
    q, k = queries_and_keys()
    scheme = make(name, head_dim=16)
    with torch.no_grad():
        plain = scheme.rotate(q, k, torch.arange(80), 0)
        with torch.autocast("cpu", torch.bfloat16):
            assert all(
                torch.equal(*pair)
                for pair in zip(plain, scheme.rotate(q, k, torch.arange(80), 0), strict=True)
            )


def test_a_compiler_makes_cosines_once_for_each_angle():
    """It sees one operator, and no cosine that it would fuse into what turns q and k: there it
    would be made for each of their elements, forward and backward."""
    graphs = []

    def turned(q):
        positions = torch.arange(q.shape[2])
        frequencies = 1e4 ** (-torch.arange(8, dtype=torch.float64) / 8)
        waves = rotary.waves(rotary.angles(positions, frequencies), q.dtype)
        return rotary.turned(q, *waves, "interleaved")

    def keep(graph, _):
        graphs.append(graph)
        return graph.forward

    q = torch.randn(2, 3, 20, 16, requires_grad=True)
    try:
        out = torch.compile(turned, fullgraph=True, backend=keep)(q)
    finally:
        torch._dynamo.reset()
    assert torch.allclose(out, turned(q), atol=1e-6)
    [graph] = graphs
    called = [str(node.target) for node in graph.graph.nodes]
    assert any("lengthgen.waves" in name for name in called)
    assert not {"cos", "sin"} & set(called)
