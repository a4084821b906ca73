"""Diagnostics on every scheme, their folder, their figures, and whole evaluations with them."""

import csv

import numpy as np
import pytest
import torch

from lengthgen import modifiers, schemes
from lengthgen.diagnostics import (
    attention_spread,
    figures,
    phase_coverage,
    probes,
    receptive_field,
    weights,
    writing,
)
from lengthgen.diagnostics.settings import NAMES
from lengthgen.modifiers.base import modified

from .diagnostics_cases import LONGEST, VOCAB, L, model_of, subject_of

IDENTITY = {"run": "r", "scheme": "s", "dataset": "d", "model": "m", "seed": 0, "train_length": L}
VARIANTS = [
    ("randomised", {"inner": "t5_bias"}),
    ("bipe", {"intra": "sinusoidal"}),
    ("fire", {"per_layer": False}),
]
CASES = [(name, {}) for name in schemes.names()] + VARIANTS


def test_every_diagnostic_has_a_file_and_a_name():
    assert tuple(writing.MEASURES) == NAMES
    assert [measure.__module__.rpartition(".")[2] for measure in writing.MEASURES.values()] == list(
        NAMES
    )


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_scheme_can_be_diagnosed(name, options, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "save_figure", lambda *given: [])
    subject = subject_of(model_of(name, options))
    found = writing.write_folder(tmp_path / "here", subject, NAMES, IDENTITY, {})
    assert [
        name
        for name in ("exposure", "attention_spread", "receptive_field", "probes")
        if found[name].skipped
    ] == []
    assert bool(found["bias_curve"].tables) == (
        subject.model.scheme.structure in ("toeplitz", "rows")
    )
    for finding in found.values():
        assert bool(finding.skipped) != bool(finding.tables and finding.sentences)
        for table in finding.tables:
            assert all(set(row) == set(table.columns) for row in table.rows)
            for row in table.rows:
                assert all(
                    np.isfinite(value) for value in row.values() if isinstance(value, float)
                ), (table.name, row)
    assert {path.suffix for path in (tmp_path / "here").iterdir()} == {".csv", ".md", ".json"}


# The weights are those of the model: with their values mixed they give what the kernels give.


def mixed_by_weights(model, tokens):
    """What each layer's attention puts out (B, T, E), from the watched weights alone; and what the
    model's own attention did."""
    collected, inputs, outputs = {}, {}, {}

    def consume(layer, first, found):
        rows = collected.setdefault(
            layer, torch.zeros(*found.shape[:2], tokens.shape[1], tokens.shape[1])
        )
        rows[:, :, first : first + found.shape[2], : found.shape[3]] = found

    def note(module, given, out):
        inputs[module.layer], outputs[module.layer] = given[0], out

    for block in model.blocks:
        block.attention.register_forward_hook(note)
    with torch.no_grad(), weights.watched(model, consume):
        model(tokens)
    mixed = {}
    for layer, block in enumerate(model.blocks):
        v = (
            block.attention.qkv(inputs[layer])
            .chunk(3, -1)[2]
            .unflatten(-1, (model.config.n_heads, -1))
            .transpose(1, 2)
        )
        mixed[layer] = block.attention.out(
            (collected[layer] @ v).transpose(1, 2).flatten(2)
        ).detach()
    return mixed, outputs, collected


@pytest.mark.parametrize("name", schemes.names())
def test_weights_are_those_of_the_model(name, monkeypatch):
    monkeypatch.setattr(weights, "SCORES_AT_ONCE", 2 * 2 * 24 * 5)  # five rows at a time
    model = model_of(
        name, {"values": False} if name == "shaw" else {}
    )  # vectors added to values are no weights
    mixed, outputs, collected = mixed_by_weights(
        model, torch.randint(VOCAB, (2, 24), generator=torch.Generator().manual_seed(3))
    )
    for layer, expected in outputs.items():
        assert torch.allclose(
            mixed[layer], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
        )
        assert torch.allclose(collected[layer].sum(-1), torch.ones(()), atol=1e-4)


@pytest.mark.parametrize("options", [{"remainder": "drop"}, {"attend_current": True}], ids=str)
def test_weights_of_a_stick(options):
    mixed, outputs, _ = mixed_by_weights(
        model_of("stick_breaking", options), torch.randint(VOCAB, (1, 24))
    )
    assert all(torch.allclose(mixed[layer], outputs[layer], atol=1e-4) for layer in outputs)


