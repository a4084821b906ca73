"""The contract of a modifier, checked on every one that the package holds around schemes of every
structure; and each one's formula.

Shape letters: B batch, T positions, H heads, D head size.
"""

import ast
import dataclasses
import functools
import math
import re
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional

from lengthgen import modifiers
from lengthgen.attention.bias_forms import Span
from lengthgen.config import catalogue, dataclass_from
from lengthgen.errors import ConfigError
from lengthgen.modifiers.base import modified
from lengthgen.modifiers.spans import both, n_visible
from lengthgen.runs import train_config
from lengthgen.schemes.base import STRUCTURES, Dimensions

from .oracle import compare
from .test_oracles import compared
from .test_schemes import SMALL, Probe, keyed, longest, make, random_tokens, seen, train_on
from .wrapper_cases import SCHEMES, bare, by_loop, dot, tensors, through_hooks, turned

CONFIGS = Path(__file__).parent.parent / "configs" / "modifier"
known_comparisons = functools.cache(compared)  # reads every test file
L = SMALL.train_length
VARIANTS = {
    "drope": [{}, {"fraction": 0.5}],
    "layer_mix": [
        {"every": 2},
        {"every": 2, "window": 8, "sinks": 2},
        {"every": 2, "positions": True, "window": 8},
    ],
    "log_n": [{}, {"clip": True}, {"scales": "scores"}, {"scales": "bias"}],
    "ssmax": [{}, {"bias": True, "bias_init": 0.2}, {"scales": "scores"}],
    "window": [{}, {"window": 8, "sinks": 2}, {"layers": [1]}],
}
NEUTRAL = {  # options under which a modifier changes nothing within the training length
    "drope": {},  # before the positions are dropped
    "layer_mix": {"every": 1, "positions": True},
    "log_n": {"clip": True},
    "ssmax": {"init": 0.0, "bias": True, "bias_init": 1.0},
    "window": {"window": L},
}


def around(name: str, options: dict, scheme):
    """`scheme` inside one modifier, initialised; None if that is refused."""
    cls = modifiers.load(name)
    try:
        wrapped = modified(scheme, [(cls, cls.Config(**options))])
    except ConfigError:
        return None
    own = {label: p for label, p in wrapped.named_parameters() if not label.startswith("inner.")}
    kept = {label: p.detach().clone() for label, p in wrapped.inner.named_parameters()}
    wrapped.initialise(keyed(0))
    with torch.no_grad():
        for label, parameter in wrapped.inner.named_parameters():
            parameter.copy_(kept[label])  # the stirred ones again
        for parameter in own.values():
            parameter += 0.1 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(3)
            )
    return wrapped


def cases() -> list:
    """Each modifier's first options around every scheme, its others around one scheme of each
    structure."""
    found = []
    for name in modifiers.names():
        for number, options in enumerate(VARIANTS.get(name, [{}])):
            for scheme in ("rope", "alibi", "fire", "fox", "cope") if number else SCHEMES:
                if around(name, options, bare(scheme)) is not None:
                    label = ",".join(f"{key}={value}" for key, value in options.items())
                    found.append(
                        pytest.param(name, options, scheme, id=f"{scheme}+{name}({label})")
                    )
    return found


every_case = pytest.mark.parametrize(("name", "options", "scheme"), cases())
every_modifier = pytest.mark.parametrize("name", modifiers.names())


@every_modifier
def test_combines_with_schemes_of_every_structure(name):
    refused = [
        scheme
        for scheme in SCHEMES
        if not any(around(name, options, bare(scheme)) for options in VARIANTS.get(name, [{}]))
    ]
    assert refused == (["learned"] if name == "layer_mix" else [])


@every_case
def test_causality_a_changed_token_changes_nothing_before_it(name, options, scheme):
    model = Probe(around(name, options, bare(scheme)), n_layers=2)
    tokens = random_tokens(longest(model.scheme, 64))
    changed = tokens.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 11
    difference = (model(tokens) - model(changed)).abs().amax((0, 2))
    assert difference[:20].max() == 0
    assert difference[20:26].min() > 1e-6


@every_case
def test_prefix_consistency_is_as_declared(name, options, scheme):
    model = Probe(around(name, options, bare(scheme)), n_layers=2)
    tokens = random_tokens(longest(model.scheme, 64))
    whole = model(tokens)
    difference = max((model(tokens[:, :n]) - whole[:, :n]).abs().max() for n in (9, 16, 31, 32))
    assert difference < 1e-5 if model.scheme.declaration.prefix_consistent else difference > 1e-2


