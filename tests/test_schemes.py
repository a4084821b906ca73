"""The contract of a scheme, checked on every scheme that the package holds: a new file in
lengthgen/schemes is tested with no edit here.

Each scheme is tested with its defaults, with every truth value flipped, and with the options in
VARIANTS. What a scheme declares is checked against what it does inside `Probe`, a model of this
file alone: causal attention in float64 with a dense softmax.

Shape letters: B batch, T positions, H heads, D head size, E width.
"""

import ast
import contextlib
import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional

from lengthgen import schemes
from lengthgen.attention.bias_forms import Gates, Rows, Toeplitz
from lengthgen.config import catalogue
from lengthgen.errors import ConfigError
from lengthgen.schemes.base import STRUCTURES, Dimensions, Scheme

CONFIGS = Path(__file__).parent.parent / "configs" / "scheme"
SMALL = Dimensions(n_layers=2, n_heads=4, head_dim=8, width=32, train_length=32)
VARIANTS = {
    "learned": [{"tail": tail} for tail in ("refuse", "clamp", "wrap", "resample")],
    "normalised_sinusoid": [
        {"form": "scalar"},
        {"form": "harmonics"},
        {"form": "harmonics", "turns": 1.0},
        {"turns": 1.0},
    ],
    "per_offset": [{"tail": tail} for tail in ("refuse", "zero", "mean", "linear")]
    + [{"reach": 12}],
    "rope": [{"layout": "half_split"}],
    **{
        name: [{"layout": "half_split"}]
        for name in ("fope", "hope_period", "p_rope", "rope_partial", "xpos")
    },
    "pope": [{"init": "uniform"}],
    "stick_breaking": [{"remainder": "drop"}],
    "cable": [{"activation": "softplus"}],
    "dape": [{"inner": "fire", "kernel": 5}, {"inner": "t5_bias"}],
    "grape": [{"form": "key"}, {"form": "query"}],
    "sinusoidal": [{"form": "tensor2tensor"}],
    "bipe": [{"intra": "sinusoidal"}],
    "randomised": [{"inner": "fire"}, {"inner": "sinusoidal"}],
}
WIDENS = {"pope": 2}  # channels of a rotated query or key / those before
# What shifts all scores of a row alike: softmax removes it, so its gradient is rounding error.
CANCELS = {("fire", "b2"), ("dape", "out_bias"), ("cpb", "b2"), ("randomised", "inner.b2")}


def named_variants() -> dict[str, tuple[str, dict]]:
    """YAML files that vary another's scheme: {YAML's name: (scheme, what they change)}."""
    variants = {}
    for option, path in catalogue.files("scheme", [catalogue.folder()]).items():
        keys = OmegaConf.to_container(OmegaConf.load(path))
        if "defaults" in keys:
            variants[option] = (keys.pop("defaults")[0], keys)
    return variants


def cases() -> list:
    """(name, options): the defaults, each truth value flipped, VARIANTS, and the variants that have
    a YAML of their own.
    """
    found = []
    for name in schemes.names():
        flips = [
            {f.name: not f.default}
            for f in dataclasses.fields(schemes.load(name).Config)
            if isinstance(f.default, bool)
        ]
        named = [options for scheme, options in named_variants().values() if scheme == name]
        tried = []
        for options in [{}, *flips, *VARIANTS.get(name, []), *named]:
            if options in tried:
                continue
            tried.append(options)
            label = ",".join(f"{key}={value}" for key, value in options.items())
            found.append(pytest.param(name, options, id=f"{name}({label})" if label else name))
    return found


every_case = pytest.mark.parametrize(("name", "options"), cases())
every_scheme = pytest.mark.parametrize("name", schemes.names())


def keyed(seed: int):
    """generator_for of a run with this seed."""

    def generator_for(name: str) -> torch.Generator:
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))

    return generator_for


def make(name: str, options: dict, dimensions: Dimensions = SMALL, stir: float = 0.0) -> Scheme:
    """An initialised scheme. `stir` adds noise to its parameters:
    a bias that starts at zero would hide what it does.
    """
    kind = schemes.load(name)
    scheme = kind(kind.Config(**options), dimensions)
    scheme.initialise(keyed(0))
    with torch.no_grad():
        for label, parameter in scheme.named_parameters():
            parameter += stir * torch.randn(parameter.shape, generator=keyed(1)(label))
    return scheme.eval()  # in training some draw positions at random