def test_weights_of_a_mixture_that_takes_only_values_of_the_heads_size(monkeypatch):
    model = model_of("stick_breaking")
    mix = type(model.scheme).mix

    def narrow(self, logits, v, layer, first):
        if v.shape[-1] != self.dimensions.head_dim:
            raise RuntimeError("shapes do not fit")
        return mix(self, logits, v, layer, first)

    monkeypatch.setattr(type(model.scheme), "mix", narrow)
    mixed, outputs, _ = mixed_by_weights(model, torch.randint(VOCAB, (1, 24)))
    assert all(torch.allclose(mixed[layer], outputs[layer], atol=1e-4) for layer in outputs)


@pytest.mark.parametrize("name", ["rope", "t5_bias", "cope"])
def test_weights_under_a_window_and_a_temperature(name):
    model = model_of(name)
    window, log_n = (modifiers.load(one) for one in ("window", "log_n"))
    model.scheme = modified(
        model.scheme, [(window, window.Config(window=7, sinks=2)), (log_n, log_n.Config())]
    ).eval()
    mixed, outputs, collected = mixed_by_weights(
        model, torch.randint(VOCAB, (1, 24), generator=torch.Generator().manual_seed(3))
    )
    assert all(torch.allclose(mixed[layer], outputs[layer], atol=1e-3) for layer in outputs)
    assert collected[0][0, :, 20, 2:14].abs().max() == 0 and collected[0][0, :, 20, :2].min() > 0


# attention_spread


def test_uniform_attention_has_the_entropy_of_its_keys():
    model = model_of("none")
    with torch.no_grad():
        for block in model.blocks:
            block.attention.qkv.weight[: model.config.width] = 0.0  # queries of zero
    entropy, effective, far, n_windows = attention_spread.by_query(subject_of(model))
    i = np.arange(LONGEST)
    assert n_windows == 2
    assert np.allclose(entropy, np.log(i + 1), atol=1e-5) and np.allclose(
        effective, i + 1, rtol=1e-5
    )
    assert np.allclose(far, np.maximum(0, i - L + 1) / (i + 1), atol=1e-6)
    finding = attention_spread.measure(subject_of(model))
    assert [row["slope_beyond"] for row in finding.tables[1].rows] == pytest.approx(
        [1.0] * 4, abs=1e-4
    )
    assert {
        round(row["normalised_entropy"], 4)
        for row in finding.tables[0].rows
        if row["normalised_entropy"] is not None
    } == {1.0}


def test_a_head_that_sees_one_key_does_not_spread():
    model = model_of("per_offset", {"tail": "zero"})
    with torch.no_grad():
        model.scheme.table.zero_()[..., 1] = 1e4
    finding = attention_spread.measure(subject_of(model))
    late = [row for row in finding.tables[0].rows if row["position"] > 1]
    assert max(row["effective_keys"] for row in late) == pytest.approx(1.0, abs=1e-4)
    assert max(row["far_mass"] for row in late) < 1e-6


# receptive_field


def test_receptive_field_of_a_window_is_the_window():
    model = model_of("none", n_layers=1)
    kind = modifiers.load("window")
    model.scheme = kind(kind.Config(window=5), model.scheme).eval()
    tokens = torch.randint(VOCAB, (LONGEST,), generator=torch.Generator().manual_seed(0))
    norms = receptive_field.gradient_norms(model, tokens, seed=0)
    assert (norms[:-5] == 0).all() and (norms[-5:] > 0).all()
    assert receptive_field.field(receptive_field.cumulative(norms)) <= 5


def test_receptive_field_of_shares_known():
    shares = receptive_field.cumulative(np.array([1.0, 1.0, 97.0, 1.0]))
    assert (
        shares == pytest.approx([0.01, 0.98, 0.99, 1.0])
        and receptive_field.field(shares + 1e-12) == 3
    )
    assert receptive_field.field(receptive_field.cumulative(np.array([0.0, 1.0]))) == 1


def test_gradient_norms_are_those_of_the_jacobian(monkeypatch):
    monkeypatch.setattr(receptive_field, "DIRECTIONS", 400)
    model = model_of("alibi", n_layers=1, width=8)
    tokens = torch.randint(VOCAB, (6,), generator=torch.Generator().manual_seed(0))
    whole = torch.autograd.functional.jacobian(
        lambda x: model.norm(
            model.blocks[0](
                x, torch.arange(6), model.scheme.biases(torch.arange(6))[0], model.scheme
            )
        )[0, -1],
        model.embedding(tokens[None]).detach(),
    )  # (E, 1, T, E)
    exact = whole[:, 0].square().sum((0, 2)).sqrt().numpy()
    found = receptive_field.gradient_norms(model, tokens, seed=0)
    assert found / found.sum() == pytest.approx(exact / exact.sum(), rel=0.15)