@every_case
def test_finite_far_past_the_trained_length(name, options, scheme):
    model = Probe(around(name, options, bare(scheme)), n_layers=2)
    with torch.no_grad():
        assert model(random_tokens(longest(model.scheme, 8 * L), batch=1)).isfinite().all()


@every_case
def test_every_own_parameter_gets_a_gradient_and_the_schemes_stay_finite(name, options, scheme):
    wrapped = around(name, options, bare(scheme))
    trained = {label: p for label, p in wrapped.named_parameters() if p.requires_grad}
    if trained:
        train_on(wrapped, L)
    for label, parameter in trained.items():
        assert parameter.grad is None or parameter.grad.isfinite().all(), label
        if not label.startswith("inner."):
            assert parameter.grad.abs().amax() > 1e-6, label


@every_case
def test_declaration_is_well_formed_and_true_to_the_structure(name, options, scheme):
    wrapped = around(name, options, bare(scheme))
    declared = wrapped.declaration
    assert wrapped.structure in STRUCTURES
    assert all("\n" not in str(value) for value in dataclasses.astuple(declared))
    kinds = {"toeplitz": "Toeplitz", "rows": "Rows"}
    for bias in wrapped.biases(wrapped.positions(16, torch.device("cpu"))):
        assert bias is None or type(bias).__name__ == kinds[wrapped.structure]


@every_case
def test_hooks_keep_shapes_and_dtypes(name, options, scheme):
    wrapped = around(name, options, make(scheme, {}))
    T, H, D, E = 24, SMALL.n_heads, SMALL.head_dim, SMALL.width
    positions = wrapped.positions(T, torch.device("cpu"))
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        x, (q, k) = torch.randn(2, T, E).to(dtype), torch.randn(2, 2, H, T, D).to(dtype)
        for before, after in (
            (x, wrapped.embed(x, positions)),
            *zip((q, k), wrapped.rotate(q, k, positions, 1), strict=True),
        ):
            assert after.shape == before.shape and after.dtype == dtype


@pytest.mark.parametrize("scheme", SCHEMES)
@every_modifier
def test_neutral_options_change_nothing(name, scheme):
    wrapped = around(name, NEUTRAL[name], bare(scheme))
    with torch.no_grad():
        for label, parameter in wrapped.named_parameters() if wrapped else []:
            if not label.startswith("inner."):
                parameter.fill_(NEUTRAL[name].get({"scale": "init", "offset": "bias_init"}[label]))
    if wrapped is None:
        assert (name, scheme) == ("layer_mix", "learned")
        return
    tokens = random_tokens(L)
    assert torch.equal(Probe(wrapped, n_layers=2)(tokens), Probe(bare(scheme), n_layers=2)(tokens))


@pytest.mark.parametrize("scheme", ["t5_bias", "learned", "fox"])
@every_modifier
def test_weights_that_are_not_its_own_start_as_without_it(name, scheme):
    if name == "layer_mix" and scheme == "learned":
        return
    cls, asked = modifiers.load(name), []
    wrapped = modified(make(scheme, {}), [(cls, cls.Config(**VARIANTS[name][0]))])
    with torch.no_grad():
        for parameter in wrapped.parameters():
            parameter.fill_(float("nan"))
    wrapped.initialise(lambda label: asked.append(label) or keyed(0)(label))
    plain = make(scheme, {})
    assert all(
        torch.equal(a, b)
        for a, b in zip(wrapped.inner.parameters(), plain.parameters(), strict=True)
    )
    assert all(parameter.isfinite().all() for parameter in wrapped.parameters())
    assert set(asked) <= {label for label, _ in plain.named_parameters()}


@every_modifier
def test_yaml_equals_the_dataclass(name):
    cls = modifiers.load(name)
    text = (CONFIGS / f"{name}.yaml").read_text()
    given = OmegaConf.to_container(OmegaConf.create(text))
    assert text.startswith(f"# @package modifiers.{name}\n")
    assert (
        given
        == dataclasses.asdict(cls.Config())
        == dataclasses.asdict(dataclass_from.build(cls.Config, given, "modifiers"))
    )
    assert text.splitlines()[2].startswith("# title: ")
    assert all("  # " in line for line in text.splitlines()[3:])


def test_every_other_yaml_is_none_or_a_variant():
    for path in CONFIGS.glob("*.yaml"):
        if path.stem in (*modifiers.names(), "none"):
            continue
        name = re.match(r"# @package modifiers\.(\w+)\n", path.read_text())[1]
        given, cls = catalogue.contents(path, [catalogue.folder()]), modifiers.load(name)
        assert f"defaults: [{name}, _self_]\n" in path.read_text()
        assert list(given) == [field.name for field in dataclasses.fields(cls.Config)]
        assert given != dataclasses.asdict(cls.Config())