class Probe(nn.Module):
    """Causal attention layers in float64.

    Weights large enough for attention to be far from uniform.
    """

    def __init__(self, scheme: Scheme, n_layers: int, norm: str = "rms", vocab_size: int = 11):
        super().__init__()
        E = scheme.dimensions.width
        self.scheme, self.norm = scheme, norm
        generator = torch.Generator().manual_seed(5)
        self.embedding = 0.2 * torch.randn(vocab_size, E, generator=generator, dtype=torch.float64)
        self.weights = [
            torch.randn(4, E, E, generator=generator, dtype=torch.float64) * 1.5 * E**-0.5
            for _ in range(n_layers)
        ]

    def normalise(self, x):
        shape = x.shape[-1:]
        return (
            functional.layer_norm(x, shape, eps=1e-12)
            if self.norm == "layer"
            else functional.rms_norm(x, shape, eps=1e-12)
        )

    def forward(self, tokens, shift: int = 0):
        """Logits (B, T, V) of tokens (B, T).

        `shift` moves every position id by that many places.
        """
        scheme, (B, T) = self.scheme, tokens.shape
        positions = scheme.read(tokens)
        if shift:
            positions = positions + shift * (
                positions[1] - positions[0] if positions.ndim == 1 else 1
            )
        x = scheme.embed(self.embedding[tokens], positions)
        for layer, (weights, bias) in enumerate(
            zip(self.weights, scheme.biases(positions), strict=False)
        ):
            y = self.normalise(x)
            q, k, v = (
                (y @ w).view(B, T, scheme.dimensions.n_heads, -1).transpose(1, 2)
                for w in weights[:3]
            )
            q, k = scheme.steer(*scheme.rotate(q, k, positions, layer), y, layer)
            hidden = ~seen(scheme.span(layer), T)
            if scheme.general(layer):
                scores = scheme.logits(q, k, y, positions, layer, 0).masked_fill(
                    hidden, float("-inf")
                )
                mixed = scheme.mix(scores, v, layer, 0)
            else:
                scores = (
                    q @ k.transpose(-1, -2) * scheme.score_scale
                    + dense(bias, T)
                    + between(scheme, y, layer)
                )
                mixed = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v
            x = x + mixed.transpose(1, 2).reshape(B, T, -1) @ weights[3]
        return self.normalise(x) @ self.embedding.T


def dense(bias, length: int):
    """(H, T, T) of a structure, or 0."""
    if bias is None:
        return 0.0
    if isinstance(bias, Rows):
        return bias.block(0, length)
    if isinstance(bias, Gates):
        return apart(bias)
    assert isinstance(bias, Toeplitz)
    places = torch.arange(length)
    return bias.vector[:, (places[:, None] - places).clamp(min=0)]


def between(scheme, x, layer: int):
    """(B, H, T, T): the sum of the gates (B, H, T) of tokens j + 1 ..

    I times query i's weight; or 0.
    """
    gates = scheme.gates(x, layer)
    return (
        0.0
        if gates is None
        else apart(Gates(gates.double().cumsum(-1), scheme.gate_weights(x, layer)))
    )


def apart(gates: Gates):
    """(B, H, T, T) of running sums."""
    differences = gates.cumulative[..., :, None] - gates.cumulative[..., None, :]
    return differences if gates.weights is None else gates.weights[..., None] * differences


def seen(span, length: int):
    """(T, T) bool: causal, and within `span`."""
    i, j = torch.arange(length)[:, None], torch.arange(length)
    if span is None or span.window is None:
        return j <= i
    return (j <= i) & ((i - j < span.window) | (j < span.sinks))


def random_tokens(length: int, batch: int = 2):
    return torch.randint(0, 11, (batch, length), generator=torch.Generator().manual_seed(length))


def train_on(scheme: Scheme, length: int) -> None:
    """Gradients of the next-token loss on windows of `length` tokens."""
    tokens = random_tokens(length + 1, batch=4)
    logits = Probe(scheme, n_layers=2)(tokens[:, :-1])
    functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()


def longest(scheme: Scheme, wanted: int) -> int:
    """`wanted`, or train_length where the scheme refuses it."""
    return scheme.dimensions.train_length if scheme.refusal(wanted) else wanted


@every_case
def test_causality_a_changed_token_changes_nothing_before_it(name, options):
    scheme = make(name, options, stir=0.3)
    tokens = random_tokens(longest(scheme, 64))
    changed = tokens.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 11
    model = Probe(scheme, n_layers=2)
    difference = (model(tokens) - model(changed)).abs().amax((0, 2))
    assert difference[:20].max() == 0
    assert difference[20:28].min() > 1e-6  # a scheme with gates may forget it later


