"""Schemes that read the text (FoX, CABLE, CoPE, DAPE, stick-breaking, PaTH, selective, GRAPE,
selective RoPE) against other people's implementations and against their papers' formulas as plain
loops in float64; what equals what; and the contract of `logits` and `gates`.

Shape letters: B batch, T positions, H heads, D head size, E width.
"""

import contextlib
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from lengthgen import schemes
from lengthgen.attention.kernels import general
from lengthgen.schemes.base import Scheme
from lengthgen.schemes.broken_stick import weights as broken
from lengthgen.schemes.path import path_scores

from .oracle import compare
from .scheme_cases import bias_of, make

B, H, D, E = 2, 2, 16, 32
LONG = 8192


def text(
    length: int, seed: int = 0, batch: int = B, heads: int = H, size: int = D
) -> tuple[torch.Tensor, ...]:
    """q, k, v (B, H, T, D) and the normalised input x (B, T, H D), float64."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (
        1.5 * torch.randn(batch, heads, length, size, generator=generator, dtype=torch.float64)
        for _ in range(3)
    )
    return (
        q,
        k,
        v,
        functional.layer_norm(
            torch.randn(batch, length, heads * size, generator=generator, dtype=torch.float64),
            (heads * size,),
        ),
    )


def scores_of(scheme: Scheme, q, k, x, layer: int = 1) -> torch.Tensor:
    """(B, H, T, T), -inf above the diagonal, however the scheme makes them."""
    length = q.shape[2]
    positions = scheme.positions(length, q.device)
    q, k = scheme.steer(*scheme.rotate(q, k, positions, layer), x, layer)
    if scheme.general(layer):
        scores = scheme.logits(q, k, x, positions, layer, 0)
    else:
        scores = q @ k.mT * scheme.score_scale
        gates = scheme.gates(x, layer)
        if gates is not None:
            total, weights = gates.double().cumsum(-1), scheme.gate_weights(x, layer)
            between = total[..., :, None] - total[..., None, :]
            scores = scores + (between if weights is None else weights[..., None] * between)
        elif scheme.structure == "toeplitz":
            places = torch.arange(length)
            scores = (
                scores + bias_of(scheme, places, layer)[:, (places[:, None] - places).clamp(min=0)]
            )
    return scores.detach().masked_fill(
        ~torch.ones(length, length, dtype=torch.bool).tril(), -math.inf
    )


def looped(length: int, score, batch: int = 1) -> torch.Tensor:
    """(batch, H, T, T) of score(b, h, i, j), -inf above the diagonal."""
    found = torch.full((batch, H, length, length), -math.inf, dtype=torch.float64)
    for b in range(batch):
        for h in range(H):
            for i in range(length):
                for j in range(i + 1):
                    found[b, h, i, j] = score(b, h, i, j)
    return found


def kept(scores: torch.Tensor) -> torch.Tensor:
    """The scores that are not masked, in one row."""
    return scores[..., torch.ones(scores.shape[-2:], dtype=torch.bool).tril()]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def softplus(z: float) -> float:
    return math.log1p(math.exp(z))


def dot(a, b) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


# FoX and CABLE ------------------------------------------------------------------------------------


def forgetting(scheme: Scheme, sign: float) -> nn.Module:
    """x-transformers' data-dependent ALiBi with the weights of layer 1."""
    from x_transformers.x_transformers import DataDependentAlibi

    theirs = DataDependentAlibi(E, H).double()
    with torch.no_grad():
        theirs.to_forget_gates[0].weight.copy_(sign * scheme.weight[1])
        theirs.to_forget_gates[0].bias.copy_(sign * scheme.bias[1])
    return theirs


def test_fox_equals_x_transformers():
    q, k, _, x = text(1024)
    scheme = make("fox", init_std=0.5, bias_init=2.0)
    theirs = q @ k.mT * D**-0.5 + forgetting(scheme, 1.0)(x)
    compare(
        "fox",
        "x-transformers",
        "scores, 1,024 tokens",
        kept(scores_of(scheme, q, k, x)),
        kept(theirs.detach()),
        1e-9,
    )


def test_fox_equals_its_loop():
    q, k, _, x = text(40)
    scheme = make("fox", init_std=0.5, bias_init=1.0)
    weight, bias = scheme.weight[1].tolist(), scheme.bias[1].tolist()
    forget = [
        [math.log(sigmoid(dot(weight[h], x[0, t]) + bias[h])) for t in range(40)] for h in range(H)
    ]

    def score(b, h, i, j):
        return dot(q[b, h, i], k[b, h, j]) / math.sqrt(D) + sum(forget[h][j + 1 : i + 1])

    compare(
        "fox",
        "float64 loop",
        "scores, 40 tokens",
        kept(scores_of(scheme, q, k, x)[:1]),
        kept(looped(40, score)),
        1e-12,
    )


