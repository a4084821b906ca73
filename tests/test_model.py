"""The Transformer: the same weights for every scheme, causal, losses as computed plainly."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from lengthgen import model as models
from lengthgen import schemes
from lengthgen.errors import ConfigError
from lengthgen.model import ModelConfig

TINY = ModelConfig(n_layers=2, n_heads=2, width=16)


def make(scheme="none", config=TINY, seed=0, train_length=16, vocab_size=11):
    cls = schemes.load(scheme)
    return models.build(
        config, cls, cls.Config(), train_length=train_length, vocab_size=vocab_size, seed=seed
    ).eval()


@pytest.mark.parametrize("scheme", schemes.names())
def test_non_positional_weights_are_bit_identical_across_schemes(scheme):
    ours, plain = make(scheme).state_dict(), make("none").state_dict()
    shared = {name for name in ours if not name.startswith("scheme.")}
    assert shared == set(plain)
    assert all(torch.equal(ours[name], plain[name]) for name in shared)


def test_another_seed_gives_other_weights_and_the_same_seed_the_same():
    a, again, b = make(seed=1), make(seed=1), make(seed=2)
    assert torch.equal(a.embedding.weight, again.embedding.weight)
    assert not torch.equal(a.embedding.weight, b.embedding.weight)
    assert not torch.equal(a.blocks[0].attention.qkv.weight, a.blocks[1].attention.qkv.weight)


def test_initial_scales_are_gpt2s():
    model = make(config=ModelConfig(n_layers=8, n_heads=4, width=128))
    assert model.embedding.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.blocks[0].mlp.up.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.blocks[0].mlp.down.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert model.blocks[0].attention.out.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert torch.equal(model.norm.weight, torch.ones(128))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"norm": "rmsnorm"},
        {"activation": "swiglu"},
        {"tie_head": False},
        {"qk_norm": True},
        {"dropout": 0.5},
    ],
    ids=lambda change: next(iter(change), "default"),
)
def test_causal_and_losses_equal_plain_cross_entropy(change):
    model = make("t5_bias", dataclasses.replace(TINY, **change))
    tokens = torch.randint(0, 11, (3, 13), generator=torch.Generator().manual_seed(0))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    logits = model.logits(model(inputs))
    plain = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(3, 12)
    torch.testing.assert_close(model.losses(inputs, targets), plain)
    torch.testing.assert_close(model.losses(inputs, targets, first=5), plain[:, 5:])
    changed = inputs.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 11
    after = model.logits(model(changed))
    torch.testing.assert_close(after[:, :7], logits[:, :7])
    assert not torch.allclose(after[:, 7], logits[:, 7])


def test_every_option_changes_the_function():
    tokens = torch.arange(8)[None] % 11
    plain = make().logits(make()(tokens))
    for change in (
        {"norm": "rmsnorm"},
        {"activation": "swiglu"},
        {"tie_head": False},
        {"qk_norm": True},
    ):
        model = make(config=dataclasses.replace(TINY, **change))
        assert not torch.allclose(model.logits(model(tokens)), plain), change


def test_losses_are_the_same_when_logits_are_made_in_slices(monkeypatch):
    model = make()
    tokens = torch.randint(0, 11, (2, 9))
    whole = model.losses(tokens[:, :-1], tokens[:, 1:])
    monkeypatch.setitem(models.SCORED_AT_ONCE, "cpu", 33)  # three rows of 11 logits
    with torch.no_grad():
        torch.testing.assert_close(model.losses(tokens[:, :-1], tokens[:, 1:]), whole)


def test_schemes_stay_in_float32_under_autocast():
    seen = []
    model = make("kerple_log")
    biases_of = model.scheme.biases

    def watched(positions):
        biases = biases_of(positions)
        seen.extend(bias.vector.dtype for bias in biases)
        return biases

    model.scheme.biases = watched
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.zeros(1, 8, dtype=torch.long))
    assert set(seen) == {torch.float32} and len(seen) == TINY.n_layers


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 10, "n_heads": 4}, "model.width=10"),
        ({"n_layers": 0}, "model.n_layers=0"),
        ({"norm": "layer"}, "nearest: layernorm"),
        ({"activation": "relu"}, "expected one of gelu, swiglu"),
        ({"dropout": 1.0}, "0 <= dropout < 1"),
    ],
)
def test_impossible_shapes_are_one_line(change, words):
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as error:
        ModelConfig(**{**dataclasses.asdict(TINY), **change})
    assert words in str(error.value)


def test_parameter_counts():
    counts = models.parameter_counts(make("t5_bias"))
    assert counts["positional"] == 4 * 2  # buckets at this training length, times heads
    assert counts["total"] - counts["positional"] == models.parameter_counts(make("none"))["total"]
