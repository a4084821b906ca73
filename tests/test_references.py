"""Schemes against independent implementations (transformers, x-transformers) and exact arithmetic.

Integers are compared exactly, float32 values to 1e-6, scores to 1e-4, up to position 8192. Where an
implementation is known to differ from the paper, the difference itself is asserted: an upstream
change would then show. Every agreement goes through `compare`, which notes it for the table of
oracles (oracle.py).

Shape letters: B batch, T positions, H heads, D head size, E width, O offsets.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from lengthgen.schemes.base import Scheme

from .oracle import compare
from .scheme_cases import bias_of, make

LONG = 8192
CPU = torch.device("cpu")
BUCKETS = [(32, 128), (32, 256), (32, 512), (32, 1024), (64, 1024), (16, 64)]
HEADS = [1, 2, 4, 6, 8, 12, 16, 20]


# T5 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_buckets", "max_distance"), BUCKETS)
def test_t5_buckets_equal_both_libraries_at_65536_offsets(num_buckets, max_distance):
    from transformers.models.t5.modeling_t5 import T5Attention
    from x_transformers.x_transformers import RelativePositionBias

    from lengthgen.schemes.t5_bias import bucket

    offsets, options = (
        torch.arange(65536),
        {"num_buckets": num_buckets, "max_distance": max_distance},
    )
    ours = bucket(offsets, num_buckets, max_distance)
    assert ours.dtype == torch.int64
    theirs = T5Attention._relative_position_bucket(-offsets, bidirectional=False, **options)
    compare("t5_bias", "transformers", "buckets of offsets to 65,535, six shapes", ours, theirs, 0)
    theirs = RelativePositionBias._relative_position_bucket(-offsets, causal=True, **options)
    compare(
        "t5_bias", "x-transformers", "buckets of offsets to 65,535, six shapes", ours, theirs, 0
    )


@pytest.mark.parametrize(("num_buckets", "max_distance"), BUCKETS)
def test_t5_buckets_equal_exact_integer_arithmetic(num_buckets, max_distance):
    """floor(m ln(n/m) / ln(M/m)) >= r  <=>  (n/m)^m >= (M/m)^r, in whole numbers."""
    from lengthgen.schemes.t5_bias import bucket

    m = num_buckets // 2
    ours = bucket(torch.arange(2 * max_distance), num_buckets, max_distance)
    edges = [Fraction(max_distance, m) ** r for r in range(num_buckets - m)]
    exact = [
        n if n < m else m - 1 + sum(Fraction(n, m) ** m >= edge for edge in edges)
        for n in range(len(ours))
    ]
    compare(
        "t5_bias",
        "whole numbers",
        "buckets of offsets below 2 max_distance, six shapes",
        ours,
        exact,
        0,
    )


def test_t5_bucket_edges():
    from lengthgen.schemes.t5_bias import bucket

    ours = bucket(torch.arange(1000), 32, 128)
    starts = [int((ours < b).sum()) for b in range(16, 32)]
    assert starts == [
        16,
        19,
        21,
        24,
        27,
        31,
        35,
        40,
        46,
        52,
        59,
        67,
        77,
        87,
        99,
        113,
    ]  # the last one: 113, not 128
    wide = {"num_buckets": 32}
    starts = [
        make("t5_bias", max_distance=far, **wide).last_bucket_start for far in (128, 512, 1024)
    ]
    assert starts == [113, 413, 790]
    assert make("t5_bias", train_length=512).last_bucket_start == 113  # by default, at T5's length
    share = sum(512 - n for n in range(113, 512)) / sum(512 - n for n in range(512))
    assert share == pytest.approx(
        0.608, abs=5e-4
    )  # of all pairs of a 512-token window, as the module says


def test_t5_bias_equals_a_decoder_layer_of_transformers():
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Attention

    scheme = make("t5_bias", n_heads=4, train_length=512, scale_bias=False)
    layer = T5Attention(
        T5Config(d_model=64, d_kv=16, num_heads=4, is_decoder=True),
        has_relative_attention_bias=True,
        layer_idx=0,
    )
    with torch.no_grad():
        layer.relative_attention_bias.weight.copy_(scheme.table[0].T)
    theirs = layer.compute_bias(300, 300)[0, :, 299].flip(1)  # the last query against keys 299..0
    compare(
        "t5_bias",
        "transformers",
        "bias of a decoder layer, offsets to 299",
        bias_of(scheme, torch.arange(300)),
        theirs.detach(),
        0,
    )


def test_t5_scaling_and_the_known_deviations():
    """T5 does not divide scores by sqrt(D); x-transformers does, and multiplies the bias by it.

    Hugging Face's table starts wider.
    """
    from x_transformers.x_transformers import RelativePositionBias

    assert make("t5_bias", head_dim=16).score_scale == 0.25
    assert make("t5_bias", head_dim=16, scale_scores=False).score_scale == 1.0
    options = {"n_heads": 4, "head_dim": 64, "train_length": 512, "init_std": 0.3}
    scheme = make("t5_bias", **options)
    theirs = RelativePositionBias(scale=64**0.5, causal=True, heads=4)
    with torch.no_grad():
        theirs.relative_attention_bias.weight.copy_(scheme.table[0].T)
    last_row = theirs(200, 200)[:, -1].flip(-1).detach()
    compare(
        "t5_bias",
        "x-transformers",
        "bias, offsets to 199",
        bias_of(scheme, torch.arange(200)),
        last_row,
        1e-6,
    )
    plain = make("t5_bias", scale_bias=False, **options)
    assert torch.allclose(last_row, 8 * bias_of(plain, torch.arange(200)), atol=1e-6)
    assert make("t5_bias", n_heads=64).table.std().item() == pytest.approx(0.02, rel=0.05)


# ALiBi --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_heads", HEADS)
def test_alibi_slopes_equal_three_libraries(n_heads):
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
    from x_transformers.x_transformers import AlibiPositionalBias

    ours = -bias_of(make("alibi", n_heads=n_heads), [1])[:, 0]
    compare(
        "alibi",
        "transformers",
        "slopes, Bloom",
        ours,
        build_alibi_tensor(torch.ones(1, 2), n_heads, torch.float32)[:, 0, 1],
        1e-7,
    )
    compare(
        "alibi",
        "transformers",
        "slopes, MPT",
        ours,
        -build_mpt_alibi_tensor(n_heads, 2)[:, 0, 0],
        1e-7,
    )
    compare(
        "alibi",
        "x-transformers",
        "slopes",
        ours,
        AlibiPositionalBias(n_heads).slopes.flatten(),
        1e-7,
    )


def test_alibi_bias_equals_both_libraries_at_every_offset_up_to_8191():
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
    from x_transformers.x_transformers import AlibiPositionalBias

    ours = bias_of(make("alibi", n_heads=8), torch.arange(LONG))
    compare(
        "alibi",
        "transformers",
        "bias, offsets to 8191, MPT",
        ours,
        build_mpt_alibi_tensor(8, LONG)[:, 0].flip(1),
        1e-6,
    )
    distances = -torch.arange(LONG)[
        None, None
    ]  # as its `get_bias` has them for the last query, newest key first
    theirs = (AlibiPositionalBias(8).slopes * distances)[:, 0]
    compare("alibi", "x-transformers", "bias, offsets to 8191", ours, theirs, 1e-6)


def test_alibi_slopes_of_six_heads_and_of_another_maximum():
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    assert bias_of(make("alibi", n_heads=6), [1])[:, 0].neg().log2().tolist() == [
        -2,
        -4,
        -6,
        -8,
        -1,
        -3,
    ]
    for n_heads in (8, 12):
        mpt = build_mpt_alibi_tensor(n_heads, 2, alibi_bias_max=4)[:, 0, 0]
        compare(
            "alibi",
            "transformers",
            "slopes to 2^-4, MPT",
            bias_of(make("alibi", n_heads=n_heads, max_bias=4.0), [1])[:, 0],
            mpt,
            1e-7,
        )


def test_alibi_deviation_bloom_adds_key_indices():
    """Equal after softmax in float64.

    In bfloat16 Bloom's form moves 0.42 of a row's mass at 4096 keys, the distance form none.
    """
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    T = 4096
    ours = (
        bias_of(make("alibi", n_heads=8), torch.arange(T)).flip(1).double()
    )  # the last row, by key
    bloom = build_alibi_tensor(torch.ones(1, T), 8, torch.float32)[:, 0].double()
    assert (bloom - ours).amin() > 10  # not equal before softmax
    exact = ours.softmax(-1)
    compare(
        "alibi", "transformers", "attention of 4,096 keys, Bloom", exact, bloom.softmax(-1), 1e-12
    )
    moved = {
        name: (row[0].bfloat16().double().softmax(-1) - exact[0]).abs().sum() / 2
        for name, row in (("key", bloom), ("distance", ours))
    }
    assert moved["key"] == pytest.approx(0.42, abs=0.01) and moved["distance"] < 1e-6


# RoPE ---------------------------------------------------------------------------------------------


def queries_and_keys(D: int = 64):
    """Positions spread up to 8191, and q, k (1, 2, T, D) float32 at them."""
    positions = torch.cat((torch.arange(40), torch.arange(64, LONG, 129), torch.tensor([LONG - 1])))
    generator = torch.Generator().manual_seed(3)
    return positions, *torch.randn(2, 1, 2, len(positions), D, generator=generator)


def scores(q, k):
    return q.double() @ k.double().transpose(-1, -2) / q.shape[-1] ** 0.5


def rope_by_complex_numbers(positions, x):
    """float64 reference with its own formula:
    pair k of channel c = 2k turns by position / 10000^(c / D).
    """
    D = x.shape[-1]
    turned = torch.empty(x.shape, dtype=torch.float64)
    for row, position in enumerate(positions.tolist()):
        for c in range(0, D, 2):
            turn = complex(
                math.cos(position / 10000 ** (c / D)), math.sin(position / 10000 ** (c / D))
            )
            pair = torch.complex(x[..., row, c].double(), x[..., row, c + 1].double()) * turn
            turned[..., row, c], turned[..., row, c + 1] = pair.real, pair.imag
    return turned


def test_rope_equals_a_float64_reference_up_to_8191():
    positions, q, k = queries_and_keys()
    ours = make("rope", head_dim=64).rotate(q, k, positions, 0)
    exact = [rope_by_complex_numbers(positions, x) for x in (q, k)]
    for mine, reference in zip(ours, exact, strict=True):
        assert mine.dtype == torch.float32
        compare("rope", "float64 loop", "rotated queries and keys to 8191", mine, reference, 1e-6)
    compare("rope", "float64 loop", "scores to 8191", scores(*ours), scores(*exact), 1e-5)


def test_rope_of_bfloat16_queries_turns_by_float32_angles():
    positions, q, k = queries_and_keys()
    q, k = q.bfloat16(), k.bfloat16()
    mine, _ = make("rope", head_dim=64).rotate(q, k, positions, 0)
    exact = rope_by_complex_numbers(positions, q)
    assert mine.dtype == torch.bfloat16
    assert (
        mine - exact
    ).abs().max() < 2**-8 * exact.abs().max()  # the rounding of the result alone


def test_rope_scores_equal_gptj_and_x_transformers():
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as gptj
    from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
    from x_transformers.x_transformers import RotaryEmbedding
    from x_transformers.x_transformers import apply_rotary_pos_emb as x_rotate

    positions, q, k = queries_and_keys()
    ours = scores(*make("rope", head_dim=64).rotate(q, k, positions, 0))
    sin, cos = create_sinusoidal_positions(LONG, 64)[positions][None].chunk(2, dim=-1)
    theirs = (
        gptj(x.transpose(1, 2), sin, cos).transpose(1, 2) for x in (q, k)
    )  # GPT-J has heads after positions
    compare("rope", "transformers", "scores of GPT-J to 8191", ours, scores(*theirs), 1e-3)
    frequencies, _ = RotaryEmbedding(64)(positions)
    compare(
        "rope",
        "x-transformers",
        "scores to 8191",
        ours,
        scores(*(x_rotate(x, frequencies) for x in (q, k))),
        1e-3,
    )


def test_rope_equals_llama_after_a_permutation_of_channels_and_only_then():
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    positions, q, k = queries_and_keys()
    config = LlamaConfig(
        hidden_size=128,
        num_attention_heads=2,
        head_dim=64,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    cos, sin = LlamaRotaryEmbedding(config)(q, positions[None])
    theirs = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1)
    half = make("rope", head_dim=64, layout="half_split").rotate(q, k, positions, 0)
    compare("rope", "transformers", "scores of Llama to 8191", scores(*half), scores(*theirs), 1e-3)
    interleaved = make("rope", head_dim=64).rotate(q, k, positions, 0)
    assert (scores(*interleaved) - scores(*theirs)).abs().max() > 1  # the deviation: another layout
    order = torch.cat(
        (torch.arange(0, 64, 2), torch.arange(1, 64, 2))
    )  # even channels, then odd: pairs (2k, 2k+1) -> (k, k+32)
    permuted = apply_rotary_pos_emb(q[..., order], k[..., order], cos, sin, unsqueeze_dim=1)
    compare(
        "rope",
        "transformers",
        "scores of Llama to 8191, channels permuted",
        scores(*interleaved),
        scores(*permuted),
        1e-3,
    )


def test_rope_base_and_layouts_against_float64():
    positions, q, k = queries_and_keys()
    q, k = q.double(), k.double()
    order = torch.cat((torch.arange(0, 64, 2), torch.arange(1, 64, 2)))
    for base in (10000.0, 500000.0):
        pairs = make("rope", head_dim=64, base=base).rotate(q, k, positions, 0)
        halves = make("rope", head_dim=64, base=base, layout="half_split").rotate(
            q[..., order], k[..., order], positions, 0
        )
        assert torch.allclose(pairs[0][..., order], halves[0], atol=1e-12) and torch.allclose(
            pairs[1][..., order], halves[1], atol=1e-12
        )
        shifted = make("rope", head_dim=64, base=base).rotate(q, k, positions + 1000, 0)
        assert (scores(*pairs) - scores(*shifted)).abs().max() < 1e-9
    assert (
        scores(*pairs) - scores(*make("rope", head_dim=64).rotate(q, k, positions, 0))
    ).abs().max() > 1


# Codes at the input -------------------------------------------------------------------------------


def code_of(scheme: Scheme, length: int):
    """What `embed` adds to token embeddings of 0, (T, E)."""
    return scheme.embed(
        torch.zeros(1, length, scheme.dimensions.width), scheme.positions(length, CPU)
    )[0].detach()


def test_vaswani_sinusoid_equals_three_libraries():
    from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
    from transformers.models.roformer.modeling_roformer import RoFormerSinusoidalPositionalEmbedding
    from x_transformers.x_transformers import ScaledSinusoidalEmbedding

    ours = code_of(make("sinusoidal"), LONG)
    split = torch.cat((ours[:, 0::2], ours[:, 1::2]), dim=1)  # [sin | cos]
    theirs = RoFormerSinusoidalPositionalEmbedding(LONG, 32).create_weight()
    compare("sinusoidal", "transformers", "codes of RoFormer to 8191", split, theirs.detach(), 1e-6)
    theirs = create_sinusoidal_positions(LONG, 32)
    compare(
        "sinusoidal",
        "transformers",
        "codes of GPT-J to 8191 (its angles are float32)",
        split,
        theirs,
        1e-3,
    )
    theirs = (
        ScaledSinusoidalEmbedding(32)(torch.zeros(1, LONG)).detach() * 32**0.5
    )  # it starts from a scale of 1 / sqrt(width)
    compare(
        "sinusoidal",
        "x-transformers",
        "codes to 8191 (its angles are float32)",
        split,
        theirs,
        1e-3,
    )


def test_tensor2tensor_sinusoid_equals_m2m_100_and_differs_from_the_paper():
    from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding

    ours, paper = (
        code_of(make("sinusoidal", form="tensor2tensor"), LONG),
        code_of(make("sinusoidal"), LONG),
    )
    theirs = M2M100SinusoidalPositionalEmbedding.get_embedding(LONG, 32)
    compare(
        "sinusoidal",
        "transformers",
        "tensor2tensor's codes of M2M-100 to 8191 (its angles are float32)",
        ours,
        theirs,
        1e-3,
    )
    assert (
        ours - torch.cat((paper[:, 0::2], paper[:, 1::2]), dim=1)
    ).abs().max() > 1.5  # another spectrum


def test_sinusoid_scales_token_embeddings_by_the_square_root_of_the_width():
    x, positions = (
        torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0)),
        torch.arange(5),
    )
    scaled, plain = make("sinusoidal"), make("sinusoidal", scale_embedding=False)
    assert torch.allclose(
        scaled.embed(x, positions) - x * 32**0.5, plain.embed(x, positions) - x, atol=1e-5
    )  # of values up to 20


def test_learned_equals_gpt2_and_gpt2_fails_where_we_refuse():
    from transformers import GPT2Config, GPT2Model

    scheme = make("learned", train_length=48, tail="refuse")
    gpt2 = GPT2Model(GPT2Config(n_positions=48, n_embd=32, n_layer=1, n_head=2, vocab_size=10))
    with torch.no_grad():
        gpt2.wpe.weight.copy_(scheme.table)
    compare(
        "learned",
        "transformers",
        "rows of the table, GPT-2",
        code_of(scheme, 48),
        gpt2.wpe(torch.arange(48)).detach(),
        0,
    )
    with pytest.raises(IndexError):
        gpt2.wpe(torch.tensor([48]))
    assert scheme.refusal(48) is None
    assert (
        scheme.refusal(49)
        == "learned absolute positions have 48 rows and the window has 49 tokens; "
        "scheme.tail=refuse"
    )


def test_learned_equals_x_transformers():
    """Which multiplies its table by 1 / sqrt(width)."""
    from x_transformers.x_transformers import AbsolutePositionalEmbedding

    scheme, theirs = make("learned", train_length=LONG), AbsolutePositionalEmbedding(32, LONG)
    with torch.no_grad():
        theirs.emb.weight.copy_(scheme.table * 32**0.5)
        compare(
            "learned",
            "x-transformers",
            "rows of the table to 8191",
            code_of(scheme, LONG),
            theirs(torch.zeros(1, LONG)),
            1e-8,
        )


@pytest.mark.parametrize("T", [100, 4096])
def test_normalised_harmonics_are_the_columns_of_a_fourier_transform(T):
    scheme = make("normalised_sinusoid", form="harmonics", turns=1.0)
    waves = np.fft.fft(np.eye(17, T)[1:])  # wave k at n: e^(-2 pi i k n / T)
    theirs = (
        torch.from_numpy(np.stack((-waves.imag, waves.real), axis=-1)).permute(1, 0, 2).flatten(1)
    )
    compare(
        "normalised_sinusoid",
        "numpy.fft",
        "16 harmonics of windows to 4,096",
        code_of(scheme, T),
        theirs,
        2e-5,
    )


# Biases that no library has whole -----------------------------------------------------------------


def test_per_offset_equals_a_t5_layer_with_a_bucket_for_every_offset():
    """T5 with 2 L buckets keeps the first L offsets apart."""
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Attention

    scheme, L = make("per_offset", n_heads=4, scale_bias=False), 64
    buckets = {"relative_attention_num_buckets": 2 * L, "relative_attention_max_distance": 4 * L}
    settings = T5Config(d_model=64, num_heads=4, is_decoder=True, **buckets)
    layer = T5Attention(settings, has_relative_attention_bias=True, layer_idx=0)
    with torch.no_grad():
        layer.relative_attention_bias.weight[:L].copy_(scheme.table[0].T)
        theirs = layer.compute_bias(L, L)[0, :, L - 1].flip(1)
    compare(
        "per_offset",
        "transformers",
        "bias, offsets within the table",
        bias_of(scheme, torch.arange(L)),
        theirs,
        0,
    )


def test_sandwich_is_the_inner_product_of_roformers_codes():
    from transformers.models.roformer.modeling_roformer import RoFormerSinusoidalPositionalEmbedding

    codes = RoFormerSinusoidalPositionalEmbedding(LONG, 128).create_weight().detach().double()
    ours = bias_of(make("sandwich", n_heads=4), torch.arange(LONG))
    for h in range(4):
        theirs = (codes @ codes[0] - 64) * 4 / (8 * (h + 1))
        compare(
            "sandwich",
            "transformers",
            "bias from RoFormer's codes, offsets to 8191",
            ours[h],
            theirs,
            1e-5,
        )


def test_kerple_power_of_one_equals_alibi_of_mpt():
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    scheme, alibi = (
        make("kerple_power", n_heads=6),
        build_mpt_alibi_tensor(8, LONG)[:6, 0].flip(1),
    )  # slopes above KERPLE's least, 0.01
    with torch.no_grad():
        scheme.r2.fill_(1.0), scheme.r1.copy_(-alibi[:, 1][None])
    compare(
        "kerple_power",
        "transformers",
        "bias of power 1 as MPT's, offsets to 8191",
        bias_of(scheme, torch.arange(LONG)),
        alibi,
        1e-6,
    )


@pytest.mark.parametrize("n_heads", [1, 4])
def test_kerple_equals_fifty_digits(n_heads):
    from mpmath import mp, mpf

    log, power = (
        make("kerple_log", n_heads=n_heads, seed=3),
        make("kerple_power", n_heads=n_heads, seed=3),
    )
    offsets = [*range(66), 511, 2048, LONG - 1]
    with mp.workdps(50):
        for h in range(n_heads):
            r1, r2 = (
                max(mpf(r[0, h].item()), mpf(0.01)) for r in (log.r1, log.r2)
            )  # a smaller one acts as 0.01
            exact = [float(-r1 * mp.log(1 + r2 * n)) for n in offsets]
            compare(
                "kerple_log",
                "mpmath, 50 digits",
                "bias, offsets to 8191",
                bias_of(log, offsets)[h],
                exact,
                3e-6,
            )
            r1, r2 = (max(mpf(r[0, h].item()), mpf(0.01)) for r in (power.r1, power.r2))
            ratio = (
                bias_of(power, offsets[1:])[h].double()
                / torch.tensor([float(-r1 * mpf(n) ** r2) for n in offsets[1:]]).double()
            )
            compare(
                "kerple_power",
                "mpmath, 50 digits",
                "bias, offsets to 8191, ratio",
                ratio,
                torch.ones(len(ratio)),
                2e-6,
            )


def test_fire_equals_torchs_own_layers():
    """The listing's network as torch.nn modules in float64, on positions up to 1,024."""
    scheme, T = make("fire", n_heads=3, train_length=256, seed=2), 1024
    network = torch.nn.Sequential(
        torch.nn.Linear(1, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3)
    ).double()
    with torch.no_grad():
        for ours, theirs in zip(
            (scheme.w1[0][:, None], scheme.b1[0], scheme.w2[0], scheme.b2[0]),
            network.parameters(),
            strict=True,
        ):
            theirs.copy_(ours)
        places = torch.arange(T, dtype=torch.float64)
        distance = (places[:, None] - places).clamp(min=0)
        rows = torch.tensor([0, 5, 63, 64, 65, 500, T - 1])
        norm = (0.1 * places.clamp(min=64) + 1).log() + 1e-6
        theirs = network(((0.1 * distance + 1).log() / norm[:, None])[rows, :, None]).permute(
            2, 0, 1
        )
        past = places <= rows[:, None]
        ours = scheme.rows(rows, torch.arange(T), 0)
    compare(
        "fire", "torch.nn.Linear", "bias of seven rows to 1,023", ours * past, theirs * past, 2e-6
    )
