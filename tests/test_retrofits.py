"""The contract of a retrofit, checked on every one that the package holds around every scheme that
takes it; and the formulas of those that are not rotary (test_oracles_rotary_retrofits.py has the
others).

Shape letters: B batch, T positions, H heads, D head size.
"""

import ast
import copy
import dataclasses
import functools
import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from lengthgen import modifiers, retrofits, schemes
from lengthgen.config import catalogue, dataclass_from
from lengthgen.errors import ConfigError
from lengthgen.modifiers.base import modified
from lengthgen.retrofits.base import Retrofit, apply, refusal
from lengthgen.schemes.base import STRUCTURES

from .oracle import compare
from .test_oracles import compared
from .test_schemes import SMALL, Probe, longest, random_tokens, seen
from .wrapper_cases import SCHEMES, bare, by_loop, dot, through_hooks, turned

CONFIGS = Path(__file__).parent.parent / "configs" / "retrofit"
known_comparisons = functools.cache(compared)  # reads every test file
L = SMALL.train_length
CPU = torch.device("cpu")
FEW = ("rope", "alibi", "fire", "cope")  # one of each structure
ONLY = ("learned_rows", "tail_random")  # retrofits for tables
VARIANTS = {  # beside the options of each YAML
    "alibi_interpolation": [{"factor": 4.0}],
    "hard_window": [{"window": 9}],
    "learned_rows": [{"tail": "clamp"}, {"tail": "wrap"}],
    "lm_infinite": [{"window": 9, "sinks": 3}, {"window": 9, "sinks": 0}],
    "log_n": [{"scales": "scores"}],  # and "bias", where there is one: below
    "streaming_llm": [{"window": 7, "sinks": 3}, {"window": 7, "sinks": 0}],
    "tail_random": [{"start": 5}],
}
NEUTRAL = {  # options, and windows up to which logits are then those of the trained model
    "alibi_interpolation": [({}, L), ({"factor": 1.0}, 3 * L)],
    "dynamic_ntk": [({}, L)],
    "hard_window": [({}, L), ({"window": 3 * L}, 3 * L)],
    "learned_rows": [({}, L), ({"tail": "clamp"}, L), ({"tail": "wrap"}, L)],
    "llama3": [({"factor": 1.0}, 3 * L)],
    "lm_infinite": [({}, L), ({"sinks": 0}, L)],
    "log_n": [({}, L), ({"length": 3 * L}, 3 * L)],
    "ntk": [({"alpha": 1.0}, 3 * L), ({}, L)],
    "position_interpolation": [({"factor": 1.0}, 3 * L), ({}, L)],
    "rerope": [({"window": L}, L), ({"interval": 1.0, "log_n": False}, 3 * L)],
    "self_extend": [({"window": L}, L), ({"group": 1}, 3 * L)],
    "streaming_llm": [({}, L), ({"sinks": 0}, L)],
    "tail_mean": [({}, 3 * L // 4)],
    "tail_random": [({"start": L}, L)],
    "yarn": [({"factor": 1.0}, 3 * L), ({}, L)],
}


def yaml_options() -> list[tuple[str, dict]]:
    """(retrofit, options) of every YAML in configs/retrofit but none.yaml."""
    found = []
    for path in sorted(CONFIGS.glob("*.yaml")):
        if path.stem != "none":
            options = catalogue.contents(path, [catalogue.folder()])
            found.append((options.pop("name"), options))
    return found


def around(name: str, options: dict, scheme) -> tuple:
    """`scheme` with the retrofit, and the retrofit."""
    cls = retrofits.load(name)
    return apply(cls, cls.Config(**options), scheme)


def accepting(name: str) -> list[str]:
    return [scheme for scheme in SCHEMES if refusal(retrofits.load(name), bare(scheme)) is None]


def cases() -> list:
    """The options of each YAML around every scheme that takes them, others around one scheme of
    each structure."""
    found = []
    asked = [(name, options, SCHEMES) for name, options in yaml_options()]
    asked += [
        (name, options, SCHEMES if name in ONLY else FEW)
        for name, several in VARIANTS.items()
        for options in several
    ]
    for name, options, some in asked:
        changed = {
            key: value
            for key, value in options.items()
            if value != dataclasses.asdict(retrofits.load(name).Config())[key]
        }
        label = ",".join(f"{key}={value}" for key, value in changed.items())
        taking = [scheme for scheme in accepting(name) if scheme in some]
        found += [
            pytest.param(name, options, scheme, id=f"{scheme}+{name}({label})") for scheme in taking
        ]
    return found


every_case = pytest.mark.parametrize(("name", "options", "scheme"), cases())
every_retrofit = pytest.mark.parametrize("name", retrofits.names())


@every_retrofit
def test_is_accepted_somewhere_and_refuses_elsewhere_in_one_line(name):
    assert accepting(name)
    for scheme in set(SCHEMES) - set(accepting(name)):
        reason = refusal(retrofits.load(name), bare(scheme))
        assert name in reason and "\n" not in reason
        with pytest.raises(ConfigError) as refused:
            around(name, {}, bare(scheme))
        assert str(refused.value) == reason


@every_case
def test_causality_a_changed_token_changes_nothing_before_it(name, options, scheme):
    model = Probe(around(name, options, bare(scheme))[0], n_layers=2)
    tokens = random_tokens(longest(model.scheme, 3 * L))
    changed = tokens.clone()
    changed[:, 50] = (changed[:, 50] + 1) % 11
    difference = (model(tokens) - model(changed)).abs().amax((0, 2))
    assert difference[:50].max() == 0
    assert difference[50:55].min() > 1e-6


@every_case
def test_prefix_consistency_is_as_declared(name, options, scheme):
    """One that says it depends on the total length does, and one that says it does not does not:
    within and past the training length."""
    changed, _ = around(name, options, bare(scheme))
    tokens, model = random_tokens(longest(changed, 3 * L)), Probe(changed, n_layers=2)
    whole = model(tokens)
    difference = max(
        (model(tokens[:, :n]) - whole[:, :n]).abs().max() for n in (9, L, L + 1, 2 * L)
    )
    assert difference < 1e-5 if changed.declaration.prefix_consistent else difference > 1e-3


@every_case
def test_the_order_of_evaluation_changes_nothing(name, options, scheme):
    """A longer window before, or another draw of the same, leaves no trace: the trap of stateful
    dynamic NTK."""
    model = Probe(around(name, options, bare(scheme))[0], n_layers=2)
    short, long = random_tokens(L), random_tokens(longest(model.scheme, 3 * L))
    first, then, again = model(short), model(long), model(short)
    assert torch.equal(first, again)
    assert torch.equal(then, Probe(around(name, options, bare(scheme))[0], n_layers=2)(long))


@every_case
def test_finite_at_eight_times_the_trained_length(name, options, scheme):
    model = Probe(around(name, options, bare(scheme))[0], n_layers=2)
    with torch.no_grad():
        assert model(random_tokens(longest(model.scheme, 8 * L), batch=1)).isfinite().all()


@every_case
def test_changes_something_past_the_trained_length(name, options, scheme):
    tokens = random_tokens(longest(bare(scheme), 4 * L))  # T5's last bucket begins at offset 113
    difference = Probe(around(name, options, bare(scheme))[0], n_layers=2)(tokens) - Probe(
        bare(scheme), n_layers=2
    )(tokens)
    assert difference.abs().max() > 1e-4


@every_case
def test_declaration_is_well_formed_and_true_to_the_structure(name, options, scheme):
    changed, retrofit = around(name, options, bare(scheme))
    assert retrofit is changed and isinstance(retrofit, Retrofit)
    declared = changed.declaration
    assert (
        changed.structure in STRUCTURES
        and "\n" not in declared.tail
        and declared.tail != bare(scheme).declaration.tail
    )
    kinds = {"toeplitz": "Toeplitz", "rows": "Rows"}
    assert changed.general(0) == (changed.structure == "general")
    for bias in changed.biases(changed.positions(3 * L, CPU)):
        assert bias is None or type(bias).__name__ == kinds[changed.structure]


@pytest.mark.parametrize(
    ("name", "options", "length"),
    [(name, *case) for name, some in NEUTRAL.items() for case in some],
    ids=str,
)
def test_neutral_options_change_nothing(name, options, length):
    for scheme in accepting(name):
        trained = bare(scheme)
        tokens = random_tokens(longest(trained, length))
        before = Probe(trained, n_layers=2)(tokens)
        assert (
            Probe(around(name, options, trained)[0], n_layers=2)(tokens) - before
        ).abs().max() < 1e-4, scheme


@every_retrofit
def test_yaml_equals_the_dataclass(name):
    path, cls = CONFIGS / f"{name}.yaml", retrofits.load(name)
    given = OmegaConf.to_container(OmegaConf.load(path))
    assert given.pop("name") == name
    assert (
        given
        == dataclasses.asdict(cls.Config())
        == dataclasses.asdict(dataclass_from.build(cls.Config, given, "retrofit"))
    )
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# title: ")]
    assert lines and all("  # " in line for line in lines)


def test_every_other_yaml_is_none_or_a_variant():
    for path in CONFIGS.glob("*.yaml"):
        if path.stem in (*retrofits.names(), "none"):
            continue
        options = catalogue.contents(path, [catalogue.folder()])
        name = options.pop("name")
        assert f"\ndefaults: [{name}, _self_]\n" in path.read_text()
        defaults = dataclasses.asdict(retrofits.load(name).Config())
        assert list(options) == list(defaults) and options != defaults


@every_retrofit
def test_file_documents_itself_and_declares_what_is_compared(name):
    cls, tree = retrofits.load(name), ast.parse(retrofits.source(name).read_text())
    assert "Source:" in ast.get_docstring(tree) and "Formula:" in ast.get_docstring(tree)
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == [
        "Config",
        cls.__name__,
    ]
    assert cls.about.oracles and set(cls.about.oracles) == {
        oracle for scheme, oracle in known_comparisons() if scheme == name
    }
    assert 2015 < cls.about.year < 2030 and cls.about.paper and cls.about.applies_to


def test_goes_inside_the_modifiers_where_it_refuses_them():
    kinds = {name: modifiers.load(name) for name in ("window", "ssmax")}
    both = [
        (kinds["window"], kinds["window"].Config(window=9)),
        (kinds["ssmax"], kinds["ssmax"].Config()),
    ]
    trained = modified(bare("alibi"), both)
    names = list(trained.state_dict())
    changed, retrofit = around("alibi_interpolation", {"factor": 2.0}, trained)
    assert (
        changed is trained
        and changed.inner.inner is retrofit
        and type(retrofit.inner) is schemes.load("alibi")
    )
    changed, retrofit = around("hard_window", {"window": 5}, modified(bare("alibi"), both))
    assert changed.inner.inner is retrofit and changed.span(0).window == 5
    changed, retrofit = around("log_n", {}, modified(bare("alibi"), both))
    assert changed is retrofit and list(trained.state_dict()) == names
    with pytest.raises(ConfigError, match="divides ALiBi's slopes"):
        around("alibi_interpolation", {}, modified(bare("rope"), both))


def test_positions_that_were_dropped_are_not_retrofitted():
    """What DroPE leaves can be changed: windows, and the factor on the scores."""
    cls = modifiers.load("drope")

    def dropped():
        return modified(bare("rope"), [(cls, cls.Config())])

    for name in ("yarn", "rerope"):
        away = "changes positions, which modifier drope takes away before any evaluation"
        with pytest.raises(ConfigError, match=f"retrofit {name} {away}"):
            around(name, {}, dropped())
    assert around("hard_window", {"window": 5}, dropped())[0].span(0).window == 5
    changed, retrofit = around("log_n", {}, dropped())
    assert changed is retrofit


def test_a_scheme_that_wraps_another_is_taken_whole():
    """Only modifiers are gone into: what a scheme makes of another is its own."""
    from lengthgen.schemes.wrapper import Wrapper

    with pytest.raises(ConfigError, match="divides ALiBi's slopes"):
        around("alibi_interpolation", {}, Wrapper(None, bare("alibi")))


# Formulas


def test_alibi_interpolation_divides_the_slopes():
    scheme = bare("alibi")
    slopes = scheme.toeplitz(torch.arange(2), 0)[:, 1]
    for length, factor, divisor in (
        (70, None, 70 / L),
        (20, None, 1.0),
        (70, 4.0, 4.0),
        (20, 4.0, 4.0),
    ):
        ours = through_hooks(around("alibi_interpolation", {"factor": factor}, scheme)[0], length)
        loop = by_loop(
            length,
            lambda q, k, head, i, j, d=divisor: dot(q, k) + float(slopes[head]) * (i - j) / d,
        )
        compare(
            "alibi_interpolation",
            "float64 loop",
            f"attention output, {length} tokens, factor {factor}",
            ours,
            loop,
            1e-5,
        )


@pytest.mark.parametrize("scheme", ["t5_bias", "per_offset", "kerple_log"])
@pytest.mark.parametrize(("exposed", "average"), [(20, 5), (20, 1), (None, 4)])
def test_tail_mean_repairs_the_end_of_a_bias(scheme, exposed, average):
    inner = bare(scheme)
    old, kept = inner.toeplitz(torch.arange(200), 0).detach().double(), exposed or 3 * L // 4
    loop = torch.tensor(
        [
            [
                float(row[n]) if n < kept else float(sum(row[kept - average : kept])) / average
                for n in range(200)
            ]
            for row in old
        ]
    )
    ours = (
        around("tail_mean", {"exposed": exposed, "average": average}, inner)[0]
        .toeplitz(torch.arange(200), 0)
        .detach()
    )
    compare("tail_mean", "float64 loop", "bias, offsets to 199", ours, loop, 1e-6)


@pytest.mark.parametrize(("scheme", "start"), [("t5_bias", 32), ("per_offset", L - 1)])
def test_tail_random_redraws_the_last_value_alone(scheme, start):
    inner = bare(scheme, **({"max_distance": 48} if scheme == "t5_bias" else {}))
    start = inner.last_bucket_start if scheme == "t5_bias" else start
    offsets, old = torch.arange(200), inner.toeplitz(torch.arange(200), 0).detach().double()
    first, again, other = (
        around("tail_random", {"seed": seed}, inner)[0].toeplitz(offsets, 0).detach().double()
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and torch.equal(first[:, :start], old[:, :start])
    drawn = torch.randn(SMALL.n_heads, 1, generator=torch.Generator().manual_seed(0))
    loop = old.clone()
    for head in range(SMALL.n_heads):
        near = [float(value) for value in old[head, :start]]
        mean = sum(near) / start
        deviation = math.sqrt(sum((value - mean) ** 2 for value in near) / (start - 1))
        loop[head, start:] = mean + deviation * float(drawn[head])
    compare("tail_random", "float64 loop", "bias, offsets to 199", first, loop, 1e-5)
    assert (first[:, start:] - other[:, start:]).abs().min() > 1e-4
    per_layer = bare(scheme, per_layer=True)
    a, b = (around("tail_random", {}, per_layer)[0].drawn(layer) for layer in (0, 1))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("trained_with", ["untrained", "refuse", "clamp"])
def test_learned_rows_reads_the_trained_table(trained_with):
    inner = bare("learned", tail=trained_with)
    table, length, x = inner.table.detach().double(), 70, torch.zeros(1, 70, SMALL.width)
    for tail in ("clamp", "wrap", "resample"):
        changed, _ = around("learned_rows", {"tail": tail}, inner)
        ours = changed.embed(x, changed.positions(length, CPU))[0].detach()
        loop = torch.zeros(length, SMALL.width, dtype=torch.float64)
        for i in range(length):
            place = {"clamp": min(i, L - 1), "wrap": i % L, "resample": i * (L - 1) / (length - 1)}[
                tail
            ]
            below = min(math.floor(place), L - 2)
            loop[i] = table[below] * (below + 1 - place) + table[below + 1] * (place - below)
        compare("learned_rows", "float64 loop", f"embedding, {tail}, 70 tokens", ours, loop, 1e-5)
    assert inner.config.tail == trained_with and inner.table is changed.inner.table


@pytest.mark.parametrize(
    ("scales", "scheme"),
    [("all", "rope"), ("scores", "rope"), ("all", "alibi"), ("scores", "alibi"), ("bias", "alibi")],
)
def test_log_n_scales_queries_that_see_more_than_training_had(scales, scheme):
    inner = bare(scheme)
    slopes = (
        inner.toeplitz(torch.arange(2), 0)[:, 1]
        if scheme == "alibi"
        else torch.zeros(SMALL.n_heads)
    )

    def score(q, k, head, i, j):
        factor, bias = max(1.0, math.log(i + 1) / math.log(L)), float(slopes[head]) * (i - j)
        product = dot(turned(q, i), turned(k, j)) if scheme == "rope" else dot(q, k)
        on_scores, on_bias = (1 if scales == other else factor for other in ("bias", "scores"))
        return on_scores * product + on_bias * bias

    ours = through_hooks(around("log_n", {"scales": scales}, inner)[0], 70)
    compare(
        "log_n",
        "float64 loop",
        f"{scheme}, 70 tokens, scales={scales}",
        ours,
        by_loop(70, score),
        1e-5,
    )


def test_log_n_of_the_bias_alone_is_refused_where_there_is_none():
    for scheme in ("rope", "none", "cope"):
        with pytest.raises(ConfigError, match="scales=bias of log_n: the scheme adds no bias"):
            around("log_n", {"scales": "bias"}, bare(scheme))
    with pytest.raises(ConfigError, match=r"retrofit\.scales=score: expected one of all, scores"):
        around("log_n", {"scales": "score"}, bare("alibi"))


def test_log_n_factors_are_the_published_ones():
    """At L = 512: 1.11 at 2 L, 1.22 at 4 L, 1.33 at 8 L."""
    factor = around("log_n", {"length": 512}, bare("none"))[0].factor(
        torch.tensor([1, 512, 1024, 2048, 4096]), 0
    )
    assert [round(float(value), 2) for value in factor[0]] == [1.0, 1.0, 1.11, 1.22, 1.33]


def test_hard_window_is_a_band():
    from transformers.masking_utils import sliding_window_causal_mask_function

    theirs, places = sliding_window_causal_mask_function(9), torch.arange(50)
    changed = around("hard_window", {"window": 9}, bare("rope"))[0]
    compare(
        "hard_window",
        "transformers",
        "mask, 50 x 50",
        seen(changed.span(0), 50),
        theirs(0, 0, places[:, None], places),
        0,
    )
    loop = by_loop(
        50, lambda q, k, head, i, j: dot(turned(q, i), turned(k, j)), lambda i, j: i - j < 9
    )
    compare(
        "hard_window",
        "float64 loop",
        "attention output, rope",
        through_hooks(changed, 50),
        loop,
        1e-9,
    )


@torch.no_grad()
@pytest.mark.parametrize("scheme", ["rope", "alibi", "per_offset", "fire", "none"])
def test_lm_infinite_reads_no_key_as_farther_than_its_window(scheme):
    W, sinks, length = 9, 3, 40
    inner = bare(scheme)

    def score(q, k, head, i, j):
        distance = min(i - j, W)
        if scheme == "rope":
            return dot(turned(q, distance), k)  # scores see the difference of positions alone
        if scheme == "none":
            return dot(q, k)
        if scheme == "fire":
            return dot(q, k) + float(
                inner.rows(torch.tensor([i]), torch.tensor([i - distance]), 0)[head, 0, 0]
            )
        return dot(q, k) + float(inner.toeplitz(torch.tensor([distance]), 0)[head, 0])

    ours = through_hooks(
        around("lm_infinite", {"window": W, "sinks": sinks}, inner)[0], length
    ).detach()
    loop = by_loop(length, score, lambda i, j: i - j < W or j < sinks)
    compare(
        "lm_infinite", "float64 loop", f"attention output of {scheme}, 40 tokens", ours, loop, 1e-5
    )


def cached(scheme, tokens, sinks: int, window: int):
    """Logits (T, V) of one text fed token by token through a cache of the first `sinks` and last
    `window` keys, as Probe's weights say.

    Keys are kept as they are before any rotation; positions are counted inside the cache: an
    implementation by itself of what streaming_llm computes in one pass.
    """
    model, H = Probe(scheme, n_layers=2), SMALL.n_heads
    caches, out = [([], []) for _ in model.weights], []
    for token in tokens:
        x = model.embedding[token]
        for layer, (weights, (keys, values)) in enumerate(zip(model.weights, caches, strict=True)):
            y = model.normalise(x[None])[0]
            q, k, v = ((y @ w).view(H, -1) for w in weights[:3])
            for cache, new in ((keys, k), (values, v)):
                cache.append(new)
                if len(cache) > sinks + window:
                    del cache[sinks]
            n = len(keys)
            place = torch.arange(n)
            stacked = torch.stack(keys, 1)[None]  # (1, H, n, D)
            queries, turned_keys = scheme.rotate(
                q[None, :, None].expand(1, H, n, -1), stacked, place, layer
            )
            scores = (queries[0, :, -1:] @ turned_keys[0].transpose(-1, -2))[
                :, 0
            ] * scheme.score_scale
            bias = scheme.biases(scheme.positions(n, CPU))[layer]
            if bias is not None:
                scores = scores + (
                    bias.vector[:, :n].flip(1)
                    if hasattr(bias, "vector")
                    else bias.block(n - 1, n)[:, 0]
                )
            mixed = scores.softmax(-1)[:, None] @ torch.stack(values, 1)
            x = x + mixed.reshape(-1) @ weights[3]
        out.append(model.normalise(x[None])[0] @ model.embedding.T)
    return torch.stack(out).detach()


@pytest.mark.parametrize("scheme", ["rope", "xpos", "alibi", "t5_bias", "fire", "none"])
@pytest.mark.parametrize("sinks", [0, 3])
def test_streaming_llm_is_a_cache_fed_token_by_token(scheme, sinks):
    tokens = random_tokens(45, batch=1)
    theirs = cached(bare(scheme), tokens[0], sinks, window=7)
    ours = Probe(
        around("streaming_llm", {"window": 7, "sinks": sinks}, bare(scheme))[0], n_layers=2
    )(tokens)[0].detach()
    compare(
        "streaming_llm",
        "a cache, token by token",
        f"logits of {scheme}, {sinks} sinks, 45 tokens",
        ours,
        theirs,
        1e-5,
    )


@pytest.mark.parametrize("name", ["lm_infinite", "streaming_llm"])
def test_what_sinks_cannot_be_moved_for_is_refused(name):
    for scheme, options in (("learned", {}), ("fox", {}), ("cope", {}), ("fope", {})):
        with pytest.raises(
            ConfigError, match=f"retrofit {name} reads the first keys at another distance"
        ):
            around(name, options, bare(scheme))


@pytest.mark.parametrize(
    ("name", "options", "scheme", "words"),
    [
        (
            "alibi_interpolation",
            {"factor": 0.0},
            "alibi",
            "retrofit.factor=0.0: expected a positive number",
        ),
        ("hard_window", {"window": 0}, "rope", "retrofit.window=0"),
        (
            "learned_rows",
            {"tail": "clmap"},
            "learned",
            "retrofit.tail=clmap: expected one of resample, clamp, wrap; nearest: clamp",
        ),
        ("lm_infinite", {"sinks": -1}, "rope", "retrofit.sinks=-1"),
        ("lm_infinite", {"window": 0}, "rope", "retrofit.window=0"),
        ("log_n", {"length": 1}, "rope", "retrofit.length=1"),
        (
            "streaming_llm",
            {"sinks": L},
            "rope",
            f"retrofit.sinks={L}: expected fewer than train_length = {L}",
        ),
        ("streaming_llm", {"window": 0}, "rope", "retrofit.window=0"),
        ("tail_mean", {"exposed": 0}, "t5_bias", "retrofit.exposed=0"),
        (
            "tail_mean",
            {"exposed": 8, "average": 9},
            "t5_bias",
            "retrofit.average=9: expected at most the 8 offsets",
        ),
        ("tail_mean", {"average": 0}, "t5_bias", "retrofit.average=0"),
        ("tail_random", {"start": 1}, "t5_bias", "retrofit.start=1"),
    ],
)
def test_bad_options_get_one_line(name, options, scheme, words):
    with pytest.raises(ConfigError) as refused:
        around(name, options, bare(scheme))
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_the_real_model_computes_what_the_hooks_say():
    """Kernels, spans and the general path in bulk and by rows: losses with and without gradients
    agree with the reference kernel."""
    from lengthgen import model as models

    shape = models.ModelConfig(n_layers=2, n_heads=2, width=16)
    for name, options, scheme in (
        ("lm_infinite", {"sinks": 3}, "rope"),
        ("streaming_llm", {}, "fire"),
        ("hard_window", {}, "t5_bias"),
    ):
        kind, tokens = schemes.load(scheme), random_tokens(60)
        found = []
        for kernel in ("auto", "reference"):
            model = models.build(shape, kind, kind.Config(), train_length=16, vocab_size=11, seed=0)
            model.scheme, _ = around(name, options, copy.deepcopy(model.scheme))
            model.use_kernel(kernel)
            found.append(model.losses(tokens[:, :-1], tokens[:, 1:]))
            with torch.no_grad():
                found.append(model.losses(tokens[:, :-1], tokens[:, 1:]))
        assert all(torch.allclose(found[0], losses, atol=1e-5) for losses in found[1:]), name
