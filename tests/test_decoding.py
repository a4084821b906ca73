"""Decoding with a cache gives the logits of whole windows, for every scheme, modifier and retrofit
that the package holds; those that it cannot serve are refused, with the lines of REFUSED.

Shape letters: B texts, T tokens, H heads, K heads of keys and values, D head size, E width.
"""

import copy
import dataclasses
import inspect

import pytest
import torch

import lengthgen
from lengthgen import modifiers, retrofits, schemes
from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import general
from lengthgen.decoding.cache import Cache
from lengthgen.decoding.generation import Decoder, generate
from lengthgen.decoding.memory import cache_bytes
from lengthgen.decoding.refusal import refusal
from lengthgen.decoding.sampling import Sampling
from lengthgen.decoding.slots import Slots
from lengthgen.errors import ConfigError
from lengthgen.model import ModelConfig
from lengthgen.modifiers.base import modified
from lengthgen.retrofits import base as retrofitting
from lengthgen.schemes.base import Scheme
from lengthgen.schemes.wrapper import Wrapper

from .model_cases import VOCAB, float64, logits, real
from .test_retrofits import VARIANTS as RETROFIT_VARIANTS
from .test_retrofits import yaml_options
from .test_schemes import SMALL, keyed, longest
from .test_schemes import cases as scheme_cases
from .wrapper_cases import SCHEMES

L = SMALL.train_length
TOLERANCE = 2e-5  # of logits of size 3, float32
LENGTH = "reads every token by how long the whole text is, so that a further token changes all"
EARLIER = "makes the scores of a token from those of all tokens before it, and no cache"
# What no cache can serve: scheme or retrofit, the options under which, and its line.
REFUSED = [
    ("normalised_sinusoid", {}, LENGTH),
    ("randomised", {}, LENGTH),
    ("cape", {"centre": True}, LENGTH),
    ("learned", {"tail": "resample"}, LENGTH),
    ("selective", {}, EARLIER),
]
REFUSED_RETROFITS = [
    ("alibi_interpolation", {"factor": None}, LENGTH),
    ("dynamic_ntk", {}, LENGTH),
    ("learned_rows", {"tail": "resample"}, LENGTH),
    ("llama3", {"factor": None}, LENGTH),
    ("ntk", {"alpha": None, "base": None}, LENGTH),
    ("position_interpolation", {"factor": None}, LENGTH),
    ("yarn", {"factor": None}, LENGTH),
]
# Under a factor that is given they are served.
GIVEN = [
    ("llama3", {"factor": 4.0}),
    ("ntk", {"alpha": 4.0}),
    ("ntk", {"base": 50000.0}),
    ("position_interpolation", {"factor": 4.0}),
    ("yarn", {"factor": 4.0}),
    ("longrope", {"factor": 4.0, "start_tokens": 5}),
    ("rerope", {"window": 7}),
    ("rerope", {"window": 2 * L, "interval": 0.25}),
    ("self_extend", {"window": 5, "group": 3}),
    ("lm_infinite", {"window": 5, "sinks": 9}),
    ("rotation_replaced", {}),
    ("rotation_replaced", {"by": "alibi", "every": 2}),
    ("streaming_llm", {"window": 5, "sinks": 9}),
]
MODIFIERS = [
    ("rope", [("window", {"window": 8, "sinks": 2})]),
    ("none", [("window", {"window": 1, "sinks": 1})]),
    ("t5_bias", [("window", {"window": 8, "layers": [1]})]),
    ("fire", [("window", {"window": 8, "sinks": 3})]),
    ("fox", [("window", {"window": 8, "sinks": 2}), ("ssmax", {"bias": True})]),
    ("cope", [("window", {"window": 8, "sinks": 2}), ("log_n", {})]),
    ("path", [("window", {"window": 8})]),
    ("selective_rope", [("window", {"window": 8}), ("log_n", {"clip": True})]),
    ("shaw", [("ssmax", {})]),
    ("alibi", [("log_n", {"scales": "bias"})]),
    ("alibi", [("ssmax", {}), ("layer_mix", {"every": 2, "window": 8, "sinks": 2})]),
    ("cable", [("ssmax", {"scales": "all"})]),
    ("fox", [("layer_mix", {"every": 2})]),
    ("cope", [("layer_mix", {"every": 2})]),
    ("rope", [("drope", {})]),
    ("bipe", [("drope", {"fraction": 0.5})]),
    ("learned", [("log_n", {})]),
]