@every_modifier
def test_file_documents_itself_and_declares_what_is_compared(name):
    cls, tree = modifiers.load(name), ast.parse(modifiers.source(name).read_text())
    assert "Source:" in ast.get_docstring(tree) and "Formula:" in ast.get_docstring(tree)
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == [
        "Config",
        cls.__name__,
    ]
    assert set(cls.about.oracles) == {
        oracle for scheme, oracle in known_comparisons() if scheme == name
    }
    assert 2015 < cls.about.year < 2030 and cls.about.paper and cls.about.applies_to


def test_order_of_application_is_fixed_and_as_documented():
    found = train_config.choose_modifiers(
        {name: {"every": 2} if name == "layer_mix" else {} for name in reversed(modifiers.names())},
        [],
    )
    assert [choice.name for choice in found] == ["drope", "layer_mix", "window", "log_n", "ssmax"]
    documented = re.findall(r"^\| (\d) \| ([\w, ]+) \|", modifiers.__doc__, re.MULTILINE)
    assert [(int(stage), name) for stage, names in documented for name in names.split(", ")] == [
        (choice.cls.stage, choice.name) for choice in found
    ]


# Formulas


def test_ssmax_is_the_papers():
    from scalable_softmax import ScalableSoftmax

    wrapped = around("ssmax", {"bias": True, "bias_init": 0.3}, bare("none"))
    s, b = wrapped.scale[1].detach(), wrapped.offset[1].detach()
    ours = through_hooks(wrapped, 40, layer=1).detach()
    q, k, v, _ = tensors(40)
    theirs = torch.zeros_like(v[0])
    for head in range(SMALL.n_heads):
        softmax = ScalableSoftmax(s=float(s[head]), bias=True)
        softmax.b.data.fill_(float(b[head]))
        for i in range(40):
            scores = k[0, head, : i + 1] @ q[0, head, i] / SMALL.head_dim**0.5
            theirs[head, i] = softmax(scores).detach() @ v[0, head, : i + 1]
    compare(
        "ssmax", "scalable-softmax", "attention output, s and b, to 40 keys", ours, theirs, 1e-6
    )
    loop = by_loop(
        40, lambda q, k, head, i, j: (float(s[head]) * math.log(i + 1) + float(b[head])) * dot(q, k)
    )
    compare("ssmax", "float64 loop", "attention output, s and b, to 40 keys", ours, loop, 1e-6)


def test_ssmax_starts_at_one_for_the_last_query_of_a_training_window():
    cls = modifiers.load("ssmax")
    wrapped = modified(bare("rope"), [(cls, cls.Config())])
    wrapped.initialise(keyed(0))
    assert torch.allclose(wrapped.factor(torch.tensor([L]), 0), torch.ones(SMALL.n_heads, 1))


@pytest.mark.parametrize("scales", ["all", "scores", "bias"])
@pytest.mark.parametrize("kind", ["alibi", "fox"])
def test_log_n_scales_what_it_is_told_to(kind, scales):
    scheme, x = bare(kind), tensors(70)[3]
    slopes = scheme.toeplitz(torch.arange(2), 0)[:, 1] if kind == "alibi" else None
    gates = None if kind == "alibi" else scheme.gates(x, 0)[0].tolist()

    def score(q, k, head, i, j):
        factor = math.log(i + 1) / math.log(L)
        bias = float(slopes[head]) * (i - j) if kind == "alibi" else sum(gates[head][j + 1 : i + 1])
        on_scores, on_bias = (1 if scales == other else factor for other in ("bias", "scores"))
        return on_scores * dot(q, k) + on_bias * bias

    ours = through_hooks(around("log_n", {"scales": scales}, scheme), 70).detach()
    compare(
        "log_n",
        "float64 loop",
        f"attention output of {kind}, scales={scales}",
        ours,
        by_loop(70, score),
        1e-5,
    )


def test_scaling_counts_the_keys_that_a_window_shows():
    cls = {name: modifiers.load(name) for name in ("window", "log_n")}
    options = [
        (cls["window"], cls["window"].Config(window=8, sinks=3)),
        (cls["log_n"], cls["log_n"].Config()),
    ]
    ours = through_hooks(modified(bare("none"), options), 30)

    def sees(i, j):
        return i - j < 8 or j < 3

    loop = by_loop(
        30,
        lambda q, k, head, i, j: (
            math.log(sum(sees(i, t) for t in range(i + 1))) / math.log(L) * dot(q, k)
        ),
        sees,
    )
    assert (ours - loop).abs().max() < 1e-6