def test_fox_at_8192_tokens():
    """Far sums keep what float32 would lose:
    bias_only against a plain sum of one number, full against a running sum in exact order.
    """
    scheme = make("fox", init_std=0.5)
    x = text(LONG, batch=1)[3]
    weight, bias = scheme.weight[0].detach().double(), scheme.bias[0].detach().double()
    total = scheme.gates(x, 0).detach().double().cumsum(-1)
    for h in range(H):
        forget = [-softplus(-z) for z in (x[0] @ weight[h] + bias[h]).tolist()]
        ours = torch.stack([total[0, h, -1] - total[0, h, j] for j in (0, 4096, LONG - 2)])
        wanted = torch.tensor(
            [math.fsum(forget[j + 1 :]) for j in (0, 4096, LONG - 2)], dtype=torch.float64
        )
        compare("fox", "float64 loop", "sums of gates, 8,192 tokens", ours, wanted, 1e-8)
    alone = make("fox", gate="bias_only", n_heads=4)
    rates = [math.log(sigmoid(b)) for b in alone.bias[1].tolist()]
    wanted = torch.tensor(
        [[rate * n for n in (0, 1, 513, LONG - 1)] for rate in rates], dtype=torch.float64
    )
    ours = bias_of(alone, [0, 1, 513, LONG - 1], 1)
    compare(
        "fox",
        "float64 loop",
        "bias_only / largest, offsets to 8,191",
        ours / wanted.abs().max(),
        wanted / wanted.abs().max(),
        1e-6,
    )


@pytest.mark.parametrize("n_heads", [1, 2, 4, 8, 16])
def test_fox_fixed_is_alibi(n_heads):
    offsets = torch.arange(LONG)
    fixed, alibi = (
        bias_of(make(name, n_heads=n_heads, **options), offsets)
        for name, options in (("fox", {"gate": "fixed"}), ("alibi", {}))
    )
    assert torch.allclose(fixed, alibi, rtol=1e-6, atol=0)


def test_fox_gates_of_the_three_kinds_meet():
    """bias_only starts as fixed; full without weights is bias_only.

    Official time constants are spaced as given.
    """
    offsets = torch.arange(500)
    alone, fixed, full = (
        make("fox", gate="bias_only", n_heads=4),
        make("fox", gate="fixed", n_heads=4),
        make("fox", init_std=0.0, n_heads=4),
    )
    assert torch.allclose(bias_of(alone, offsets), bias_of(fixed, offsets), rtol=1e-5)
    with torch.no_grad():
        full.weight.zero_()
        full.bias.copy_(alone.bias)
    total = full.gates(torch.randn(1, 500, 4 * D), 1)[0].double().cumsum(-1)
    assert torch.allclose(total - total[:, :1], bias_of(alone, offsets, 1).double(), rtol=1e-5)
    assert make(
        "fox", gate="fixed", shortest=2.0, longest=128.0, n_heads=4
    ).times().tolist() == pytest.approx([2, 8, 32, 128])