@every_case
def test_prefix_consistency_is_as_declared(name, options):
    scheme = make(name, options, stir=0.3)
    tokens, model = random_tokens(longest(scheme, 64)), Probe(scheme, n_layers=2)
    whole = model(tokens)
    difference = max((model(tokens[:, :n]) - whole[:, :n]).abs().max() for n in (9, 16, 31, 32))
    assert difference < 1e-5 if scheme.declaration.prefix_consistent else difference > 1e-2


@every_case
def test_shift_invariance_is_as_declared(name, options):
    """Toeplitz biases read offsets, so only position ids that reach `embed`, `rotate` or `rows` can
    tell the windows apart.
    """
    scheme = make(name, options, stir=0.3)
    tokens, model = random_tokens(16), Probe(scheme, n_layers=2)
    difference = max((model(tokens, shift=s) - model(tokens)).abs().max() for s in (1, 5, 16))
    assert difference < 1e-6 if scheme.declaration.shift_invariant else difference > 1e-4


@every_case
def test_finite_at_eight_times_the_trained_length_or_refused(name, options):
    scheme = make(name, options)
    length = 8 * SMALL.train_length
    assert scheme.refusal(SMALL.train_length) is None
    assert scheme.refusal(SMALL.train_length // 2) is None
    if reason := scheme.refusal(length):
        assert str(length) in reason and str(SMALL.train_length) in reason and "\n" not in reason
        with pytest.raises(ConfigError, match=str(length)):
            scheme.positions(length, torch.device("cpu"))
    else:
        with torch.no_grad():
            assert Probe(scheme, n_layers=2)(random_tokens(length, batch=1)).isfinite().all()


@every_case
def test_every_parameter_gets_a_gradient_at_the_trained_length(name, options):
    scheme = make(name, options)
    trained = {
        label: parameter
        for label, parameter in scheme.named_parameters()
        if parameter.requires_grad
    }
    if trained:
        train_on(scheme, SMALL.train_length)
    for label, parameter in trained.items():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), label
        biggest = parameter.grad.abs().amax()
        assert biggest < 1e-6 if (name, label) in CANCELS else biggest > 1e-6, label


@every_case
def test_the_scheme_is_alive(name, options):
    """In one layer without positions the last row is a function of the set of earlier tokens:
    shuffling them tells.
    """
    scheme = make(name, options, stir=0.3)
    erased = scheme.declaration.acts_on == "nothing" or options == {"form": "scalar"}
    tokens = random_tokens(32)
    shuffled = tokens[
        :, [*torch.randperm(31, generator=torch.Generator().manual_seed(0)).tolist(), 31]
    ]
    model = Probe(scheme, n_layers=1, norm="layer")
    difference = (model(tokens)[:, -1] - model(shuffled)[:, -1]).abs().max()
    assert difference < 1e-9 if erased else difference > 1e-3


def test_layernorm_erases_the_scalar_form_and_rmsnorm_does_not():
    tokens, options = random_tokens(32), {"form": "scalar"}
    for norm, low, high in (("layer", 0, 1e-9), ("rms", 1e-1, float("inf"))):
        scalar, nope = (
            Probe(make(*case), n_layers=2, norm=norm)(tokens)
            for case in (("normalised_sinusoid", options), ("none", {}))
        )
        assert low <= (scalar - nope).abs().max() <= high, norm


