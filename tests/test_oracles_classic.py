"""Older and simpler schemes (Shaw, Transformer-XL, learned ALiBi, CPB, BAM, CAPE, BiPE, random positions) against other people's
implementations and against their papers' formulas as plain loops in float64.

Shape letters: B batch, T positions, H heads, D head size, E width.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lengthgen import skew

from .oracle import compare
from .scheme_cases import bias_of, make
from .test_oracles_text import D, E, H, dot, kept, looped, scores_of, text

LONG = 8192


# Shaw -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [4, 100])
def test_shaw_equals_transformers(clip):
    """Wav2Vec2-BERT's relative keys; its table runs from the farthest key on the left to the farthest on the right."""
    from transformers.models.wav2vec2_bert import modeling_wav2vec2_bert as theirs

    q, k, _, x = text(64)
    scheme = make("shaw", clip=clip)
    table = nn.Embedding(clip + 3, D).double()
    with torch.no_grad():
        table.weight[: clip + 1] = scheme.key_table[1].flip(0)
    module = SimpleNamespace(left_max_position_embeddings=clip, right_max_position_embeddings=2, distance_embedding=table, scaling=D**-0.5)
    _, bias = theirs._apply_relative_key_position_encoding(module, q, k)
    ours = scores_of(scheme, q, k, x)
    compare("shaw", "transformers", "scores, 64 tokens", kept(ours), kept((q @ k.mT * D**-0.5 + bias).detach()), 1e-12)


@pytest.mark.parametrize("clip", [3, 100])
def test_shaw_equals_its_loop(clip):
    T = 24
    q, k, v, x = text(T, batch=1)
    scheme = make("shaw", clip=clip)
    keys, values = scheme.key_table[1].tolist(), scheme.value_table[1].tolist()

    def score(b, h, i, j):
        return dot(q[b, h, i], [a + float(c) for a, c in zip(keys[min(i - j, clip)], k[b, h, j], strict=True)]) / math.sqrt(D)

    wanted = looped(T, score)
    ours = scores_of(scheme, q, k, x)
    compare("shaw", "float64 loop", "scores, 24 tokens", kept(ours), kept(wanted), 1e-12)
    out = torch.zeros(1, H, T, D, dtype=torch.float64)
    for h in range(H):
        for i in range(T):
            weights = [math.exp(wanted[0, h, i, j]) for j in range(i + 1)]
            for j, weight in enumerate(weights):
                out[0, h, i] += weight / sum(weights) * (v[0, h, j] + torch.tensor(values[min(i - j, clip)], dtype=torch.float64))
    compare("shaw", "float64 loop", "output, 24 tokens", scheme.mix(ours, v, 1, 0).detach(), out, 1e-12)


@pytest.mark.parametrize("name", ["shaw", "transformer_xl"])
def test_rows_at_a_time_are_the_rows_of_the_whole(name):
    q, k, v, x = text(40)
    scheme = make(name)
    whole = scheme.logits(q, k, x, torch.arange(40), 0, 0)
    some = scheme.logits(q[:, :, 13:29], k[:, :, :29], x, torch.arange(40), 0, 13)
    hidden = ~torch.ones(40, 40, dtype=torch.bool).tril()
    assert torch.allclose(some.masked_fill(hidden[13:29, :29], 0), whole.masked_fill(hidden, 0)[:, :, 13:29, :29], atol=1e-12)
    parts = scheme.mix(some.masked_fill(hidden[13:29, :29], -math.inf), v[:, :, :29], 0, 13)
    assert torch.allclose(parts, scheme.mix(whole.masked_fill(hidden, -math.inf), v, 0, 0)[:, :, 13:29], atol=1e-12)


@pytest.mark.parametrize(("rows", "keys", "offsets"), [(1, 1, 1), (5, 5, 5), (5, 9, 9), (1, 9, 4), (7, 7, 1), (3, 8, 2)])
def test_skewed_entries_are_where_their_offset_says(rows, keys, offsets):
    values = torch.randn(2, rows, offsets)
    skewed = skew.by_key(values, keys)
    assert skewed.shape == (2, rows, keys)
    for r in range(rows):
        for j in range(keys - rows + r + 1):
            assert torch.equal(skewed[:, r, j], values[:, r, min(keys - rows + r - j, offsets - 1)])


# Transformer-XL -----------------------------------------------------------------------------------------------------------


