"""Older and simpler schemes (Shaw, Transformer-XL, learned ALiBi, CPB, BAM, CAPE, BiPE, random
positions) against other people's implementations and against their papers' formulas as plain loops
in float64.

Shape letters: B batch, T positions, H heads, D head size, E width.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lengthgen.schemes import relative_shift

from .oracle import compare
from .scheme_cases import bias_of, make
from .test_oracles_text import D, E, H, dot, kept, looped, scores_of, text

LONG = 8192


# Shaw ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [4, 100])
def test_shaw_equals_transformers(clip):
    """Wav2Vec2-BERT's relative keys.

    Its table runs from the farthest key on the left to the farthest on the right.
    """
    from transformers.models.wav2vec2_bert import modeling_wav2vec2_bert as theirs

    q, k, _, x = text(64)
    scheme = make("shaw", clip=clip)
    table = nn.Embedding(clip + 3, D).double()
    with torch.no_grad():
        table.weight[: clip + 1] = scheme.key_table[1].flip(0)
    module = SimpleNamespace(
        left_max_position_embeddings=clip,
        right_max_position_embeddings=2,
        distance_embedding=table,
        scaling=D**-0.5,
    )
    _, bias = theirs._apply_relative_key_position_encoding(module, q, k)
    ours = scores_of(scheme, q, k, x)
    compare(
        "shaw",
        "transformers",
        "scores, 64 tokens",
        kept(ours),
        kept((q @ k.mT * D**-0.5 + bias).detach()),
        1e-12,
    )


@pytest.mark.parametrize("clip", [3, 100])
def test_shaw_equals_its_loop(clip):
    T = 24
    q, k, v, x = text(T, batch=1)
    scheme = make("shaw", clip=clip)
    keys, values = scheme.key_table[1].tolist(), scheme.value_table[1].tolist()

    def score(b, h, i, j):
        return dot(
            q[b, h, i],
            [a + float(c) for a, c in zip(keys[min(i - j, clip)], k[b, h, j], strict=True)],
        ) / math.sqrt(D)

    wanted = looped(T, score)
    ours = scores_of(scheme, q, k, x)
    compare("shaw", "float64 loop", "scores, 24 tokens", kept(ours), kept(wanted), 1e-12)
    out = torch.zeros(1, H, T, D, dtype=torch.float64)
    for h in range(H):
        for i in range(T):
            weights = [math.exp(wanted[0, h, i, j]) for j in range(i + 1)]
            for j, weight in enumerate(weights):
                out[0, h, i] += (
                    weight
                    / sum(weights)
                    * (v[0, h, j] + torch.tensor(values[min(i - j, clip)], dtype=torch.float64))
                )
    compare(
        "shaw", "float64 loop", "output, 24 tokens", scheme.mix(ours, v, 1, 0).detach(), out, 1e-12
    )


@pytest.mark.parametrize("name", ["shaw", "transformer_xl"])
def test_rows_at_a_time_are_the_rows_of_the_whole(name):
    q, k, v, x = text(40)
    scheme = make(name)
    whole = scheme.logits(q, k, x, torch.arange(40), 0, 0)
    some = scheme.logits(q[:, :, 13:29], k[:, :, :29], x, torch.arange(40), 0, 13)
    hidden = ~torch.ones(40, 40, dtype=torch.bool).tril()
    assert torch.allclose(
        some.masked_fill(hidden[13:29, :29], 0),
        whole.masked_fill(hidden, 0)[:, :, 13:29, :29],
        atol=1e-12,
    )
    parts = scheme.mix(some.masked_fill(hidden[13:29, :29], -math.inf), v[:, :, :29], 0, 13)
    assert torch.allclose(
        parts, scheme.mix(whole.masked_fill(hidden, -math.inf), v, 0, 0)[:, :, 13:29], atol=1e-12
    )


@pytest.mark.parametrize(
    ("rows", "keys", "offsets"), [(1, 1, 1), (5, 5, 5), (5, 9, 9), (1, 9, 4), (7, 7, 1), (3, 8, 2)]
)
def test_skewed_entries_are_where_their_offset_says(rows, keys, offsets):
    values = torch.randn(2, rows, offsets)
    skewed = relative_shift.by_key(values, keys)
    assert skewed.shape == (2, rows, keys)
    for r in range(rows):
        for j in range(keys - rows + r + 1):
            assert torch.equal(skewed[:, r, j], values[:, r, min(keys - rows + r - j, offsets - 1)])


# Transformer-XL -----------------------------------------------------------------------------------


def xlnet_weights(scheme, q, k, v):
    """Attention weights (B, H, T, T) of XLNet's layer, whose positions are Transformer-XL's, with
    the scheme's parameters of layer 1.
    """
    from transformers import XLNetConfig
    from transformers.models.xlnet.modeling_xlnet import XLNetModel, XLNetRelativeAttention

    T = q.shape[2]
    theirs = XLNetRelativeAttention(
        XLNetConfig(d_model=E, n_head=H, d_inner=8, dropout=0.0)
    ).double()
    frequencies = 1 / 10000 ** (torch.arange(0, E, 2, dtype=torch.float64) / E)
    waves = XLNetModel.positional_embedding(
        torch.arange(T, -1, -1, dtype=torch.float64), frequencies
    )
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
    compare(
        "transformer_xl",
        "transformers",
        "weights, 96 tokens",
        ours,
        xlnet_weights(scheme, q, k, v),
        1e-12,
    )


@pytest.mark.parametrize("options", [{}, {"clamp": 7}, {"untie": True, "base": 100.0}], ids=str)
def test_transformer_xl_equals_its_loop(options):
    q, k, _, x = text(20)
    scheme = make("transformer_xl", init_std=0.5, **options)
    n, base, clamp = (
        int(options.get("untie", False)),
        options.get("base", 10000.0),
        options.get("clamp", 1000),
    )
    u, v = scheme.u[n].double(), scheme.v[n].double()
    matrix = scheme.projection[1].double().view(H, D, E)

    def score(b, h, i, j):
        offset = min(i - j, clamp)
        angles = [offset / base ** (2 * c / E) for c in range(E // 2)]
        r = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        projected = [dot(row, r) for row in matrix[h]]
        return (dot(q[b, h, i] + u[h], k[b, h, j]) + dot(q[b, h, i] + v[h], projected)) / math.sqrt(
            D
        )

    with torch.no_grad():
        compare(
            "transformer_xl",
            "float64 loop",
            "scores, 20 tokens",
            kept(scores_of(scheme, q, k, x)[:1]),
            kept(looped(20, score)),
            1e-12,
        )


def test_transformer_xl_far_offsets():
    """The sinusoid keeps its angles in float64 as far as windows reach."""
    scheme = make("transformer_xl", init_std=0.5)
    places = [0, 1, 511, 4096, LONG - 1, 65535]
    matrix, wanted = scheme.projection[0].tolist(), []
    for n in places:
        angles = [n / 10000 ** (2 * c / E) for c in range(E // 2)]
        wanted.append(
            [
                dot(row, [math.sin(a) for a in angles] + [math.cos(a) for a in angles])
                for row in matrix
            ]
        )
    ours = (
        scheme.relative_keys(torch.tensor(places), 0, torch.float64)
        .detach()
        .transpose(0, 1)
        .flatten(1)
    )
    wanted = torch.tensor(wanted, dtype=torch.float64)
    compare(
        "transformer_xl",
        "float64 loop",
        "projected sinusoids, offsets to 65,535",
        ours,
        wanted,
        1e-9,
    )


# Learned ALiBi, CPB, BAM --------------------------------------------------------------------------


def mpt_slopes(n_heads: int):
    """(H,) as transformers' MPT has them:
    its table's value for the last key but one, at a distance of 1.
    """
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    return -build_mpt_alibi_tensor(n_heads, 2).flatten(0, -2)[:, 0].double()


@pytest.mark.parametrize("n_heads", [1, 6, 8, 12])
def test_alibi_learned_and_bam_start_as_transformers_alibi(n_heads):
    offsets = torch.tensor([0, 1, 2, 100, 1023, LONG - 1])
    wanted = -mpt_slopes(n_heads)[:, None] * offsets
    size = wanted.abs().clamp(min=1)
    schemes = [make(name, n_heads=n_heads) for name in ("alibi_learned", "bam")]
    for scheme in schemes:
        scheme.initialise(lambda name: None)  # `make` moves what starts at zero
    learned, bam = (bias_of(scheme, offsets, 1).double() for scheme in schemes)
    compare(
        "alibi_learned",
        "transformers",
        "start / max(1, |bias|), offsets to 8,191",
        learned / size,
        wanted / size,
        1e-6,
    )
    cancels = bam[:, :1]  # the slope times eps, in every score
    assert cancels.abs().max() < 1e-5
    compare(
        "bam",
        "transformers",
        "start / max(1, |bias|), offsets to 8,191",
        (bam - cancels) / size,
        wanted / size,
        1e-6,
    )


@pytest.mark.parametrize("per_layer", [False, True])
def test_alibi_learned_equals_its_loop(per_layer):
    scheme = make("alibi_learned", n_heads=4, per_layer=per_layer)
    with torch.no_grad():
        scheme.log_slopes.add_(
            torch.randn(scheme.log_slopes.shape, generator=torch.Generator().manual_seed(3))
        )
    offsets = [0, 1, 7, 512, LONG - 1]
    wanted = torch.tensor(
        [[-math.exp(a) * n for n in offsets] for a in scheme.log_slopes[-1].tolist()],
        dtype=torch.float64,
    )
    ours = bias_of(scheme, offsets, 1).double()
    size = wanted.abs().clamp(min=1)
    compare(
        "alibi_learned",
        "float64 loop",
        "bias / max(1, |bias|), offsets to 8,191",
        ours / size,
        wanted / size,
        1e-6,
    )


# x-transformers has no factor on the bias; the loop below has it.
CPBS = [{}, {"log_distance": False}, {"depth": 1, "hidden": 5}, {"depth": 3, "per_layer": True}]


@pytest.mark.parametrize("options", CPBS, ids=str)
def test_cpb_equals_x_transformers(options):
    from x_transformers.x_transformers import DynamicPositionBias

    scheme = make("cpb", scale_bias=False, **options)
    n, depth = int(options.get("per_layer", False)), options.get("depth", 2)
    theirs = DynamicPositionBias(
        scheme.w0.shape[1], heads=H, depth=depth, log_distance=options.get("log_distance", True)
    )
    linear = [layer[0] for layer in theirs.mlp[:-1]] + [theirs.mlp[-1]]
    with torch.no_grad():
        for number, layer in enumerate(linear):
            layer.weight.copy_(getattr(scheme, f"w{number}")[n])
            layer.bias.copy_(getattr(scheme, f"b{number}")[n])
        last_row = theirs(1, 1024)[:, 0].flip(1)
    size = last_row.abs().clamp(min=1)
    ours = bias_of(scheme, range(1024), 1).double()
    compare(
        "cpb",
        "x-transformers",
        "bias / max(1, |bias|), offsets to 1,023",
        ours / size,
        last_row / size,
        1e-5,
    )


@pytest.mark.parametrize("options", CPBS, ids=str)
def test_cpb_equals_its_loop(options):
    scheme = make("cpb", **options)
    n, depth = int(options.get("per_layer", False)), options.get("depth", 2)
    places, wanted = [0, 1, 2, 63, 1000, LONG - 1], []
    for offset in places:
        units = [math.log(1 + offset) if options.get("log_distance", True) else float(offset)]
        for number in range(depth + 1):
            weight, bias = (
                getattr(scheme, f"w{number}")[n].tolist(),
                getattr(scheme, f"b{number}")[n].tolist(),
            )
            units = [dot(row, units) + b for row, b in zip(weight, bias, strict=True)]
            if number < depth:
                units = [z / (1 + math.exp(-z)) if z > -700 else 0.0 for z in units]
        wanted.append([scheme.dimensions.head_dim**0.5 * z for z in units])
    wanted = torch.tensor(wanted, dtype=torch.float64).T
    size = wanted.abs().clamp(min=1)
    ours = bias_of(scheme, places, 1).double()
    compare(
        "cpb",
        "float64 loop",
        "bias / max(1, |bias|), offsets to 8,191",
        ours / size,
        wanted / size,
        1e-5,
    )


@pytest.mark.parametrize(
    "options", [{}, {"learn_location": True, "per_layer": True}, {"eps": 0.1}], ids=str
)
def test_bam_equals_its_loop(options):
    scheme = make("bam", n_heads=4, **options)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in (scheme.log_scale, scheme.shape, scheme.location):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    offsets, eps, wanted = [0, 1, 2, 63, 1000, LONG - 1], options.get("eps", 1e-5), []
    for a, s, c in zip(
        *(part[-1].tolist() for part in (scheme.log_scale, scheme.shape, scheme.location)),
        strict=True,
    ):
        wanted.append(
            [-math.exp(a) * (abs(n - (math.exp(c) - math.exp(-c))) + eps) ** s for n in offsets]
        )
    wanted = torch.tensor(wanted, dtype=torch.float64)
    size = wanted.abs().clamp(min=1)
    ours = bias_of(scheme, offsets, 1).double()
    compare(
        "bam",
        "float64 loop",
        "bias / max(1, |bias|), offsets to 8,191",
        ours / size,
        wanted / size,
        3e-6,
    )


def test_bam_with_a_turned_shape_stays_finite():
    scheme = make("bam")
    with torch.no_grad():
        scheme.shape.fill_(-1.0)
        scheme.location.fill_(0.0)
    bias = bias_of(scheme, range(LONG))
    assert bias.isfinite().all() and (bias[:, 0] < -1e3 * scheme.log_scale.exp()[0]).all()


# CAPE ---------------------------------------------------------------------------------------------


def test_cape_evaluates_as_transformers_sinusoid():
    from transformers.models.distilbert.modeling_distilbert import create_sinusoidal_embeddings

    table = torch.zeros(LONG, E)
    create_sinusoidal_embeddings(LONG, E, out=table)
    scheme = make("cape", scale_embedding=False).eval()
    ours = scheme.embed(
        torch.zeros(1, LONG, E), scheme.read(torch.zeros(3, LONG, dtype=torch.int64))
    )[0]
    compare("cape", "transformers", "code in evaluation, positions to 8,191", ours, table, 1e-6)


@pytest.mark.parametrize("centre", [False, True])
def test_cape_equals_its_loop(centre):
    """In training, at the positions that it drew; in evaluation at those of the formula."""
    scheme, tokens, x = (
        make("cape", centre=centre, base=100.0),
        torch.zeros(2, 20, dtype=torch.int64),
        torch.randn(2, 20, E).double(),
    )
    torch.manual_seed(0)
    for positions in (scheme.train().read(tokens), scheme.eval().read(tokens).expand(2, 20)):
        wanted = torch.zeros(2, 20, E, dtype=torch.float64)
        for b in range(2):
            for i in range(20):
                for c in range(E // 2):
                    angle = float(positions[b, i]) / 100.0 ** (2 * c / E)
                    wanted[b, i, 2 * c : 2 * c + 2] = torch.tensor(
                        [math.sin(angle), math.cos(angle)], dtype=torch.float64
                    )
        compare(
            "cape",
            "float64 loop",
            "input, 20 tokens",
            scheme.embed(x, positions),
            x * E**0.5 + wanted,
            1e-6,
        )
    assert scheme.read(tokens).tolist() == [i - (9.5 if centre else 0) for i in range(20)]


def test_cape_draws_lie_where_the_options_say():
    scheme, tokens = (
        make("cape", global_shift=100.0, local_shift=0.5, max_scale=2.0).train(),
        torch.zeros(2000, 8, dtype=torch.int64),
    )
    torch.manual_seed(1)
    drawn, again = scheme.read(tokens).double(), scheme.read(tokens)
    assert drawn.shape == (2000, 8) and not torch.equal(drawn.float(), again)
    torch.manual_seed(1)
    assert torch.equal(scheme.read(tokens).double(), drawn)
    steps = drawn.diff(dim=-1)
    assert (steps > 0).all(), "half a token of jitter never changes the order"
    scale = (drawn[:, -1] - drawn[:, 0]) / 7
    assert 0.5 * 6 / 7 <= scale.min() < 0.6 and 1.8 < scale.max() <= 2 * 8 / 7
    first = drawn[:, 0] / scale
    assert -135 < first.min() < -90 and 90 < first.max() < 135 and abs(first.mean()) < 8
    still = make("cape", global_shift=0.0, local_shift=0.0, max_scale=1.0).train()
    assert torch.equal(still.read(tokens), torch.arange(8.0).expand(2000, 8))


# BiPE ---------------------------------------------------------------------------------------------


def lines(length: int, batch: int = 2) -> torch.Tensor:
    """Tokens (B, T) 0..9, of which 3 and 7 end segments."""
    return torch.randint(0, 10, (batch, length), generator=torch.Generator().manual_seed(2))


def segments_of(tokens) -> tuple[list[list[int]], list[list[int]]]:
    """(segment of each token, its place there), token after token."""
    segments, places = [], []
    for row in tokens.tolist():
        segment, place, found = 0, 0, []
        for token in row:
            found.append((segment, place))
            ended = token in (3, 7)
            segment, place = (segment + 1, 0) if ended else (segment, place + 1)
        segments.append([s for s, _ in found])
        places.append([p for _, p in found])
    return segments, places


def turned_by_gptj(x, positions):
    """x (B, H, T, D) as GPT-J turns it at positions (B, T)."""
    from transformers.models.gptj import modeling_gptj as theirs

    table = theirs.create_sinusoidal_positions(int(positions.max()) + 1, D)
    sin, cos = table[positions].chunk(2, dim=-1)
    return theirs.apply_rotary_pos_emb(x.transpose(1, 2), sin, cos).transpose(1, 2)


def test_bipe_segments_and_places():
    tokens = lines(LONG)
    scheme = make("bipe", separators=[3, 7])
    assert scheme.read(tokens).tolist() == list(segments_of(tokens))
    unbroken = scheme.read(torch.zeros(1, 5, dtype=torch.int64))
    assert unbroken.tolist() == [[[0] * 5], [[0, 1, 2, 3, 4]]]


def test_bipe_rope_equals_transformers_at_the_segments():
    tokens, (q, k, _, _) = lines(300), text(300)
    scheme = make("bipe", separators=[3, 7])
    positions = scheme.read(tokens)
    for ours, before in zip(scheme.rotate(q, k, positions, 0), (q, k), strict=True):
        wanted = turned_by_gptj(before, torch.tensor(segments_of(tokens)[0]))
        compare("bipe", "transformers", "queries and keys, 60 segments", ours, wanted, 1e-4)


def test_bipe_alibi_equals_transformers_slopes_and_its_loop():
    T, tokens = 40, lines(40)
    scheme = make("bipe", inter="alibi", separators=[3, 7], n_heads=6)
    bias = scheme.biases(scheme.read(tokens))
    assert bias[0] is bias[1]
    sums, segments = bias[0].cumulative, segments_of(tokens)[0]
    ours = sums[..., :, None] - sums[..., None, :]
    wanted = torch.zeros(2, 6, T, T, dtype=torch.float64)
    slopes = [2.0**-power for power in (2, 4, 6, 8, 1, 3)]
    for b in range(2):
        for h in range(6):
            for i in range(T):
                for j in range(T):
                    wanted[b, h, i, j] = -96 * slopes[h] * (segments[b][i] - segments[b][j])
    compare("bipe", "float64 loop", "ALiBi between segments, 40 tokens", ours, wanted, 1e-9)
    theirs = -96 * mpt_slopes(6)[:, None] * torch.tensor(segments, dtype=torch.float64)[:, None]
    compare("bipe", "transformers", "ALiBi between segments, running sums", sums, theirs, 1e-9)


@pytest.mark.parametrize("intra", ["learned", "sinusoidal"])
def test_bipe_inside_a_segment_equals_its_loop(intra):
    tokens, x = lines(60), torch.randn(2, 60, E, dtype=torch.float64)
    scheme = make("bipe", separators=[3, 7], intra=intra, rows=6)
    wanted = torch.zeros(2, 60, E, dtype=torch.float64)
    for b, row in enumerate(segments_of(tokens)[1]):
        assert max(row) > 6, "some segment outgrows the table"
        for i, place in enumerate(row):
            if intra == "learned":
                wanted[b, i] = x[b, i] + scheme.table[min(place, 5)].detach()
            else:
                angles = [place / 10000 ** (2 * c / E) for c in range(E // 2)]
                code = [wave for angle in angles for wave in (math.sin(angle), math.cos(angle))]
                wanted[b, i] = math.sqrt(E) * x[b, i] + torch.tensor(code, dtype=torch.float64)
    compare(
        "bipe",
        "float64 loop",
        "input, 60 tokens",
        scheme.embed(x, scheme.read(tokens)).detach(),
        wanted,
        1e-12,
    )


# Random positions ---------------------------------------------------------------------------------


def test_randomised_rope_equals_transformers_at_the_drawn_positions():
    q, k, _, _ = text(100)
    scheme = make("randomised").eval()
    positions = scheme.read(torch.zeros(2, 100, dtype=torch.int64))
    assert positions.shape == (2, 100) and not torch.equal(positions[0], positions[1])
    for layer in range(2):
        for ours, before in zip(scheme.rotate(q, k, positions, layer), (q, k), strict=True):
            wanted = turned_by_gptj(before, positions[layer].expand(2, 100))
            compare(
                "randomised",
                "transformers",
                "queries and keys, RoPE, positions below 512",
                ours,
                wanted,
                1e-3,
            )


@pytest.mark.parametrize("inner", ["alibi", "t5_bias", "fire"])
def test_randomised_biases_are_the_inner_ones_at_the_drawn_positions(inner):
    scheme = make("randomised", inner=inner, n_heads=2).eval()
    places = scheme.read(torch.zeros(1, 30, dtype=torch.int64))
    for layer, bias in enumerate(scheme.biases(places)):
        drawn, wanted = places[layer].tolist(), torch.zeros(2, 30, 30, dtype=torch.float64)
        for i in range(30):
            for j in range(i + 1):
                if inner == "fire":
                    at = torch.tensor([drawn[i]]), torch.tensor([drawn[j]])
                    wanted[:, i, j] = scheme.inner.rows(*at, layer)[:, 0, 0].detach()
                elif inner == "alibi":
                    wanted[:, i, j] = torch.tensor(
                        [-(2.0 ** (-4 * h)) * (drawn[i] - drawn[j]) for h in (1, 2)]
                    )
                else:
                    wanted[:, i, j] = bias_of(scheme.inner, [drawn[i] - drawn[j]])[:, 0]
        ours = torch.cat(
            [
                torch.nn.functional.pad(bias.block(first, first + 10), (0, 20 - first))
                for first in (0, 10, 20)
            ],
            dim=1,
        )
        compare("randomised", "float64 loop", "bias, 30 tokens", ours.detach().tril(), wanted, 1e-5)


def test_randomised_draws():
    scheme = make("randomised", evaluation_draws=3, max_position=200)
    tokens = torch.zeros(1, 64, dtype=torch.int64)
    torch.manual_seed(3)
    trained = [scheme.train().read(tokens) for _ in range(2)]
    assert not torch.equal(*trained)
    torch.manual_seed(3)
    assert torch.equal(scheme.read(tokens), trained[0])
    state, evaluated = torch.get_rng_state(), {}
    for draw in (2, 0, 1, 0):  # no order matters, and training's generator is left alone
        scheme.eval().use_draw(draw)
        scheme.read(tokens[:, :9])
        found = scheme.read(tokens)
        assert torch.equal(found, evaluated.setdefault(draw, found))
    assert torch.equal(torch.get_rng_state(), state) and scheme.draws == 3
    assert not torch.equal(evaluated[0], evaluated[1]) and not torch.equal(
        evaluated[1], evaluated[2]
    )
    for positions in (*trained, *evaluated.values()):
        assert (
            positions.shape == (2, 64)
            and (positions.diff(dim=-1) > 0).all()
            and positions.min() >= 0
            and positions.max() < 200
        )
        assert not torch.equal(positions[0], positions[1])
    assert torch.equal(scheme.read(torch.zeros(1, 200, dtype=torch.int64))[0], torch.arange(200))
    once = make("randomised", per_layer_draws=False).eval().read(tokens)
    assert torch.equal(once[0], once[1])
    at_input = make("randomised", inner="learned").eval()
    assert at_input.inner.table.shape == (512, E) and torch.equal(*at_input.read(tokens))


def test_randomised_positions_are_uniform():
    """Each of M positions is drawn with the chance T / M."""
    scheme, counts = make("randomised", max_position=64, train_length=16).train(), torch.zeros(64)
    torch.manual_seed(4)
    for _ in range(2000):
        counts[scheme.drawn(16, 0, torch.device("cpu"))] += 1
    assert (counts / 2000 - 0.25).abs().max() < 0.05