# probes


def test_a_probe_finds_a_position_that_is_there():
    model = model_of("none")
    subject = subject_of(model, documents=4)
    place = torch.arange(LONGEST, dtype=torch.float32)[:, None]
    model.scheme.embed = lambda x, positions: torch.cat(
        (place.expand(len(x), -1, -1), x[..., 1:]), dim=-1
    )
    rows = probes.measure(subject).tables[0].rows
    first = {row["range"]: row for row in rows if row["layer"] == 0}
    assert first["within"]["r2"] > 1 - 1e-6 and first["beyond"]["r2"] > 1 - 1e-6
    assert abs(first["beyond"]["offset"]) < 0.01
    assert [(row["layer"], row["range"]) for row in rows] == [
        (layer, name) for layer in range(3) for name in ("within", "beyond")
    ]


def test_a_probe_finds_nothing_where_nothing_is():
    rows = probes.measure(subject_of(model_of("none", stir=0.0), documents=8)).tables[0].rows
    within, beyond = (
        row for row in rows if row["layer"] == 0
    )  # tokens are random: the embedding knows no position
    assert abs(within["r2"]) < 0.2 and beyond["r2"] < 0 and beyond["offset"] < 0


def test_ridge_is_least_squares_without_a_penalty():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    t = (
        x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
        + 7
        + 0.1 * torch.randn(50, generator=generator, dtype=torch.float64)
    )
    probe = probes.ridge(probes.moments(x, t), 0.0)
    expected = np.linalg.lstsq(np.column_stack([np.ones(50), x]), t.numpy(), rcond=None)[0]
    assert [probe.intercept, *probe.weights.tolist()] == pytest.approx(expected.tolist())
    assert probes._error(probe, probes.moments(x, t)) == pytest.approx(
        float((probe(x) - t).square().sum())
    )


def test_one_document_cannot_be_probed():
    subject = subject_of(model_of("rope"), documents=1, n_read=1)
    assert "only one" in probes.measure(subject).skipped


# Folder and figures


def test_the_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setitem(writing.MEASURES, "probes", lambda subject: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writing.write_folder(tmp_path / "here", subject_of(model_of("rope")), NAMES, IDENTITY, {})
    assert not (tmp_path / "here").exists()


def test_out_of_memory_is_a_reason(tmp_path, monkeypatch):
    def out(subject):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(writing.MEASURES, "attention_spread", out)
    found = writing.write_folder(
        tmp_path / "here",
        subject_of(model_of("rope")),
        ["attention_spread", "phase_coverage"],
        IDENTITY,
        {},
    )
    assert (
        f"{LONGEST} tokens does not fit" in found["attention_spread"].skipped
        and found["phase_coverage"].tables
    )
    assert "Skipped: a window of" in (tmp_path / "here" / "summary.md").read_text()


@pytest.mark.parametrize("name", ["learned", "fire"])
def test_figures_and_their_tables(name, tmp_path):
    found = writing.write_folder(
        tmp_path / "one", subject_of(model_of(name)), NAMES, IDENTITY, {"settings": 1}
    )
    text = (tmp_path / "one" / "summary.md").read_text()
    for table in (table for finding in found.values() for table in finding.tables):
        assert f"`{table.name}.csv`" in text
        with (tmp_path / "one" / f"{table.name}.csv").open() as file:
            head, *rows = csv.reader(file)
        assert head == [*IDENTITY, *table.columns] and len(rows) == len(table.rows)
        assert (tmp_path / "one" / f"{table.name}.svg").exists() == (
            table.name in figures.DRAWN and bool(rows)
        )
        assert all(f"`{column}`:" in text for column in table.columns)


def test_the_same_numbers_give_the_same_figure(tmp_path):
    for folder in ("one", "two"):
        (table,) = phase_coverage.measure(subject_of(model_of("rope"))).tables
        written = figures.save_figure(table, IDENTITY, L, tmp_path / folder)
    assert [path.name for path in written] == ["phase_coverage.png", "phase_coverage.svg"]
    assert all(path.read_bytes() == (tmp_path / "one" / path.name).read_bytes() for path in written)


def test_many_heads_are_small_multiples():
    found = attention_spread.measure(subject_of(model_of("rope", n_heads=16, width=64, n_layers=1)))
    drawn = figures.figure_of(found.tables[0], IDENTITY, L)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == [
        "layer 0, heads 0-7",
        "layer 0, heads 8-15",
    ]