def xlnet_weights(scheme, q, k, v):
    """Attention weights (B, H, T, T) of XLNet's layer, whose positions are Transformer-XL's, with the scheme's parameters of layer 1."""
    from transformers import XLNetConfig
    from transformers.models.xlnet.modeling_xlnet import XLNetModel, XLNetRelativeAttention

    T = q.shape[2]
    theirs = XLNetRelativeAttention(XLNetConfig(d_model=E, n_head=H, d_inner=8, dropout=0.0)).double()
    frequencies = 1 / 10000 ** (torch.arange(0, E, 2, dtype=torch.float64) / E)
    waves = XLNetModel.positional_embedding(torch.arange(T, -1, -1, dtype=torch.float64), frequencies)
    with torch.no_grad():
        theirs.r_w_bias.copy_(scheme.u[0])
        theirs.r_r_bias.copy_(scheme.v[0])
        theirs.r.copy_(scheme.projection[1].view(H, D, E).permute(2, 0, 1))
        relative = torch.einsum("ibh,hnd->ibnd", waves, theirs.r).expand(-1, len(q), -1, -1)
        mask = torch.ones(T, T, dtype=torch.float64).triu(1)[:, :, None, None]
        heads = (part.permute(2, 0, 1, 3) for part in (q, k, v))
        _, weights = theirs.rel_attn_core(*heads, relative, attn_mask=mask, output_attentions=True)
    return weights.permute(2, 3, 0, 1)


def test_transformer_xl_equals_transformers():
    q, k, v, x = text(96)
    scheme = make("transformer_xl", init_std=0.5)
    ours = scores_of(scheme, q, k, x).softmax(-1)
    compare("transformer_xl", "transformers", "weights, 96 tokens", ours, xlnet_weights(scheme, q, k, v), 1e-12)


