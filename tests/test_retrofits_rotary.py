"""The rotary retrofits around other rotary schemes than rope, where they change nothing, and what
each is made of.

test_retrofits.py checks the contract of every retrofit, test_retrofits_longrope.py LongRoPE's
search, and test_oracles_rotary_retrofits.py compares formulas with other people's.

Shape letters: B batch, T positions, H heads, D head size, P pairs.
"""

import contextlib
import dataclasses
import math

import pytest
import torch

from lengthgen import modifiers, retrofits
from lengthgen.config import catalogue, dataclass_from
from lengthgen.errors import ConfigError
from lengthgen.modifiers.base import modified
from lengthgen.retrofits import base

from .test_oracles import compared
from .test_schemes import SMALL, Probe, make, random_tokens
from .wrapper_cases import tensors

CPU = torch.device("cpu")
L = SMALL.train_length
SCHEMES = [
    ("rope", {"layout": "half_split"}),
    ("rope_partial", {"fraction": 0.5}),
    ("fope", {"base": 10.0}),
]
CASES = [
    ("position_interpolation", {}), ("position_interpolation", {"factor": 3.0}),
    ("ntk", {}), ("ntk", {"alpha": 5.0}), ("ntk", {"base": 5e5}),
    ("dynamic_ntk", {}), ("dynamic_ntk", {"alpha": 4.0}),
    ("yarn", {}), ("yarn", {"factor": 4.0}), ("yarn", {"factor": 4.0, "ramp": "rotations"}),
    ("llama3", {}), ("llama3", {"factor": 8.0}),
    ("longrope", {}), ("longrope", {"start_tokens": 3}),
    ("rope_zero_slow", {}),
    ("rerope", {}), ("rerope", {"interval": 0.0625, "log_n": False}),
    ("self_extend", {}), ("self_extend", {"group": 3, "window": 7}),
]  # fmt: skip
OWN = sorted({name for name, _ in CASES})
IDENTICAL = [  # options under which nothing changes in any window of up to so many tokens
    ("position_interpolation", {"factor": 1.0}, 64), ("position_interpolation", {}, L),
    ("ntk", {"alpha": 1.0}, 64), ("ntk", {"base": 10000.0}, 64), ("ntk", {}, L),
    ("dynamic_ntk", {}, L), ("dynamic_ntk", {"alpha": 4.0}, L),
    ("yarn", {"factor": 1.0}, 64), ("yarn", {"factor": 1.0, "ramp": "rotations"}, 64),
    ("yarn", {}, L),
    ("llama3", {"factor": 1.0}, 64), ("llama3", {}, L),
    ("longrope", {"factor": 1.0}, 64),
    ("longrope", {"factors": [1.0] * 4, "temperature": False}, 64),
    ("longrope", {"start_tokens": 64, "temperature": False}, 64),
    ("rope_zero_slow", {"period": 1e6}, 64),
    ("rerope", {}, L // 2), ("rerope", {"window": 64, "log_n": False}, 64),
    ("rerope", {"interval": 1.0, "log_n": False}, 64),
    ("self_extend", {}, L // 4), ("self_extend", {"group": 1}, 64),
    ("self_extend", {"window": 64}, 64),
]  # fmt: skip


def around(name: str, options: dict, scheme: str = "rope", scheme_options: dict | None = None):
    kind = retrofits.load(name)
    inner = make(scheme, scheme_options or {})
    assert kind.refuses(inner) is None
    return kind(kind.Config(**options), inner)


def cases() -> list:
    found = []
    for name, options in CASES:
        for scheme, scheme_options in SCHEMES:
            if retrofits.load(name).refuses(make(scheme, scheme_options)) is None:
                label = f"{scheme}{scheme_options or ''}+{name}{options or ''}".replace(
                    "'", ""
                ).replace(" ", "")
                found.append(pytest.param(name, options, scheme, scheme_options, id=label))
    return found


every_case = pytest.mark.parametrize(("name", "options", "scheme", "scheme_options"), cases())


@torch.no_grad()
def logits(scheme, length: int, shift: int = 0):
    return Probe(scheme, n_layers=2)(random_tokens(64)[:, :length], shift)


# Every one of them
# ------------------------------------------------------------------------------


@every_case
def test_declarations_hold_around_other_rotary_schemes(name, options, scheme, scheme_options):
    retrofit = around(name, options, scheme, scheme_options)
    whole, declared = logits(retrofit, 64), retrofit.declaration
    difference = max((logits(retrofit, n) - whole[:, :n]).abs().max() for n in (9, 31, 32, 40))
    assert difference < 1e-5 if declared.prefix_consistent else difference > 1e-4
    difference = max(
        (logits(retrofit, 24, shift) - logits(retrofit, 24)).abs().max() for shift in (1, 5)
    )
    assert difference < 1e-6 if declared.shift_invariant else difference > 1e-4


@every_case
def test_dtypes_rows_and_devices(name, options, scheme, scheme_options, monkeypatch):
    retrofit = around(name, options, scheme, scheme_options)
    positions = retrofit.positions(48, CPU)
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        q, k, _, x = (t.to(dtype) for t in tensors(48))
        turned = retrofit.rotate(q, k, positions, 1)
        assert all(
            a.shape == b.shape and a.dtype == dtype for a, b in zip(turned, (q, k), strict=True)
        )
        if retrofit.general(1):
            q, k = (t.to(torch.promote_types(dtype, torch.float32)) for t in turned)
            whole = retrofit.logits(q, k, x, positions, 1, 0)
            part = retrofit.logits(q[:, :, 20:40], k[:, :, :40], x, positions, 1, 20)
            assert whole.dtype == q.dtype and torch.allclose(
                part, whole[:, :, 20:40, :40], atol=1e-5
            )
    monkeypatch.setattr(
        torch, "autocast", lambda *_, **__: contextlib.nullcontext()
    )  # it does not know the meta device
    retrofit, meta = (
        retrofit.to("meta"),
        torch.empty(1, SMALL.n_heads, 24, SMALL.head_dim, device="meta"),
    )
    positions = retrofit.positions(24, torch.device("meta"))
    assert all(t.is_meta for t in retrofit.rotate(meta, meta, positions, 0))
    assert not retrofit.general(0) or retrofit.logits(meta, meta, None, positions, 0, 0).is_meta


@pytest.mark.parametrize(("name", "options", "length"), IDENTICAL)
def test_identity(name, options, length):
    """And one token more changes something, where the length is what keeps it the same."""
    scheme = make("rope", {})
    assert (logits(around(name, options), length) - logits(scheme, length)).abs().max() < 1e-9
    assert (
        length == 64 or (logits(around(name, options), 64) - logits(scheme, 64)).abs().max() > 1e-4
    )


@pytest.mark.parametrize("name", OWN)
def test_what_has_no_plain_rotation_is_refused(name):
    kind = retrofits.load(name)
    for scheme in (
        "alibi",
        "none",
        "xpos",
        "pope",
        *(("fope",) if name in ("rerope", "self_extend") else ()),
    ):
        reason = kind.refuses(make(scheme, {}))
        assert reason.startswith(f"retrofit {name} ") and "\n" not in reason
        with pytest.raises(ConfigError, match=name):
            base.apply(kind, kind.Config(), make(scheme, {}))
    for scheme in ("rope", "rope_partial", "p_rope", "hope_period"):
        assert (
            kind.refuses(make(scheme, {"fraction": 0.5} if scheme == "rope_partial" else {}))
            is None
        )
    needs_two = name in ("ntk", "dynamic_ntk", "longrope")
    assert (
        bool(kind.refuses(make("rope_partial", {}))) == needs_two
    )  # one pair is left of 8 channels


@pytest.mark.parametrize("name", OWN)
def test_goes_inside_what_was_trained_around_the_rotation(name):
    kind, log_n = retrofits.load(name), modifiers.load("log_n")
    scheme = modified(make("rope", {}), [(log_n, log_n.Config())])
    outer, retrofit = base.apply(kind, kind.Config(), scheme)
    assert outer is scheme and outer.inner is retrofit and type(retrofit) is kind
    assert logits(outer, 64).isfinite().all()


def test_they_say_what_they_are():
    made, inner = compared(), make("rope", {}).declaration
    for name, options in CASES:
        assert set(retrofits.load(name).about.oracles) == {
            oracle for who, oracle in made if who == name
        }
        changed = around(name, options)
        declared = changed.declaration
        assert declared.tail != inner.tail and "\n" not in declared.tail
        assert (changed.structure == "none") == (declared.acts_on != "scores")


def test_yaml_files_list_every_option_with_a_comment():
    for stem, path in catalogue.files("retrofit", [catalogue.folder()]).items():
        given = catalogue.contents(path, [catalogue.folder()])
        if given.get("name") not in OWN:
            continue
        kind = retrofits.load(given.pop("name"))
        assert list(given) == [field.name for field in dataclasses.fields(kind.Config)], stem
        assert (dataclass_from.build(kind.Config, given, "retrofit") == kind.Config()) == (
            stem in OWN
        ), stem
        if stem in OWN:
            lines = path.read_text().splitlines()
            keys = [line for line in lines if not line.startswith("# title: ")]
            assert keys and all("  # " in line for line in keys), stem


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "position_interpolation",
            {"factor": 0.5},
            "retrofit.factor=0.5: expected a number >= 1 or null",
        ),
        ("ntk", {"alpha": 0.5}, "retrofit.alpha=0.5: expected a number >= 1 or null"),
        ("ntk", {"alpha": 2.0, "base": 5e5}, "expected one of them"),
        ("dynamic_ntk", {"alpha": 0.0}, "retrofit.alpha=0.0: expected a number >= 1"),
        ("yarn", {"ramp": "linear"}, "retrofit.ramp=linear: expected one of index, rotations"),
        (
            "yarn",
            {"slow": 40.0},
            "retrofit.slow=40.0, retrofit.fast=32.0: expected 0 < slow < fast",
        ),
        ("llama3", {"low": 5.0}, "retrofit.low=5.0, retrofit.high=4.0: expected 0 < low < high"),
        ("longrope", {"looks": 2}, "retrofit.looks=2: expected a whole number >= 3"),
        (
            "longrope",
            {"factors": [1.0, 2.0]},
            "retrofit.factors has 2 numbers: expected one for each of 4 pairs",
        ),
        (
            "rope_zero_slow",
            {"period": 0.0},
            "retrofit.period=0.0: expected a positive number or null",
        ),
        ("rerope", {"interval": 2.0}, "retrofit.interval=2.0: expected 0 <= interval <= 1"),
        ("self_extend", {"group": 0}, "retrofit.group=0: expected a positive integer"),
    ],
)
def test_bad_options_get_one_line(name, options, words):
    with pytest.raises(ConfigError) as refused:
        around(name, options)
    assert words in str(refused.value) and "\n" not in str(refused.value)