def refused(name: str, options: dict, table: list) -> str | None:
    """The line of the table for these options; given ones only count if the table names them."""
    for known, some, line in table:
        if known == name and all(options.get(key) == value for key, value in some.items()):
            return line
    return None


def with_modifiers(name: str, chosen: list):
    """A model around the scheme inside these modifiers."""
    model = real(name, {})
    kinds = [(modifiers.load(kind), options) for kind, options in chosen]
    kinds.sort(key=lambda pair: pair[0].stage)
    model.scheme = modified(model.scheme, [(cls, cls.Config(**given)) for cls, given in kinds])
    model.scheme.initialise(keyed(0))
    model.scheme.begin_step(1, 1)
    return model.eval()


def with_retrofit(name: str, options: dict, scheme: str, chosen: list = ()):
    cls = retrofits.load(name)
    model = with_modifiers(scheme, chosen) if chosen else real(scheme, {})
    model.scheme, _ = retrofitting.apply(cls, cls.Config(**options), model.scheme)
    return model.eval()


def tokens_of(length: int, batch: int = 2) -> torch.Tensor:
    return torch.randint(VOCAB, (batch, length), generator=torch.Generator().manual_seed(length))


def cached_logits(model, tokens: torch.Tensor, prompt: int, room: int = 0) -> torch.Tensor:
    """(B, T - prompt + 1, V): logits at the prompt's last token and at each that follows it."""
    decoder = Decoder(model, room)
    after = [decoder.prefill(tokens[:, :prompt])]
    after += [decoder.step(tokens[:, t]) for t in range(prompt, tokens.shape[1])]
    return torch.stack(after, dim=1)


def check(model, tolerance: float = TOLERANCE):
    """From one token past twice the training length, and from a longer prompt on."""
    most = longest(model.scheme, 3 * L)
    whole = logits(model, tokens := tokens_of(most))
    for prompt, last in ((1, L + 9), (min(most - 4, 2 * L + 5), min(most, 2 * L + 16))):
        last = min(last, most)
        cached = cached_logits(model, tokens[:, :last], prompt)
        assert (cached - whole[:, prompt - 1 : last]).abs().max() < tolerance, prompt
    assert whole.std() > 0.1


@pytest.mark.parametrize(("name", "options"), scheme_cases())
def test_a_scheme_decodes_as_it_reads_whole_windows_or_is_refused(name, options):
    model = real(name, options)
    line = refused(name, options, REFUSED)
    if line is None:
        assert refusal(model.scheme) is None
        check(model)
        return
    with pytest.raises(ConfigError) as error:
        generate(model, tokens_of(3), 1)
    assert line in str(error.value) and name in str(error.value)
    assert "\n" not in str(error.value)


def retrofit_cases() -> list:
    """Every YAML's options and some others around every scheme that takes them."""
    asked = yaml_options() + GIVEN
    asked += [(name, options) for name, several in RETROFIT_VARIANTS.items() for options in several]
    found = []
    for name, given in asked:
        cls = retrofits.load(name)
        options = dataclasses.asdict(cls.Config(**given))
        default = dataclasses.asdict(cls.Config())
        label = ",".join(f"{k}={v}" for k, v in options.items() if v != default[k])
        for scheme in SCHEMES:
            if retrofitting.refusal(cls, real(scheme, {}).scheme) is None:
                where = f"{scheme}+{name}({label})"
                if where not in {case.id for case in found}:
                    found.append(pytest.param(name, options, scheme, id=where))
    return found