@pytest.mark.parametrize("span", [None, Span(5), Span(5, 2), Span(3, 9), Span(None, 4)], ids=str)
def test_n_visible_counts_the_mask(span):
    assert torch.equal(n_visible(4, 30, span, torch.device("cpu")), seen(span, 30)[4:].sum(-1))


def test_spans_put_together():
    pairs = [
        (Span(8, 2), Span(5, 1)),
        (None, Span(5)),
        (Span(7), Span(7, 3)),
        (Span(None), Span(4, 2)),
    ]
    for one, other in pairs:
        for span in (both(one, other), both(other, one)):
            assert torch.equal(seen(span, 30), seen(one, 30) & seen(other, 30))
    with pytest.raises(ConfigError, match="at most 0 sinks"):
        both(Span(5, 4), Span(9))


def test_window_is_the_libraries():
    from transformers.masking_utils import sliding_window_causal_mask_function

    wrapped = around("window", {"window": 7}, bare("rope"))
    theirs = sliding_window_causal_mask_function(7)
    places = torch.arange(40)
    compare(
        "window",
        "transformers",
        "mask, 40 x 40",
        seen(wrapped.span(0), 40),
        theirs(0, 0, places[:, None], places),
        0,
    )
    wrapped = around("window", {"window": 7, "sinks": 2}, bare("rope"))
    loop = by_loop(
        40,
        lambda q, k, head, i, j: dot(turned(q, i), turned(k, j)),
        lambda i, j: i - j < 7 or j < 2,
    )
    compare(
        "window",
        "float64 loop",
        "attention output, rope with 2 sinks",
        through_hooks(wrapped, 40),
        loop,
        1e-9,
    )


def test_window_hides_what_is_before_its_reach():
    """Two layers with a window of 8 reach 14 tokens back, and no farther; the first layer alone
    without it reaches everything."""
    tokens = random_tokens(60)
    changed = tokens.clone()
    changed[:, 10] = (changed[:, 10] + 1) % 11
    for scheme in SCHEMES:
        for layers, reaches in ((None, False), ([1], True)):
            model = Probe(
                around("window", {"window": 8, "layers": layers}, bare(scheme)), n_layers=2
            )
            difference = (model(tokens) - model(changed)).abs().amax((0, 2))
            assert difference[24].max() > 1e-7 and (difference[25:].max() > 1e-9) == reaches, (
                scheme,
                layers,
            )


def test_layer_mix_leaves_positions_out_of_every_nth_layer():
    wrapped = around("layer_mix", {"every": 2, "window": 6, "sinks": 1}, bare("rope"))
    first, second = (through_hooks(wrapped, 40, layer) for layer in (0, 1))
    loop = by_loop(
        40,
        lambda q, k, head, i, j: dot(turned(q, i), turned(k, j)),
        lambda i, j: i - j < 6 or j < 1,
    )
    compare("layer_mix", "float64 loop", "a layer with positions and a window", first, loop, 1e-9)
    loop = by_loop(40, lambda q, k, head, i, j: dot(q, k))
    compare("layer_mix", "float64 loop", "a layer without positions", second, loop, 1e-9)
    for scheme in ("alibi", "fire", "fox", "cope"):
        assert (
            through_hooks(around("layer_mix", {"every": 2}, bare(scheme)), 40, 1) - loop
        ).abs().max() < 1e-9, scheme


@pytest.mark.parametrize("scheme", ["rope", "learned", "fire", "fox", "cope"])
def test_drope_drops_at_its_step_and_stays_off(scheme):
    wrapped, tokens = around("drope", {"fraction": 0.5}, bare(scheme)), random_tokens(20)
    kept, without = (Probe(s, n_layers=2)(tokens) for s in (bare(scheme), bare("none")))
    for step, dropped in (
        (0, False),
        (4, False),
        (5, True),
        (9, True),
        (10, True),
        (3, False),
    ):  # a function of the two numbers alone
        wrapped.begin_step(step, 10)
        assert torch.equal(Probe(wrapped, n_layers=2)(tokens), without if dropped else kept), step
        assert (wrapped.structure, wrapped.declaration.acts_on) == (
            "none",
            "nothing",
        ) or not dropped
    wrapped.begin_step(10, 10)
    loop = by_loop(20, lambda q, k, head, i, j: dot(q, k))
    compare(
        "drope",
        "float64 loop",
        "attention output without positions",
        through_hooks(wrapped, 20),
        loop,
        1e-9,
    )