def test_fox_with_rope_turns_queries_and_keys_as_rope_does():
    q, k, *_ = text(24)
    positions = torch.arange(24)
    for ours, theirs in zip(
        make("fox", rope=True).rotate(q, k, positions, 1),
        make("rope").rotate(q, k, positions, 1),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_cable_without_weights_equals_x_transformers_and_fox():
    q, k, _, x = text(1024)
    scheme, fox = make("cable", weighted=False, activation="softplus", init_std=0.5), make("fox")
    theirs = q @ k.mT * D**-0.5 + forgetting(scheme, -1.0)(x)
    ours = scores_of(scheme, q, k, x)
    compare(
        "cable",
        "x-transformers",
        "scores without weights, 1,024 tokens",
        kept(ours),
        kept(theirs.detach()),
        1e-9,
    )
    with torch.no_grad():
        fox.weight.copy_(-scheme.weight)
        fox.bias.copy_(-scheme.bias)
    assert torch.allclose(kept(scores_of(fox, q, k, x)), kept(ours), atol=1e-9)


@pytest.mark.parametrize(
    ("activation", "weighted"), [("relu", True), ("softplus", True), ("relu", False)]
)
def test_cable_equals_its_loop(activation, weighted):
    q, k, _, x = text(40)
    scheme = make("cable", activation=activation, weighted=weighted, init_std=0.5)
    act = softplus if activation == "softplus" else lambda z: max(z, 0.0)
    p = {name: value[1].tolist() for name, value in scheme.named_parameters()}
    steps = [
        [act(dot(p["weight"][h], x[0, t]) + p["bias"][h]) for t in range(40)] for h in range(H)
    ]

    def score(b, h, i, j):
        weight = (
            softplus(dot(p["scale_weight"][h], x[0, i]) + p["scale_bias"][h]) if weighted else 1.0
        )
        return dot(q[b, h, i], k[b, h, j]) / math.sqrt(D) - weight * sum(steps[h][j + 1 : i + 1])

    compare(
        "cable",
        "float64 loop",
        "scores, 40 tokens",
        kept(scores_of(scheme, q, k, x)[:1]),
        kept(looped(40, score)),
        1e-12,
    )


# CoPE ---------------------------------------------------------------------------------------------


def test_cope_equals_x_transformers():
    from x_transformers.x_transformers import CoPE

    q, k, _, x = text(512)
    scheme = make("cope", max_position=40)
    theirs = CoPE(D, H, 40).double()
    with torch.no_grad():
        theirs.pos_emb.copy_(scheme.table[1])
    scores = (q @ k.mT * D**-0.5).masked_fill(
        torch.ones(512, 512, dtype=torch.bool).triu(1), -torch.finfo(torch.float64).max
    )
    compare(
        "cope",
        "x-transformers",
        "scores, 512 tokens",
        kept(scores_of(scheme, q, k, x)),
        kept((scores + theirs(q, scores)).detach()),
        1e-10,
    )


def test_cope_equals_its_loop():
    q, k, _, x = text(40)
    scheme = make("cope", max_position=7)
    table = scheme.table[1].detach().double()

    def score(b, h, i, j):
        position = min(
            6.0, sum(sigmoid(dot(q[b, h, i], k[b, h, t]) / math.sqrt(D)) for t in range(j, i + 1))
        )
        below, share = math.floor(position), position - math.floor(position)
        vector = (
            table[below] if share == 0 else (1 - share) * table[below] + share * table[below + 1]
        )
        return dot(q[b, h, i], k[b, h, j]) / math.sqrt(D) + dot(q[b, h, i], vector)

    compare(
        "cope",
        "float64 loop",
        "scores, 40 tokens",
        kept(scores_of(scheme, q, k, x)[:1]),
        kept(looped(40, score)),
        1e-12,
    )


def test_cope_counts_tokens_where_every_gate_is_open():
    """Then its positions are distances: i - j + 1, as far as there are vectors."""
    scheme = make("cope", max_position=12)
    counts = scheme.counts(torch.full((1, H, 5, 30), 100.0), first=25)
    for row in range(5):
        wanted = [min(11.0, 25 + row - j + 1) for j in range(26 + row)]
        assert counts[0, 0, row, : 26 + row].tolist() == pytest.approx(wanted)


# DAPE ---------------------------------------------------------------------------------------------


def network(scheme: Scheme) -> nn.Module:
    """DAPE's network of layer 1 for the windows of `kernel` keys, last dimension first the channel
    and then the key.
    """
    hidden, wide = (
        nn.Linear(scheme.hidden_weight[1, 0].numel(), scheme.config.hidden),
        scheme.out_weight[1, 0].numel(),
    )
    out = nn.Linear(wide, H)
    with torch.no_grad():
        for layer, part in ((hidden, "hidden"), (out, "out")):
            layer.weight.copy_(getattr(scheme, f"{part}_weight")[1].flatten(1))
            layer.bias.copy_(getattr(scheme, f"{part}_bias")[1])
    return nn.ModuleList([hidden, nn.LeakyReLU(), out]).double()


@pytest.mark.parametrize(
    ("inner", "kernel"),
    [("alibi", 1), ("kerple_log", 1), ("fire", 1), ("alibi", 3), ("kerple_log", 3), ("fire", 5)],
)
def test_dape_equals_linear_layers_over_windows_of_keys(inner, kernel):
    length, half = 48, kernel // 2
    q, k, _, x = text(length)
    scheme = make("dape", inner=inner, kernel=kernel, hidden=6)
    places, future = (
        torch.arange(length),
        torch.ones(length, length + half, dtype=torch.bool).triu(1),
    )
    if inner == "fire":
        bias = scheme.inner.rows(places, places, 1)
    else:
        bias = bias_of(scheme.inner, places, 0)[:, (places[:, None] - places).clamp(min=0)]
    scores = q @ k.mT * D**-0.5
    seen = torch.cat((scores, bias.detach().double().expand_as(scores)), dim=1)
    seen = functional.pad(seen, (0, half)).masked_fill(
        future, 0.0
    )  # as inside a longer window, whose later keys are 0
    hidden_layer, bend, out_layer = network(scheme)
    windows = functional.pad(seen, (half, half)).unfold(
        -1, kernel, 1
    )  # (B, 2H, T, T + half, kernel)
    hidden = bend(
        hidden_layer(windows.permute(0, 2, 3, 1, 4).flatten(-2))
    )  # (B, T, T + half, hidden)
    windows = (
        functional.pad(hidden, (0, 0, half, 0)).unfold(2, kernel, 1).flatten(-2)
    )  # (B, T, T, hidden * kernel)
    theirs = scores + bias + out_layer(windows).permute(0, 3, 1, 2)
    compare(
        "dape",
        "torch.nn.Linear",
        f"scores on {inner}, kernel {kernel}",
        kept(scores_of(scheme, q, k, x)),
        kept(theirs.detach()),
        1e-6,
    )


@pytest.mark.parametrize("kernel", [1, 3])
def test_dape_equals_its_loop(kernel):
    length, half, n_hidden = 9, kernel // 2, 3
    q, k, _, x = text(length)
    scheme = make("dape", inner="alibi", kernel=kernel, hidden=n_hidden)
    slopes = (-bias_of(scheme.inner, [1])[:, 0]).tolist()
    names = ("hidden_weight", "hidden_bias", "out_weight", "out_bias")
    w1, b1, w2, b2 = (getattr(scheme, name)[1].tolist() for name in names)

    def channel(b, c, i, j):
        if j < 0 or j > i:
            return 0.0
        return dot(q[b, c, i], k[b, c, j]) / math.sqrt(D) if c < H else -slopes[c - H] * (i - j)

    def unit(b, u, i, j):
        if j < 0:
            return 0.0
        z = b1[u] + sum(
            w1[u][c][s] * channel(b, c, i, j + s - half)
            for c in range(2 * H)
            for s in range(kernel)
        )
        return z if z > 0 else 0.01 * z

    def score(b, h, i, j):
        added = b2[h] + sum(
            w2[h][u][s] * unit(b, u, i, j + s - half)
            for u in range(n_hidden)
            for s in range(kernel)
        )
        return channel(b, h, i, j) + channel(b, H + h, i, j) + added

    compare(
        "dape",
        "float64 loop",
        f"scores, 9 tokens, kernel {kernel}",
        kept(scores_of(scheme, q, k, x)[:1]),
        kept(looped(length, score)),
        1e-6,
    )


def test_dape_is_the_official_form_inside_a_window_and_differs_in_the_last_row():
    """There the hidden units past a window's end are zero, so a row's scores would depend on how
    long the window is.
    """
    length = 32
    q, k, _, x = text(length)
    scheme = make("dape", inner="alibi", kernel=3, hidden=6)
    places = torch.arange(length)
    bias = bias_of(scheme.inner, places)[:, (places[:, None] - places).clamp(min=0)].double()
    scores = q @ k.mT * D**-0.5
    first, second = (
        nn.Conv2d(*sizes, (1, 3), padding=(0, 1)).double() for sizes in ((2 * H, 6), (6, H))
    )
    with torch.no_grad():
        for layer, part in ((first, "hidden"), (second, "out")):
            layer.weight.copy_(getattr(scheme, f"{part}_weight")[1][:, :, None])
            layer.bias.copy_(getattr(scheme, f"{part}_bias")[1])
    official = (
        scores
        + bias
        + second(
            functional.leaky_relu(first(torch.cat((scores, bias.expand_as(scores)), dim=1).tril()))
        )
    )
    difference = (
        (scores_of(scheme, q, k, x) - official).tril().abs().nan_to_num(0.0).amax((0, 1, 3))
    )
    assert difference[:-1].max() < 1e-6 < 1e-3 < difference[-1]


def test_dape_without_its_network_is_the_inner_scheme():
    q, k, _, x = text(32)
    for inner, options in (
        ("alibi", {}),
        ("kerple_log", {"per_layer": True}),
        ("t5_bias", {"scale_scores": False}),
    ):
        scheme = make("dape", inner=inner, inner_options=options)
        with torch.no_grad():
            scheme.out_weight.zero_()
            scheme.out_bias.zero_()
        assert torch.allclose(
            kept(scores_of(scheme, q, k, x)), kept(scores_of(scheme.inner, q, k, x)), atol=1e-6
        )


# Stick-breaking -----------------------------------------------------------------------------------


def attended(scheme: Scheme, q, k, v, x, layer: int = 1) -> torch.Tensor:
    """What the scheme mixes, through the kernel that serves it."""
    positions = scheme.positions(q.shape[2], q.device)
    return general.attend(
        q, k, v,
        lambda q, k, first: scheme.logits(q, k, x, positions, layer, first),
        lambda z, v, first: scheme.mix(z, v, layer, first),
        scheme.span(layer), scheme.by_rows,
    ).detach()  # fmt: skip


@pytest.mark.parametrize("attend_current", [False, True])
@pytest.mark.parametrize("remainder", ["value", "drop"])
def test_stick_breaking_equals_torch_distributions(attend_current, remainder):
    """torch's transform of K numbers into K + 1 shares of a stick.

    It adds a logarithm to each number, which is taken off here.
    """
    length = 200
    q, k, v, x = text(length)
    scores, transform = q @ k.mT * D**-0.5, torch.distributions.StickBreakingTransform()
    theirs = torch.zeros_like(v)
    for i in range(length):
        keys = list(range(i, -1, -1)) if attend_current else list(range(i - 1, -1, -1))
        if keys:
            numbers = scores[:, :, i, keys]
            shares = transform(numbers + torch.arange(len(keys), 0, -1, dtype=torch.float64).log())
            theirs[:, :, i] = (shares[..., :-1, None] * v[:, :, keys]).sum(2)
        rest = shares[..., -1:] if keys else 1.0
        theirs[:, :, i] += rest * v[:, :, i] if remainder == "value" else 0.0
    ours = attended(
        make("stick_breaking", attend_current=attend_current, remainder=remainder), q, k, v, x
    )
    compare("stick_breaking", "torch.distributions", "outputs, 200 tokens", ours, theirs, 1e-12)


@pytest.mark.parametrize("attend_current", [False, True])
def test_stick_breaking_equals_its_loop(attend_current):
    length = 24
    q, k, v, x = text(length)
    wanted = torch.zeros_like(v[:1])
    for h in range(H):
        for i in range(length):
            left = 1.0
            for j in range(i if attend_current else i - 1, -1, -1):
                share = sigmoid(dot(q[0, h, i], k[0, h, j]) / math.sqrt(D))
                wanted[0, h, i] += left * share * v[0, h, j]
                left *= 1 - share
            wanted[0, h, i] += left * v[0, h, i]
    ours = attended(make("stick_breaking", attend_current=attend_current), q, k, v, x)
    compare("stick_breaking", "float64 loop", "outputs, 24 tokens", ours[:1], wanted, 1e-12)


def test_a_stick_is_broken_safely():
    """Logits of any size and masked keys.

    Weights and gradients stay finite, weights sum to at most 1, hidden keys take nothing.
    """
    logits = torch.tensor(
        [[-1e4, 1e4, 0.0, -1e4, 1e4], [50.0, -math.inf, 0.0, -math.inf, -math.inf]],
        requires_grad=True,
    )
    weights = broken(logits)
    assert weights.tolist() == [
        pytest.approx([0, 0, 0, 0, 1]),
        pytest.approx([0.5, 0, 0.5, 0, 0], rel=1e-5),
    ]
    weights.square().sum().backward()
    assert logits.grad.isfinite().all() and logits.grad[1, 1] == 0
    thin = broken(torch.full((1, LONG), -20.0))
    assert thin.isfinite().all() and thin.sum().item() == pytest.approx(
        1 - (1 - sigmoid(-20)) ** LONG, rel=1e-3
    )
    assert torch.autograd.gradcheck(
        broken, torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    )


# PaTH ---------------------------------------------------------------------------------------------


def reflected(length: int, seed: int = 0):
    """q, k, w of length 1, and beta in (0, 2), float64."""
    q, k, w, _ = text(length, seed)
    beta = 2 * torch.rand(
        B, H, length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return q, k, functional.normalize(w, dim=-1), beta


@pytest.mark.parametrize(
    ("length", "block"), [(1, 64), (63, 64), (64, 64), (65, 64), (150, 64), (40, 7)]
)
def test_path_equals_the_naive_product_of_matrices(length, block):
    q, k, w, beta = reflected(length)
    wanted = torch.zeros(B, H, length, length, dtype=torch.float64)
    for b in range(B):
        for h in range(H):
            matrices = (
                torch.eye(D, dtype=torch.float64)
                - beta[b, h, :, None, None] * w[b, h, :, :, None] * w[b, h, :, None, :]
            )
            for j in range(length):
                key = k[b, h, j]
                for i in range(j, length):
                    key = matrices[i] @ key if i > j else key
                    wanted[b, h, i, j] = q[b, h, i] @ key
    compare(
        "path",
        "float64 loop",
        "scores, to 150 tokens",
        kept(path_scores(q, k, w, beta, 0, block)),
        kept(wanted),
        1e-12,
    )


def test_path_equals_the_delta_rule_of_transformers():
    """A key put into an empty state and carried on by the delta rule, with nothing written, is the
    key that PaTH meets.
    """
    from transformers.models.qwen3_next.modeling_qwen3_next import (
        torch_recurrent_gated_delta_rule as carry,
    )

    length = 80
    q, k, w, beta = (part.float() for part in reflected(length))
    wanted = torch.zeros(B, H, length, length)
    for j in range(length):
        wanted[:, :, j, j] = (q[:, :, j] * k[:, :, j]).sum(-1)
        if j + 1 < length:
            turned = [
                part[:, :, j + 1 :].transpose(1, 2)
                for part in (q, w, torch.zeros_like(q[..., :1]), torch.zeros_like(beta), beta)
            ]
            out, _ = carry(
                *turned, initial_state=k[:, :, j, :, None]
            )  # it divides queries by sqrt(D)
            wanted[:, :, j + 1 :, j] = out[..., 0].transpose(1, 2) * D**0.5
    ours = path_scores(q, k, w, beta, 0)
    compare(
        "path",
        "transformers",
        "scores / largest, 80 tokens, float32",
        kept(ours) / wanted.max(),
        kept(wanted) / wanted.max(),
        1e-6,
    )


def test_path_as_a_whole_equals_its_loop():
    """w by the convolution, beta, the gate and where it is divided: from the text to the scores."""
    length = 24
    q, k, _, x = text(length)
    for inside in (True, False):
        scheme = make("path", rank=4, forget_gate=True, gate_inside=inside, init_std=0.5)
        p = {name: value[1].detach().double() for name, value in scheme.named_parameters()}
        low = [p["up"] @ (p["down"] @ x[0, t]) for t in range(length)]
        w, beta, gate = [], [], []
        for t in range(length):
            u = sum(p["conv"][:, s] * low[t - 2 + s] for s in range(3) if t - 2 + s >= 0)
            u = (u * torch.sigmoid(u)).view(H, D)
            w.append(u / (u.square().sum(-1, keepdim=True) + 1e-6).sqrt())
            beta.append(
                [
                    2 * sigmoid(dot(p["beta_weight"][h], x[0, t]) + float(p["beta_bias"][h]))
                    for h in range(H)
                ]
            )
            gate.append(
                [
                    math.log(sigmoid(dot(p["gate_weight"][h], x[0, t]) + float(p["gate_bias"][h])))
                    for h in range(H)
                ]
            )

        def score(b, h, i, j, w=w, beta=beta, gate=gate, inside=inside):
            key = k[b, h, j]
            for t in range(j + 1, i + 1):
                key = key - beta[t][h] * w[t][h] * (w[t][h] @ key)
            forgotten = sum(gate[t][h] for t in range(j + 1, i + 1))
            met = float(q[b, h, i] @ key)
            return (met + forgotten) / math.sqrt(D) if inside else met / math.sqrt(D) + forgotten

        ours = scores_of(scheme, q, k, x)[:1]
        compare(
            "path",
            "float64 loop",
            "scores with a gate, from the text",
            kept(ours),
            kept(looped(length, score)),
            1e-10,
        )


def test_path_without_reflections_is_no_positions_and_with_a_gate_is_fox():
    q, k, _, x = text(100)
    scheme, fox = make("path", forget_gate=True, gate_inside=False, init_std=0.3), make("fox")
    with torch.no_grad():
        scheme.beta_bias.fill_(-1000.0)
        fox.weight.copy_(scheme.gate_weight)
        fox.bias.copy_(scheme.gate_bias)
    assert torch.allclose(
        kept(scores_of(scheme, q, k, x)), kept(scores_of(fox, q, k, x)), atol=1e-9
    )
    with torch.no_grad():
        scheme.gate_bias.fill_(1000.0)
    assert torch.allclose(kept(scores_of(scheme, q, k, x)), kept(q @ k.mT * D**-0.5), atol=1e-9)


def test_path_scores_have_the_gradients_of_their_function():
    parts = [
        part[:1, :1, :7, :3].contiguous() if part.ndim == 4 else part[:1, :1, :7].contiguous()
        for part in reflected(7)
    ]
    for part in parts:
        part.requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: path_scores(*given, 0, block=3).tril(), parts)


# Selective attention ------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["none", "rope"])
def test_selective_equals_x_transformers(inner):
    from x_transformers.attend import Attend

    q, k, v, x = text(256)
    scheme = make("selective", inner=inner)
    q, k = scheme.rotate(q, k, torch.arange(256), 1)
    theirs, _ = Attend(heads=H, causal=True, selective=True, scale=D**-0.5).double()(q, k, v)
    compare(
        "selective",
        "x-transformers",
        "outputs, 256 tokens (its softmax is float32)",
        attended(scheme, q, k, v, x),
        theirs,
        1e-5,
    )


def test_selective_equals_its_loop():
    length = 30
    q, k, _, x = text(length)

    def plain(b, h, i, j):
        return dot(q[b, h, i], k[b, h, j]) / math.sqrt(D)

    def score(b, h, i, j):
        masked = sum(max(0.0, plain(b, 0, row, j)) for row in range(j + 1, i)) if j > 0 else 0.0
        return plain(b, h, i, j) - masked

    compare(
        "selective",
        "float64 loop",
        "scores, 30 tokens",
        kept(scores_of(make("selective"), q, k, x)[:1]),
        kept(looped(length, score)),
        1e-11,
    )


def test_selective_attention_leaves_every_row_something():
    """The first key and the row's own are never masked, however much is selected."""
    q, k, v, x = (part.float() for part in text(600))
    scores = scores_of(make("selective"), 100 * q, 100 * k, x)
    plain = scores_of(make("none"), 100 * q, 100 * k, x)
    assert torch.equal(scores[..., 0], plain[..., 0])
    assert torch.equal(scores.diagonal(dim1=-2, dim2=-1), plain.diagonal(dim1=-2, dim2=-1))
    assert attended(make("selective"), 100 * q, 100 * k, v, x).isfinite().all()


# GRAPE --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalise", [False, True])
def test_grape_path_equals_x_transformers(normalise):
    """Its per-row ALiBi sums from the key to the token before the query:
    given each token's successor, that is GRAPE's sum.
    """
    from x_transformers.x_transformers import PerRowDataDependentAlibi

    length = 256
    q, k, _, x = text(length)
    scheme = make("grape", normalise_query=normalise, init_factor=2.0)
    p = (
        functional.linear(x, scheme.weight[1].detach().double())
        .view(B, length, H, 8)
        .transpose(1, 2)
    )
    even = p / p.square().mean(-1, keepdim=True).sqrt()
    turn = torch.polar(
        torch.ones(length, dtype=torch.float64), torch.arange(length, dtype=torch.float64)
    )[:, None]
    pairs = torch.complex(even[..., :4], even[..., 4:]) * turn
    turned = torch.cat((pairs.real, pairs.imag), dim=-1)
    theirs = PerRowDataDependentAlibi(E, H, dim_head=8)
    theirs.scale = 1 / 8
    theirs.to_forget_gates = nn.Identity()
    bias = theirs.forward.__func__(
        theirs, Pair((even if normalise else p, functional.pad(turned[:, :, 1:], (0, 0, 0, 1))))
    )
    slopes = -bias_of(make("alibi"), [1]).double()[:, :, None]
    wanted = q @ k.mT * D**-0.5 + slopes * bias
    compare(
        "grape",
        "x-transformers",
        "scores, path, 256 tokens",
        kept(scores_of(scheme, q, k, x)),
        kept(wanted),
        1e-6,
    )


class Pair(tuple):
    """(queries, keys) that also knows the shape and the device of their input."""

    __slots__ = ()

    @property
    def shape(self):
        return (B, self[0].shape[2], E)

    @property
    def device(self):
        return self[0].device


@pytest.mark.parametrize("form", ["path", "key", "query", "both"])
def test_grape_equals_its_loop(form):
    length = 30
    q, k, _, x = text(length)
    scheme = make("grape", form=form, init_factor=2.0)
    p = {name: value[1].detach().double() for name, value in scheme.named_parameters()}
    slopes = (-bias_of(make("alibi"), [1])[:, 0]).tolist()

    def penalty(h, i, t):
        """Of token t for query i (path)."""
        probe, token = (p["weight"].view(H, 8, E)[h] @ x[0, place] for place in (i, t))
        token = token / token.square().mean().sqrt()
        a, b = token[:4], token[4:]
        turned = [
            *(a * math.cos(t) - b * math.sin(t)).tolist(),
            *(a * math.sin(t) + b * math.cos(t)).tolist(),
        ]
        return -softplus(-dot(probe, turned) / 8)

    def rate(h, vector, side):
        direction = p[f"{side}_direction"][h]
        return softplus(dot(vector, direction / direction.norm()) / math.sqrt(D))

    def score(b, h, i, j):
        plain = dot(q[b, h, i], k[b, h, j]) / math.sqrt(D)
        if form == "path":
            return plain + slopes[h] * sum(penalty(h, i, t) for t in range(j + 1, i + 1))
        rates = (rate(h, k[b, h, j], "key") if form in ("key", "both") else 0) + (
            rate(h, q[b, h, i], "query") if form in ("query", "both") else 0
        )
        return plain - (i - j) * slopes[h] * softplus(float(p["omega"][h])) * rates

    compare(
        "grape",
        "float64 loop",
        f"scores, {form}, 30 tokens",
        kept(scores_of(scheme, q, k, x)[:1]),
        kept(looped(length, score)),
        1e-6,
    )


@pytest.mark.parametrize("form", ["path", "key", "query", "both"])
def test_grape_without_directions_is_alibi_times_ln_2(form):
    q, k, _, x = text(64)
    scheme = make("grape", form=form)
    with torch.no_grad():
        for name, parameter in scheme.named_parameters():
            if name != "omega":
                parameter.zero_()
    plain = kept(q @ k.mT * D**-0.5)
    times = (2 if form == "both" else 1) * math.log(2)
    assert torch.allclose(
        kept(scores_of(scheme, q, k, x)),
        plain + times * (kept(scores_of(make("alibi"), q, k, x)) - plain),
        atol=1e-4,
    )


# Selective RoPE -----------------------------------------------------------------------------------


def summed_angles(scheme: Scheme, x, step: bool) -> torch.Tensor:
    """(T, H, D/2) of layer 1 and the first sequence, token by token."""
    p = {name: value[1].detach().double() for name, value in scheme.named_parameters()}
    theta = [scheme.config.base ** (-2 * c / D) for c in range(D // 2)]
    total, low, found = torch.zeros(H, D // 2, dtype=torch.float64), [], []
    for t in range(x.shape[1]):
        slices = x[0, t].view(H, D)
        low.append(
            p["up"]
            @ (
                p["down"]
                @ (slices / (slices.square().sum(-1, keepdim=True) + 1e-6).sqrt()).flatten()
            )
        )
        turn = sum(p["conv"][:, s] * low[t - 3 + s] for s in range(4) if t - 3 + s >= 0).view(
            H, D // 2
        )
        total = total + turn + (p["log_step"].exp() if step else 0)
        found.append(total * torch.tensor(theta, dtype=torch.float64))
    return torch.stack(found)


@pytest.mark.parametrize("step", [False, True])
def test_selective_rope_equals_transformers_and_its_loop(step):
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    length = 40
    q, k, _, x = text(length, batch=1)
    scheme = make("selective_rope", step=step, rank=4, init_std=1.0, base=100.0)
    angles = summed_angles(scheme, x, step)
    ours = kept(scores_of(scheme, q, k, x))
    cos, sin = (
        torch.cat((part, part), dim=-1).transpose(0, 1) for part in (angles.cos(), angles.sin())
    )  # (H, T, D)
    theirs = [
        apply_rotary_pos_emb(q[:, h : h + 1], k[:, h : h + 1], cos[h][None], sin[h][None])
        for h in range(H)
    ]
    scores = torch.cat([turned @ key.mT for turned, key in theirs], dim=1) * D**-0.5
    compare("selective_rope", "transformers", "scores, 40 tokens", ours, kept(scores), 1e-10)

    def score(b, h, i, j):
        total = 0.0
        for c in range(D // 2):
            met = (
                complex(q[b, h, i, c], q[b, h, i, c + D // 2])
                * complex(k[b, h, j, c], k[b, h, j, c + D // 2]).conjugate()
            )
            total += (
                met
                * complex(
                    math.cos(angles[i, h, c] - angles[j, h, c]),
                    math.sin(angles[i, h, c] - angles[j, h, c]),
                )
            ).real
        return total / math.sqrt(D)

    compare(
        "selective_rope",
        "float64 loop",
        "scores, 40 tokens",
        ours,
        kept(looped(length, score)),
        1e-10,
    )


def test_selective_rope_that_reads_nothing_is_rope():
    q, k, _, x = text(200)
    scheme, rope = (
        make("selective_rope", step=True, base=10000.0),
        make("rope", layout="half_split"),
    )
    with torch.no_grad():
        scheme.up.zero_()
        scheme.log_step.zero_()
    assert torch.allclose(
        kept(scores_of(scheme, q, k, x)), kept(scores_of(rope, q, k, x)), atol=1e-9
    )


# The contract of `logits`, `gates` and `mix`, for every scheme that has them ----------------------

READERS = [name for name in schemes.names() if make(name).structure in ("gates", "general")]


@pytest.mark.parametrize("name", READERS)
def test_chunks_of_rows_are_rows_of_the_whole(name):
    q, k, v, x = text(150)
    scheme = make(name)
    if not scheme.general(1) or not scheme.by_rows:
        return
    positions = scheme.positions(150, q.device)
    whole = scheme.logits(q, k, x, positions, 1, 0)
    for first, last in ((0, 40), (40, 41), (41, 130), (64, 128), (130, 150)):
        part = scheme.logits(q[:, :, first:last], k[:, :, :last], x, positions, 1, first)
        future = torch.ones(last - first, last, dtype=torch.bool).triu(first + 1)
        assert torch.allclose(
            part.masked_fill(future, 0.0),
            whole[:, :, first:last, :last].masked_fill(future, 0.0),
            atol=1e-9,
        )
        part, seen = (
            part.masked_fill(future, -math.inf),
            whole[:, :, :last, :last].masked_fill(
                torch.ones(last, last, dtype=torch.bool).triu(1), -math.inf
            ),
        )
        mixed = scheme.mix(seen, v[:, :, :last], 1, 0)[:, :, first:]
        assert torch.allclose(scheme.mix(part, v[:, :, :last], 1, first), mixed, atol=1e-9)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("length", [100, 700])
def test_float32_is_close_to_float64_and_finite(name, length):
    q, k, v, x = text(length, batch=1)
    scheme, kernels = make(name), []
    with torch.no_grad():
        for dtype in (torch.float32, torch.float64):
            given = [part.to(dtype) for part in (q, k, v, x)]
            if scheme.general(1):
                kernels.append(attended(scheme, *given))
            else:
                kernels.append(
                    scores_of(scheme, given[0], given[1], given[3]).softmax(-1) @ given[2].double()
                )
    assert kernels[0].isfinite().all()
    assert (kernels[0].double() - kernels[1]).abs().max() < 1e-3


@pytest.mark.parametrize("name", READERS)
def test_text_hooks_stay_on_their_device_and_keep_shapes(name, monkeypatch):
    monkeypatch.setattr(
        torch, "autocast", lambda *_, **__: contextlib.nullcontext()
    )  # it does not know the meta device
    scheme = make(name).to("meta")
    positions = scheme.positions(24, torch.device("meta"))
    q, x = (
        torch.empty(B, H, 24, D, device="meta"),
        torch.empty(B, 24, E, device="meta", dtype=torch.bfloat16),
    )
    if scheme.general(0):
        logits = scheme.logits(q, q, x, positions, 0, 0)
        assert logits.is_meta and logits.shape == (B, H, 24, 24) and logits.dtype == torch.float32
        mixed = scheme.mix(logits, q, 0, 0)
        assert mixed.is_meta and mixed.shape == q.shape and mixed.dtype == torch.float32
    else:
        gates = scheme.gates(x, 0)
        assert gates.is_meta and gates.shape == (B, H, 24) and gates.dtype == torch.float32