@pytest.mark.parametrize(("name", "options", "scheme"), retrofit_cases())
def test_a_retrofit_decodes_as_it_reads_whole_windows_or_is_refused(name, options, scheme):
    model = with_retrofit(name, options, scheme)
    line = refused(name, options, REFUSED_RETROFITS)
    if line is None:
        assert refusal(model.scheme) is None
        check(model)
        return
    with pytest.raises(ConfigError, match=line) as error:
        generate(model, tokens_of(3), 1)
    # learned_rows re-reads the trained table, which is what follows the length.
    assert name in str(error.value) or name == "learned_rows"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "chosen"), MODIFIERS)
def test_modifiers_decode_as_they_read_whole_windows(name, chosen):
    check(with_modifiers(name, chosen))


@pytest.mark.parametrize(
    ("name", "options", "modifier"),
    [
        ("rerope", {"window": 9}, ("ssmax", {})),
        ("rerope", {"window": 9}, ("window", {"window": 12, "sinks": 2})),
        ("rerope", {"window": 12}, ("window", {"window": 9, "sinks": 2})),
        ("self_extend", {"window": 9}, ("layer_mix", {"every": 2})),
        ("streaming_llm", {"window": 9, "sinks": 4}, ("window", {"window": 5, "sinks": 2})),
        ("streaming_llm", {"window": 9, "sinks": 4}, ("log_n", {})),
        ("hard_window", {"window": 9}, ("log_n", {})),
    ],
)
def test_retrofits_inside_modifiers_do_too(name, options, modifier):
    check(with_retrofit(name, options, "rope", [modifier]))


@pytest.mark.parametrize("name", ["rope", "alibi", "fire", "fox", "cope", "path", "learned"])
def test_in_float64_they_are_equal(name):
    model = copy.deepcopy(real(name, {})).double()
    with float64():
        check(model, 1e-11)


@pytest.mark.parametrize(("name", "options"), [("rerope", {"window": 9}), ("streaming_llm", {})])
def test_retrofits_in_float64_are_equal(name, options):
    model = copy.deepcopy(with_retrofit(name, options, "rope")).double()
    with float64():
        check(model, 1e-11)


def test_a_room_that_was_too_small_or_too_large_changes_nothing():
    model, tokens = real("t5_bias", {}), tokens_of(2 * L)
    whole = logits(model, tokens)
    for room in (0, 3, 5 * L):
        assert (cached_logits(model, tokens, 2, room) - whole[:, 1:]).abs().max() < TOLERANCE


class Steers(Scheme):
    """Queries and keys are multiplied by their text so far, with the hooks of old alone."""

    def steer(self, q, k, x, layer):
        so_far = x.cumsum(1).mean(-1)[:, None, :, None].tanh()
        return q * (1 + so_far), k * (1 - so_far)

    @property
    def declaration(self):
        return real("none", {}).scheme.declaration


class Halves(Wrapper):
    """A wrapper that changes scores and says nothing of decoding."""

    def logits(self, q, k, x, positions, layer, first):
        return self.inner.logits(q, k, x, positions, layer, first) / 2


def test_a_scheme_of_a_users_own_needs_no_further_hook():
    model = real("none", {})
    model.scheme = Steers(None, SMALL)
    assert model.scheme.reads_text
    check(model)


def test_nor_does_a_wrapper():
    model = with_retrofit("rerope", {"window": 9}, "rope")
    model.scheme = Halves(None, model.scheme)
    assert (logits(model, tokens_of(L)) - logits(with_retrofit("rerope", {"window": 9}, "rope"),
            tokens_of(L))).abs().max() > 1e-2  # fmt: skip
    check(model)


# Grouped heads of keys and values