def test_drope_lifts_what_only_positions_refuse():
    wrapped = around("drope", {}, bare("learned", tail="refuse"))
    assert wrapped.refusal(2 * L)
    wrapped.begin_step(10, 10)
    assert (
        wrapped.refusal(2 * L) is None
        and len(wrapped.positions(2 * L, torch.device("cpu"))) == 2 * L
    )


def test_a_dropped_scheme_trains_on_without_its_parameters():
    wrapped = around("drope", {"fraction": 0.5}, bare("t5_bias"))
    model, optimiser = (
        Probe(wrapped, n_layers=2),
        torch.optim.AdamW(wrapped.parameters(), lr=0.1, weight_decay=0.0),
    )
    wrapped.begin_step(5, 10)
    model.embedding.requires_grad_()
    before = wrapped.inner.table.detach().clone()
    tokens = random_tokens(L)
    functional.cross_entropy(
        model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
    ).backward()
    optimiser.step()
    assert wrapped.inner.table.grad is None and torch.equal(wrapped.inner.table, before)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("drope", {"fraction": 0.0}, "modifiers.drope.fraction=0.0: expected a share of the steps"),
        ("drope", {"fraction": 1.5}, "modifiers.drope.fraction=1.5"),
        ("layer_mix", {"every": 0}, "modifiers.layer_mix.every=0: expected a positive integer"),
        ("layer_mix", {"every": 3}, "modifiers.layer_mix.every=3: the model has 2 layers"),
        ("layer_mix", {"every": 2, "window": 0}, "modifiers.layer_mix.window=0"),
        ("layer_mix", {"every": 2, "sinks": -1}, "modifiers.layer_mix.sinks=-1"),
        ("log_n", {"length": 1}, "modifiers.log_n.length=1: expected a whole number > 1"),
        ("ssmax", {"bias_init": 1.0}, "modifiers.ssmax.bias_init=1.0 has no effect without b"),
        ("window", {"window": 0}, "modifiers.window.window=0"),
        ("window", {"sinks": -1}, "modifiers.window.sinks=-1"),
        (
            "window",
            {"layers": [2]},
            "modifiers.window.layers=[2]: expected some of the layers 0 to 1",
        ),
        ("window", {"layers": []}, "modifiers.window.layers=[]"),
    ],
)
def test_bad_options_get_one_line(name, options, words):
    cls = modifiers.load(name)
    with pytest.raises(ConfigError) as refused:
        modified(bare("rope"), [(cls, cls.Config(**options))])
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_what_cannot_be_combined_gets_one_line():
    mix = modifiers.load("layer_mix")
    with pytest.raises(ConfigError, match="enter at the input"):
        modified(bare("learned"), [(mix, mix.Config(every=2))])
    window = modifiers.load("window")
    with pytest.raises(ConfigError, match="expected at most 0 sinks in the narrower one"):
        modified(
            bare("rope"),
            [(mix, mix.Config(every=2, window=9)), (window, window.Config(window=5, sinks=1))],
        )


@pytest.mark.parametrize("scheme", ["alibi", "fire", "fox"])
def test_modifiers_of_a_model_train_and_are_saved(scheme):
    """In the real model: the kernels that attention picks give what the dense probe's hooks would,
    and a step trains s."""
    from lengthgen import model as models
    from lengthgen import schemes

    cls, kind, inner = modifiers.load("ssmax"), modifiers.load("window"), schemes.load(scheme)
    shape = models.ModelConfig(n_layers=2, n_heads=2, width=16)

    def build(kernel):
        def made(options, dimensions: Dimensions):
            return modified(
                inner(options, dimensions),
                [(kind, kind.Config(window=9, sinks=2)), (cls, cls.Config(scales="all"))],
            )

        model = models.build(shape, made, inner.Config(), train_length=16, vocab_size=11, seed=0)
        model.use_kernel(kernel)
        return model

    fast, dense = build("auto"), build("reference")
    tokens = random_tokens(40)
    a, b = (model.losses(tokens[:, :-1], tokens[:, 1:]) for model in (fast, dense))
    assert torch.allclose(a, b, atol=1e-5)
    a.mean().backward()
    assert fast.scheme.scale.grad.abs().amin() > 0
    assert {
        name for name in fast.state_dict() if name.startswith("scheme.") and ".inner." not in name
    } == {"scheme.scale"}