@pytest.mark.parametrize("options", [{}, {"clamp": 7}, {"untie": True, "base": 100.0}], ids=str)
def test_transformer_xl_equals_its_loop(options):
    q, k, _, x = text(20)
    scheme = make("transformer_xl", init_std=0.5, **options)
    n, base, clamp = int(options.get("untie", False)), options.get("base", 10000.0), options.get("clamp", 1000)
    u, v = scheme.u[n].double(), scheme.v[n].double()
    matrix = scheme.projection[1].double().view(H, D, E)

    def score(b, h, i, j):
        offset = min(i - j, clamp)
        angles = [offset / base ** (2 * c / E) for c in range(E // 2)]
        r = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        projected = [dot(row, r) for row in matrix[h]]
        return (dot(q[b, h, i] + u[h], k[b, h, j]) + dot(q[b, h, i] + v[h], projected)) / math.sqrt(D)

    with torch.no_grad():
        compare("transformer_xl", "float64 loop", "scores, 20 tokens", kept(scores_of(scheme, q, k, x)[:1]), kept(looped(20, score)), 1e-12)


def test_transformer_xl_far_offsets():
    """The sinusoid keeps its angles in float64 as far as windows reach."""
    scheme = make("transformer_xl", init_std=0.5)
    places = [0, 1, 511, 4096, LONG - 1, 65535]
    matrix, wanted = scheme.projection[0].tolist(), []
    for n in places:
        angles = [n / 10000 ** (2 * c / E) for c in range(E // 2)]
        wanted.append([dot(row, [math.sin(a) for a in angles] + [math.cos(a) for a in angles]) for row in matrix])
    ours = scheme.relative_keys(torch.tensor(places), 0, torch.float64).detach().transpose(0, 1).flatten(1)
    compare("transformer_xl", "float64 loop", "projected sinusoids, offsets to 65,535", ours, torch.tensor(wanted, dtype=torch.float64), 1e-9)


# Learned ALiBi, CPB, BAM --------------------------------------------------------------------------------------------------


def mpt_slopes(n_heads: int):
    """(H,) as transformers' MPT has them: its table's value for the last key but one, at a distance of 1."""
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    return -build_mpt_alibi_tensor(n_heads, 2).flatten(0, -2)[:, 0].double()


@pytest.mark.parametrize("n_heads", [1, 6, 8, 12])
def test_alibi_learned_and_bam_start_as_transformers_alibi(n_heads):
    offsets = torch.tensor([0, 1, 2, 100, 1023, LONG - 1])
    wanted = -mpt_slopes(n_heads)[:, None] * offsets
    size = wanted.abs().clamp(min=1)
    learned, bam = (bias_of(make(name, n_heads=n_heads), offsets, 1).double() for name in ("alibi_learned", "bam"))
    compare("alibi_learned", "transformers", "start / max(1, |bias|), offsets to 8,191", learned / size, wanted / size, 1e-6)
    cancels = bam[:, :1]  # the slope times eps, in every score
    assert cancels.abs().max() < 1e-5
    compare("bam", "transformers", "start / max(1, |bias|), offsets to 8,191", (bam - cancels) / size, wanted / size, 1e-6)


@pytest.mark.parametrize("per_layer", [False, True])
def test_alibi_learned_equals_its_loop(per_layer):
    scheme = make("alibi_learned", n_heads=4, per_layer=per_layer)
    with torch.no_grad():
        scheme.log_slopes.add_(torch.randn(scheme.log_slopes.shape, generator=torch.Generator().manual_seed(3)))
    offsets = [0, 1, 7, 512, LONG - 1]
    wanted = torch.tensor([[-math.exp(a) * n for n in offsets] for a in scheme.log_slopes[-1].tolist()], dtype=torch.float64)
    ours = bias_of(scheme, offsets, 1).double()
    size = wanted.abs().clamp(min=1)
    compare("alibi_learned", "float64 loop", "bias / max(1, |bias|), offsets to 8,191", ours / size, wanted / size, 1e-6)


CPBS = [{}, {"log_distance": False}, {"depth": 1, "hidden": 5}, {"depth": 3, "per_layer": True}]


@pytest.mark.parametrize("options", CPBS, ids=str)
def test_cpb_equals_x_transformers(options):
    from x_transformers.x_transformers import DynamicPositionBias

    scheme = make("cpb", **options)
    n, depth = int(options.get("per_layer", False)), options.get("depth", 2)
    theirs = DynamicPositionBias(scheme.w0.shape[1], heads=H, depth=depth, log_distance=options.get("log_distance", True)).double()
    linear = [layer[0] for layer in theirs.mlp[:-1]] + [theirs.mlp[-1]]
    with torch.no_grad():
        for number, layer in enumerate(linear):
            layer.weight.copy_(getattr(scheme, f"w{number}")[n])
            layer.bias.copy_(getattr(scheme, f"b{number}")[n])
        last_row = theirs(1, 1024)[:, 0].flip(1)
    size = last_row.abs().clamp(min=1)
    ours = bias_of(scheme, range(1024), 1).double()
    compare("cpb", "x-transformers", "bias / max(1, |bias|), offsets to 1,023", ours / size, last_row / size, 1e-5)


@pytest.mark.parametrize("options", CPBS, ids=str)
def test_cpb_equals_its_loop(options):
    scheme = make("cpb", **options)
    n, depth = int(options.get("per_layer", False)), options.get("depth", 2)
    places, wanted = [0, 1, 2, 63, 1000, LONG - 1], []
    for offset in places:
        units = [math.log(1 + offset) if options.get("log_distance", True) else float(offset)]
        for number in range(depth + 1):
            weight, bias = getattr(scheme, f"w{number}")[n].tolist(), getattr(scheme, f"b{number}")[n].tolist()
            units = [dot(row, units) + b for row, b in zip(weight, bias, strict=True)]
            if number < depth:
                units = [z / (1 + math.exp(-z)) if z > -700 else 0.0 for z in units]
        wanted.append(units)
    wanted = torch.tensor(wanted, dtype=torch.float64).T
    size = wanted.abs().clamp(min=1)
    ours = bias_of(scheme, places, 1).double()
    compare("cpb", "float64 loop", "bias / max(1, |bias|), offsets to 8,191", ours / size, wanted / size, 1e-5)


@pytest.mark.parametrize("options", [{}, {"learn_location": True, "per_layer": True}, {"eps": 0.1}], ids=str)
def test_bam_equals_its_loop(options):
    scheme = make("bam", n_heads=4, **options)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in (scheme.log_scale, scheme.shape, scheme.location):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    offsets, eps, wanted = [0, 1, 2, 63, 1000, LONG - 1], options.get("eps", 1e-5), []
    for a, s, c in zip(*(part[-1].tolist() for part in (scheme.log_scale, scheme.shape, scheme.location)), strict=True):
        wanted.append([-math.exp(a) * (abs(n - (math.exp(c) - math.exp(-c))) + eps) ** s for n in offsets])
    wanted = torch.tensor(wanted, dtype=torch.float64)
    size = wanted.abs().clamp(min=1)
    ours = bias_of(scheme, offsets, 1).double()
    compare("bam", "float64 loop", "bias / max(1, |bias|), offsets to 8,191", ours / size, wanted / size, 3e-6)


def test_bam_with_a_turned_shape_stays_finite():
    scheme = make("bam")
    with torch.no_grad():
        scheme.shape.fill_(-1.0)
    bias = bias_of(scheme, range(LONG))
    assert bias.isfinite().all() and (bias[:, 0] < -1e3 * scheme.log_scale.exp()[0]).all()