@pytest.mark.parametrize(
    ("name", "retrofit"),
    [
        ("rope", None),
        ("alibi", None),
        ("fox", None),
        ("cope", None),
        ("rope", ("rerope", {"window": 5})),
        ("rope", ("streaming_llm", {"window": 5, "sinks": 2})),
    ],
)
def test_grouped_keys_and_values_are_kept_once_a_group(name, retrofit):
    """Two heads of keys for four of queries: as four heads, of which two and two are equal."""
    model = with_retrofit(*retrofit, name) if retrofit else real(name, {})
    scheme, H, D, T = model.scheme, SMALL.n_heads, SMALL.head_dim, 20
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, H, T, D, generator=generator)
    k, v = torch.randn(2, 2, 2, T, D, generator=generator)
    x = torch.randn(2, T, SMALL.width, generator=generator)
    grouped, single = Cache(scheme), Cache(scheme)
    outputs = []
    for cache, repeats in ((grouped, 1), (single, 2)):
        keys, values = (part.repeat_interleave(repeats, 1) for part in (k, v))
        parts = [(0, 7), *((t, t + 1) for t in range(7, T))]
        rows = []
        for first, last in parts:
            cache.embed(x[:, first:last], torch.zeros(2, last - first, dtype=torch.int64))
            rows.append(
                cache.attend(
                    *(part[:, :, first:last] for part in (q, keys, values)), x[:, first:last], 0
                )
            )
        outputs.append(torch.cat(rows, 2))
    assert (outputs[0] - outputs[1]).abs().max() < 1e-5
    sums = (
        sum(layer.buffers()[2].nbytes for layer in grouped.layers.values()) if name == "fox" else 0
    )
    assert 2 * (grouped.nbytes - sums) == single.nbytes - sums


# Bytes


def kept_bytes(model, length: int, batch: int = 2, prompt: int = 1) -> int:
    """Bytes of the cache after `length` tokens, made for so many."""
    decoder, tokens = Decoder(model, length), tokens_of(length, batch)
    decoder.prefill(tokens[:, :prompt])
    for t in range(prompt, length):
        decoder.step(tokens[:, t])
    assert decoder.cache.length == length
    return decoder.cache.nbytes