@every_case
def test_initialise_sets_every_parameter_from_the_seed_alone(name, options):
    first, again, other = (make(name, options) for _ in range(3))
    asked = []
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.fill_(float("nan"))
    torch.manual_seed(99)  # the global generator must not matter
    again.initialise(lambda label: asked.append(label) or keyed(0)(label))
    other.initialise(keyed(7))
    asked_of = {
        label: label.removeprefix("inner.") for label, _ in again.named_parameters()
    }  # an inner scheme asks by its own names
    assert len(set(asked)) == len(asked) and set(asked) <= set(asked_of.values())
    for (label, a), b, c in zip(
        first.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert a.dtype == torch.float32 and torch.equal(a, b), label
        assert torch.equal(a, c) == (asked_of[label] not in asked), label


@every_case
def test_state_dict_round_trip(name, options):
    scheme, other = make(name, options, stir=0.3), make(name, options)
    other.load_state_dict(scheme.state_dict(), strict=True)
    tokens = random_tokens(longest(scheme, 64))
    assert torch.equal(Probe(scheme, n_layers=2)(tokens), Probe(other, n_layers=2)(tokens))


@every_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_shapes_and_dtypes_of_the_hooks(name, options, dtype):
    scheme, T, H = make(name, options), 24, SMALL.n_heads
    positions = scheme.positions(T, torch.device("cpu"))
    assert positions.shape == (T,) and positions.dtype in (torch.int64, torch.float32)
    x = torch.randn(2, T, SMALL.width).to(dtype)
    q, k = torch.randn(2, 2, H, T, SMALL.head_dim).to(dtype)
    embedded, rotated = scheme.embed(x, positions), scheme.rotate(q, k, positions, 1)
    assert embedded.shape == x.shape and embedded.dtype == dtype
    for before, after in zip((q, k), rotated, strict=True):
        assert (
            after.shape == (*before.shape[:-1], before.shape[-1] * WIDENS.get(name, 1))
            and after.dtype == dtype
        )
    biases = scheme.biases(positions)
    assert len(biases) == SMALL.n_layers
    kinds = {"toeplitz": Toeplitz, "rows": Rows}
    assert all(type(bias) is kinds.get(scheme.structure, type(None)) for bias in biases)
    if isinstance(biases[0], Toeplitz):
        assert biases[0].vector.shape == (H, T) and biases[0].vector.dtype == torch.float32
    if isinstance(biases[0], Rows):
        assert (
            biases[0].block(8, 20).shape == (H, 12, 20)
            and biases[0].block(8, 20).dtype == torch.float32
        )
        assert torch.allclose(
            biases[0].block(8, 20), biases[0].block(0, 24)[:, 8:20, :20], atol=1e-6
        )
        with torch.autocast("cpu", torch.bfloat16):  # attention calls `block` inside autocast
            assert torch.equal(biases[0].block(8, 20).float(), biases[0].block(8, 20))
            assert biases[0].block(8, 20).dtype == torch.float32


@every_case
def test_sharing_over_layers_is_as_declared(name, options):
    scheme = make(name, options, stir=0.3)
    first, second = scheme.biases(scheme.read(random_tokens(16, batch=1)))
    if scheme.structure not in ("toeplitz", "rows"):
        assert first is second
        return
    assert (first is second) == scheme.shares_bias_over_layers
    if not scheme.shares_bias_over_layers:
        assert (dense(first, 16) - dense(second, 16)).abs().max() > 1e-3


@every_case
def test_no_hook_makes_a_tensor_on_another_device(name, options, monkeypatch):
    """The meta device stands for CUDA: an operation that mixes it with a CPU tensor raises."""
    monkeypatch.setattr(
        torch, "autocast", lambda *_, **__: contextlib.nullcontext()
    )  # it does not know the meta device
    scheme = make(name, options).to("meta")
    positions = scheme.positions(24, torch.device("meta"))
    q = torch.empty(2, SMALL.n_heads, 24, SMALL.head_dim, device="meta")
    assert scheme.embed(torch.empty(2, 24, SMALL.width, device="meta"), positions).is_meta
    assert all(part.is_meta for part in (positions, *scheme.rotate(q, q, positions, 0)))
    for bias in scheme.biases(positions):
        assert (
            bias is None
            or (bias.vector if isinstance(bias, Toeplitz) else bias.block(3, 24)).is_meta
        )


@every_case
def test_declaration_is_well_formed(name, options):
    scheme = make(name, options)
    declared = scheme.declaration
    for field in dataclasses.fields(declared):
        value = getattr(declared, field.name)
        if field.name == "oracles":
            assert type(value) is tuple and all(
                type(one) is str and one.strip() == one != "" for one in value
            )
            continue
        assert type(value) is field.type, field.name
        assert not isinstance(value, str) or (value.strip() == value != "" and "\n" not in value), (
            field.name
        )
    assert 2010 < declared.year < 2030
    assert declared.acts_on in ("input", "queries and keys", "scores", "nothing")
    assert scheme.structure in STRUCTURES
    assert (scheme.structure == "none") == (declared.acts_on != "scores")


@every_scheme
def test_file_documents_itself(name):
    text = schemes.source(name).read_text()
    tree = ast.parse(text)
    assert "Source:" in ast.get_docstring(tree) and "Formula" in ast.get_docstring(tree)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes] == ["Config", schemes.load(name).__name__]
    assert all(ast.get_docstring(node) for node in classes[1:])