# One by one
# ------------------------------------------------------------------------------


def test_ntk_slows_the_last_pair_by_alpha_and_the_first_not_at_all():
    own = make("rope", {}).spectrum.frequencies(CPU)
    slower = own / around("ntk", {"alpha": 5.0}).frequencies(64, CPU)
    assert slower.tolist() == pytest.approx([1, 5 ** (1 / 3), 5 ** (2 / 3), 5])


def test_dynamic_ntk_of_alpha_1_is_ntk_of_the_windows_length():
    for length in (32, 33, 64, 200):
        assert torch.equal(
            around("dynamic_ntk", {}).frequencies(length, CPU),
            around("ntk", {}).frequencies(length, CPU),
        )


@pytest.mark.parametrize("options", [{"ramp": "index"}, {"ramp": "rotations"}])
def test_yarn_keeps_fast_pairs_and_slows_slow_ones_by_the_whole_factor(options):
    kind = retrofits.load("yarn")
    inner = make("rope", {}, dataclasses.replace(SMALL, head_dim=64, train_length=4096))
    own, changed = (
        inner.spectrum.frequencies(CPU),
        kind(kind.Config(factor=4.0, **options), inner).frequencies(0, CPU),
    )
    turns, slower = 4096 * own / (2 * math.pi), own / changed
    assert torch.allclose(slower[turns > 64], torch.ones(1, dtype=torch.float64))
    assert torch.allclose(slower[turns < 0.5], torch.full((1,), 4.0, dtype=torch.float64))
    assert (slower.diff() >= 0).all() and ((slower > 1.01) & (slower < 3.99)).sum() > 5