N, H, D, E = SMALL.n_layers, SMALL.n_heads, SMALL.head_dim, SMALL.width
PAIR = 2 * N * H * 2 * D * 4  # of a token: two texts, keys and values, float32
BYTES = {
    "rope": lambda T: PAIR * T,
    "alibi": lambda T: PAIR * T,
    "learned": lambda T: PAIR * T,
    "pope": lambda T: PAIR * T * 3 // 2,  # keys of two numbers a channel
    "fox": lambda T: PAIR * T + 2 * N * H * 8 * T,
    "cope": lambda T: PAIR * T,
    "path": lambda T: PAIR * T + 2 * N * E * 4 * T,
    "selective_rope": lambda T: PAIR * T + 2 * N * E * 4 * T,
    "bipe": lambda T: PAIR * T + 2 * 8 * T,
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_are_those_of_keys_values_and_what_the_scheme_reads(name):
    model = real(name, {})
    for length in (5, 2 * L):
        assert kept_bytes(model, length) == BYTES[name](length)
        assert cache_bytes(model.scheme, 2, length) == BYTES[name](length)


WINDOWS = {  # retrofit, its options, tokens kept; of keys besides, in tokens
    "streaming_llm": ({"window": 6, "sinks": 3}, 9, 3),
    "lm_infinite": ({"window": 6, "sinks": 3}, 9, 3),
    "hard_window": ({"window": 6}, 6, 0),
}


@pytest.mark.parametrize("scheme", ["rope", "alibi", "none"])
@pytest.mark.parametrize("name", WINDOWS)
def test_bytes_stop_growing_under_a_window_and_sinks(name, scheme):
    options, kept, besides = WINDOWS[name]
    model = with_retrofit(name, options, scheme)
    expected = PAIR * kept + (PAIR // 2 * besides if scheme == "rope" else 0)
    assert [kept_bytes(model, length) for length in (kept, L, 3 * L)] == 3 * [expected]
    assert kept_bytes(model, 3 * L, prompt=2 * L) == expected
    assert [cache_bytes(model.scheme, 2, length) for length in (kept, 10**6)] == 2 * [expected]
    grown = Decoder(model)  # with no room foreseen it may double, and not past the window
    grown.prefill(tokens_of(2))
    for t in range(2, 2 * L):
        grown.step(tokens_of(2 * L)[:, t])
    assert grown.cache.nbytes == expected


def test_double_attention_keeps_a_ring_of_near_keys_besides():
    model = with_retrofit("rerope", {"window": 6}, "rope")
    for length in (6, L, 3 * L):
        expected = PAIR * length + PAIR // 2 * 6
        assert kept_bytes(model, length) == expected == cache_bytes(model.scheme, 2, length)


@pytest.mark.parametrize(("name", "chosen"), MODIFIERS)
def test_the_formula_of_bytes_holds_for_every_modifier(name, chosen):
    model = with_modifiers(name, chosen)
    assert cache_bytes(model.scheme, 2, 20) == kept_bytes(model, 20)


@pytest.mark.parametrize("name", schemes.names())
def test_the_formula_of_bytes_holds_for_every_scheme(name):
    model = real(name, {})
    if refusal(model.scheme) is None:
        assert cache_bytes(model.scheme, 2, 20) == kept_bytes(model, 20)


def test_the_formula_counts_grouped_heads_and_half_precision():
    scheme = real("rope", {}).scheme
    assert 2 * cache_bytes(scheme, 2, 20, kv_heads=2) == PAIR * 20
    assert 2 * cache_bytes(scheme, 2, 20, element=2) == PAIR * 20


# Slots


@pytest.mark.parametrize(
    ("slots", "length", "tokens"),
    [
        (Slots(), 4, [0, 1, 2, 3]),
        (Slots(2, 3), 4, [0, 1, 2, 3]),
        (Slots(2, 3), 7, [0, 1, 5, 6, 4]),
        (Slots(0, 3), 7, [6, 4, 5]),
        (Slots(2, 0), 7, [0, 1]),
    ],
)
def test_which_token_a_slot_holds(slots, length, tokens):
    held = slots.tokens(length, torch.device("cpu"))
    assert held.tolist() == tokens
    assert slots.places(held).tolist() == list(range(len(tokens)))
    assert [slots.place(token) for token in tokens] == list(range(len(tokens)))
    ranges = slots.kept(0, length)
    assert sorted(tokens) == [token for first, last in ranges for token in range(first, last)]


def test_a_span_that_hides_nothing_keeps_everything():
    assert Slots.of(None) == Slots.of(Span(None, 3)) == Slots()


# Generating


def test_greedy_generation_is_what_whole_windows_say():
    model, tokens = real("t5_bias", {}), tokens_of(5)
    text = tokens
    for _ in range(L):
        text = torch.cat((text, logits(model, text)[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(generate(model, tokens, L), text[:, 5:])
    assert torch.equal(generate(model, tokens, L, temperature=1.0, top_k=1), text[:, 5:])


def test_sampling_is_the_generators_and_its_shares_are_the_softmax():
    model, tokens = real("rope", {}), tokens_of(4)

    def drawn(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return generate(model, tokens, 12, temperature=0.8, top_k=5, generator=generator)

    assert torch.equal(drawn(0), drawn(0)) and not torch.equal(drawn(0), drawn(1))
    scores = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(20000, -1)
    draw = Sampling(2.0, 3, torch.Generator().manual_seed(0)).next(scores)
    shares = draw.bincount(minlength=4) / len(draw)
    expected = (torch.tensor([0.0, 1.0, 2.0, float("-inf")]) / 2).softmax(0)
    assert (shares - expected).abs().max() < 0.015


def test_generate_is_a_public_name():
    assert lengthgen.generate is generate


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n=0: expected"),
        ({"temperature": -1.0}, "temperature=-1.0: expected"),
        ({"temperature": float("nan")}, "temperature=nan: expected"),
        ({"top_k": 0, "temperature": 1.0}, "top_k=0: expected"),
        ({"top_k": 3}, "top_k=3 has no effect at temperature 0"),
        ({"tokens": torch.zeros(2, 0, dtype=torch.int64)}, r"tokens of shape \(2, 0\)"),
        ({"tokens": torch.zeros(4, dtype=torch.int64)}, r"tokens of shape \(4,\)"),
    ],
)
def test_other_values_are_refused_in_one_line(options, words):
    arguments = {"tokens": tokens_of(3), "n": 2} | options
    with pytest.raises(ConfigError, match=words):
        inspect.unwrap(generate)(real("none", {}), **arguments)


def test_a_length_that_the_scheme_refuses_is_refused_before_any_work():
    model = real("learned", {"tail": "refuse"})
    assert generate(model, tokens_of(L - 3), 4).shape == (2, 4)
    with pytest.raises(ConfigError, match=f"have {L} rows and the window has {L + 1}"):
        generate(model, tokens_of(L - 3), 5)


def test_a_model_in_training_and_a_text_begun_twice_are_refused():
    model = real("rope", {})
    decoder = Decoder(model)
    decoder.prefill(tokens_of(3))
    with pytest.raises(ConfigError, match="prefill after 3 tokens"):
        decoder.prefill(tokens_of(3))
    with pytest.raises(ConfigError, match="one token at a time"):
        model.continued(tokens_of(2), decoder.cache)
    with pytest.raises(ConfigError, match="the model is in training"):
        Decoder(model.train())


# Going back


def test_a_cache_can_be_rewound_while_it_holds_all():
    model, tokens = real("fox", {}), tokens_of(12)
    decoder = Decoder(model)
    decoder.prefill(tokens)
    after = decoder.step(tokens[:, 3])
    decoder.step(tokens[:, 5])
    decoder.cache.rewind(12)
    assert torch.equal(decoder.step(tokens[:, 3]), after)
    with pytest.raises(ConfigError, match="rewind to 14 tokens: the cache holds 13"):
        decoder.cache.rewind(14)


def test_a_cache_cannot_be_rewound_past_what_a_window_let_go():
    model = with_retrofit("streaming_llm", {"window": 6, "sinks": 2}, "rope")
    decoder = Decoder(model)
    decoder.prefill(tokens_of(8))
    decoder.cache.rewind(7)
    decoder.step(tokens_of(8)[:, 0])
    decoder.step(tokens_of(8)[:, 1])
    with pytest.raises(ConfigError, match="a window has let go"):
        decoder.cache.rewind(8)


def test_without_tied_heads_and_with_other_blocks_too():
    shape = ModelConfig(
        n_layers=2, n_heads=4, width=32, norm="rmsnorm", activation="swiglu", tie_head=False,
        qk_norm=True,
    )  # fmt: skip
    check(real("rope", {}, shape))


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rerope", {"window": 9}),
        ("self_extend", {"window": 5, "group": 3}),
        ("streaming_llm", {"window": 6, "sinks": 3}),
        ("lm_infinite", {"window": 5, "sinks": 9}),
    ],
)
def test_long_prompts_are_read_by_chunks_of_rows(name, options, rows, monkeypatch):
    model, tokens = with_retrofit(name, options, "rope"), tokens_of(2 * L)
    whole = logits(model, tokens)
    keys = min(2 * L, sum(options.values())) if "sinks" in options else 2 * L
    monkeypatch.setattr(general, "SCORES_AT_ONCE", {"cpu": rows * SMALL.n_heads * keys})
    for prompt in (2 * L - 3, 2 * L):
        cached = cached_logits(model, tokens, prompt)
        assert (cached - whole[:, prompt - 1 :]).abs().max() < TOLERANCE