def test_every_scheme_has_its_yaml_and_every_other_yaml_is_a_variant():
    stems = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert stems == set(schemes.names()) | set(named_variants())
    assert not set(schemes.names()) & set(named_variants())


@pytest.mark.parametrize("stem", named_variants())
def test_a_variant_is_what_it_varies_and_its_changes(stem):
    path, (name, changes) = CONFIGS / f"{stem}.yaml", named_variants()[stem]
    defaults = {"name": name} | dataclasses.asdict(schemes.load(name).Config())
    assert catalogue.contents(path, [catalogue.folder()]) == defaults | changes
    assert changes and all(defaults[key] != value for key, value in changes.items())
    first, title, second, *_ = path.read_text().splitlines()
    assert first == f"# {catalogue.meaning(path)}" and title.startswith("# title: ")
    assert second == f"defaults: [{name}, _self_]"


def test_parameter_counts():
    """At 2 layers, 4 heads, width 32, train_length 32."""
    counts = {name: sum(p.numel() for p in make(name, {}).parameters()) for name in schemes.names()}
    expected = {
        "alibi": 0, "fire": 2 * (1 + 1 + 32 + 32 + 4 * 32 + 4), "kerple_log": 2 * 4,
        "kerple_power": 2 * 4, "learned": 32 * 32, "none": 0, "normalised_sinusoid": 32,
        "per_offset": 4 * 32, "rope": 0, "sandwich": 0, "sinusoidal": 0, "t5_bias": 8 * 4,
        "fox": 2 * (4 * 32 + 4), "cable": 4 * (4 * 32 + 4), "cope": 2 * 64 * 8,
        "dape": 2 * 4 + 2 * (32 * 8 + 32 + 4 * 32 + 4), "stick_breaking": 0, "selective": 0,
        "path": 2 * (32 * 32 + 32 * 32 + 32 * 3 + 4 * 32 + 4), "grape": 2 * 4 * 8 * 32,
        "selective_rope": 2 * (32 * 32 + 16 * 32 + 16 * 4), "shaw": 2 * 2 * 17 * 8,
        "transformer_xl": 2 * 32 * 32 + 2 * 4 * 8, "alibi_learned": 4, "bam": 3 * 4,
        "cpb": (8 + 8) + (8 * 8 + 8) + (4 * 8 + 4), "cape": 0, "bipe": 32 * 32, "randomised": 0,
        "rope_partial": 0, "p_rope": 0, "hope_period": 0, "xpos": 0, "fope": 2 * 2 * 4,
        "pope": 2 * 4 * 8,
    }  # fmt: skip
    assert {name: counts[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["learned", "per_offset", "t5_bias"])
def test_what_training_does_not_reach_gets_no_gradient_and_no_update(name):
    """A window of T tokens reaches rows, offsets and buckets of 0..T-1:
    those all, and nothing else, bit for bit.
    """
    T = 20
    buckets = {"num_buckets": 32, "max_distance": 128}
    scheme = make(name, buckets if name == "t5_bias" else {})
    reached = torch.zeros(scheme.table.shape, dtype=torch.bool)
    if name == "learned":
        reached[:T] = True
    else:  # T5's offsets 16..18 are bucket 16 and 19 is bucket 17
        reached[..., : 18 if name == "t5_bias" else T] = True
    before = scheme.table.detach().clone()
    optimiser = torch.optim.AdamW([scheme.table], lr=0.1, weight_decay=0.0)
    train_on(scheme, T)
    optimiser.step()
    assert torch.equal(scheme.table.grad != 0, reached)
    assert torch.equal(scheme.table != before, reached)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "learned",
            {"tail": "clmap"},
            "scheme.tail=clmap: expected one of untrained, refuse, clamp, wrap, resample; "
            "nearest: clamp",
        ),
        (
            "sinusoidal",
            {"form": "fairseq"},
            "scheme.form=fairseq: expected one of vaswani, tensor2tensor",
        ),
        ("rope", {"base": 0.0}, "scheme.base=0.0: expected a number > 1"),
        ("rope_partial", {"fraction": 0.0}, "scheme.fraction=0.0: expected 0 < fraction <= 1"),
        (
            "rope_partial",
            {"fraction": 0.2},
            "scheme.fraction=0.2 of 8 channels a head: expected room for a pair",
        ),
        ("p_rope", {"p": 1.5}, "scheme.p=1.5: expected 0 <= p <= 1"),
        (
            "hope_period",
            {"layout": "halves"},
            "scheme.layout=halves: expected one of interleaved, half_split",
        ),
        ("xpos", {"scale_base": 0.0}, "scheme.scale_base=0.0: expected a positive number"),
        (
            "xpos",
            {"scale_base": 0.1},
            "scheme.scale_base=0.1: windows of train_length=32 tokens would leave the range of "
            "float32",
        ),
        ("fope", {"form": "code"}, "scheme.form=code: expected one of paper, released"),
        ("fope", {"gain": -1.0}, "scheme.gain=-1.0: expected a number >= 0"),
        ("pope", {"init": "ones"}, "scheme.init=ones: expected one of zero, uniform"),
        ("t5_bias", {"num_buckets": 7}, "scheme.num_buckets=7: expected an even number >= 2"),
        (
            "t5_bias",
            {"num_buckets": 32, "max_distance": 16},
            "scheme.max_distance=16: expected more than num_buckets / 2 = 16",
        ),
        ("alibi", {"max_bias": 0.0}, "scheme.max_bias=0.0: expected a positive number"),
        ("sandwich", {"d_bar": 3}, "scheme.d_bar=3: expected an even positive integer"),
        (
            "fire",
            {"threshold_ratio": 0.0},
            "scheme.threshold_ratio=0.0: expected a positive number",
        ),
        ("per_offset", {"reach": 0}, "scheme.reach=0: expected a positive integer or null"),
        ("per_offset", {"reach": 8, "tail": "mean"}, "expected tail=clamp"),
        ("per_offset", {"reach": 33}, "scheme.reach=33: expected at most train_length = 32"),
        (
            "fox",
            {"gate": "ful"},
            "scheme.gate=ful: expected one of full, bias_only, fixed; nearest: full",
        ),
        ("fox", {"longest": 0.0}, "scheme.longest=0.0: expected a positive number"),
        ("cable", {"activation": "gelu"}, "scheme.activation=gelu: expected one of relu, softplus"),
        ("cope", {"max_position": 1}, "scheme.max_position=1: expected a whole number > 1"),
        ("dape", {"kernel": 2}, "scheme.kernel=2: expected an odd number >= 1"),
        (
            "dape",
            {"inner": "rope"},
            "scheme.inner=rope: expected a scheme with an additive bias of positions",
        ),
        (
            "dape",
            {"inner": "alibi", "inner_options": {"max_bais": 4}},
            "unknown key scheme.inner_options.max_bais; expected one of",
        ),
        (
            "selective",
            {"inner": "alibi"},
            "scheme.inner=alibi: expected a scheme that leaves scores as they are",
        ),
        (
            "stick_breaking",
            {"remainder": "rest"},
            "scheme.remainder=rest: expected one of value, drop",
        ),
        ("path", {"rank": 0}, "scheme.rank=0: expected a positive integer"),
        ("grape", {"path_size": 3}, "scheme.path_size=3: expected an even positive integer"),
        ("selective_rope", {"base": 1.0}, "scheme.base=1.0: expected a number > 1"),
        ("shaw", {"clip": 0}, "scheme.clip=0: expected a positive integer"),
        ("transformer_xl", {"clamp": 0}, "scheme.clamp=0: expected a positive integer or null"),
        ("alibi_learned", {"max_bias": 0.0}, "scheme.max_bias=0.0: expected a positive number"),
        ("cpb", {"depth": 0}, "scheme.depth=0: expected a positive integer"),
        ("bam", {"eps": 0.0}, "scheme.eps=0.0: expected a positive number"),
        ("cape", {"max_scale": 0.5}, "scheme.max_scale=0.5: expected a number >= 1"),
        (
            "bipe",
            {"separators": []},
            "scheme.separators=[]: expected the ids of the tokens that end a segment",
        ),
        ("bipe", {"inter": "rop"}, "scheme.inter=rop: expected one of rope, alibi; nearest: rope"),
        ("randomised", {"inner": "fox"}, "scheme.inner=fox: expected a scheme of positions alone"),
        (
            "randomised",
            {"max_position": 31},
            "scheme.max_position=31: expected at least train_length = 32",
        ),
    ],
)
def test_bad_options_get_one_line(name, options, words):
    with pytest.raises(ConfigError) as refused:
        make(name, options)
    assert words in str(refused.value) and "\n" not in str(refused.value)