def test_zero_slow_makes_hope_of_rope():
    assert torch.equal(
        logits(around("rope_zero_slow", {}), 64), logits(make("hope_period", {}), 64)
    )
    assert torch.equal(
        logits(around("rope_zero_slow", {}, "hope_period"), 64), logits(make("hope_period", {}), 64)
    )


@pytest.mark.parametrize("interval", [0.0, 0.25])
def test_rerope_reads_far_keys_at_the_offset_that_it_says(interval):
    """Equal keys everywhere: the scores of a row are a function of the offset at which they are
    read alone."""
    retrofit, positions = (
        around("rerope", {"window": 8, "interval": interval, "log_n": False}),
        torch.arange(40),
    )
    q, k, _, _ = tensors(40)
    q, k = (t[:, :, :1].expand(-1, -1, 40, -1) for t in (q, k))
    row = retrofit.logits(q, k, None, positions, 0, 0)[0, :, 39].flip(-1)  # by offset
    q, k = make("rope", {}).rotate(q, k, positions, 0)
    trained = (q @ k.transpose(-1, -2) * retrofit.score_scale)[0, :, 39].flip(-1)
    assert torch.allclose(row[:, :8], trained[:, :8])
    for offset in range(8, 40):
        read = 8 + (offset - 8) * interval
        if read == int(read):
            assert torch.allclose(row[:, offset], trained[:, int(read)]), offset


def test_self_extend_stays_within_trained_offsets_as_far_as_it_says():
    retrofit = around("self_extend", {})  # G = 8, W = 8 of 32
    longest = 8 * (L - 8) + 8
    assert f"up to {longest} tokens" in retrofit.declaration.tail
    for length, within in ((longest, True), (longest + 8, False)):
        q, k = retrofit.far(torch.arange(length))
        assert (int((q[-1] - k).max()) <= L - 1) is within
