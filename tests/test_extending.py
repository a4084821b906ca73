"""A training that starts from a finished run's weights, at a longer length, under a retrofit."""

import shutil

import pytest
import torch

from lengthgen import files
from lengthgen.cli import run_table
from lengthgen.errors import CheckpointError, ConfigError
from lengthgen.runs import run, stored
from lengthgen.runs.folder import RunFolder
from lengthgen.training import checkpoint

SOURCE = {"scheme": "rope", "steps": 6, "train_length": 16, "validate_every": 0}
LONGER = {"steps": 4, "train_length": 32, "validate_every": 0, "evaluation__lengths": [32, 64]}


@pytest.fixture
def source(ask):
    return run.train(ask(**SOURCE), [], figures=False)


def extended(ask, source, retrofit=None, **changed):
    given = ask(**LONGER | changed) | {"from": source.run_id}
    if retrofit:
        given |= {"retrofit": {"name": retrofit} | changed.get("options", {})}
    return given


def weights(outcome, step=None):
    folder = RunFolder(outcome.folder)
    return checkpoint.load_newest(folder.checkpoints, torch.device("cpu"), outcome.run_id)["model"]


def test_it_goes_on_from_the_weights(ask, source):
    """A step of a learning rate of nothing leaves them: they are those of the source."""
    given = extended(ask, source, "yarn", steps=1, optim__lr=1e-30, optim__weight_decay=0.0)
    outcome = run.train(given, [], figures=False)
    before, after = weights(source), weights(outcome)
    assert len(before) == len(after)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-12)


def test_it_is_a_run_with_an_identity_and_a_place_in_tables(ask, source):
    outcome = run.train(extended(ask, source, "yarn"), [], figures=False)
    assert outcome.status == "trained" and outcome.run_id.startswith("rope+yarn-")
    assert "-L32-" in outcome.run_id
    rows = [row.split()[:2] for row in run_table.table(outcome.folder.parents[1], {}).splitlines()]
    assert [outcome.run_id, "rope+yarn"] in rows and [source.run_id, "rope"] in rows
    again = run.train(extended(ask, source, "yarn"), [], figures=False)
    assert again.status == "nothing to do"
    plain = run.train(extended(ask, source), [], figures=False)
    assert plain.run_id != outcome.run_id and plain.run_id.startswith("rope-")
    config = RunFolder(outcome.folder).config.read_text()
    assert files.read_json(source.folder / "done.json")["weights_sha256"] in config
    assert "factor: 2.0" in config  # 32 / 16, fixed for every window


def test_the_trained_model_is_the_scheme_under_its_retrofit(ask, source):
    """Rebuilt from its folder, without the source, it has the logits that it was trained with."""
    outcome = run.train(extended(ask, source, "position_interpolation"), [], figures=False)
    shutil.rmtree(source.folder)
    model, _ = stored.trained_model(RunFolder(outcome.folder))
    assert model.scheme.dimensions.train_length == 32
    inner = model.scheme.inner
    assert inner.config.factor == 2.0 and inner.inner.dimensions.train_length == 16
    tokens = torch.arange(40)[None] % 200
    with torch.no_grad():
        expected = model(tokens)
        positions = torch.arange(40)
        # Position interpolation by 2 is rope at half the positions.
        bare = inner.inner
        q = torch.randn(1, 2, 40, model.scheme.dimensions.head_dim)
        turned = model.scheme.rotate(q, q, positions, 0)
        torch.testing.assert_close(turned, bare.rotate(q, q, positions / 2, 0))
    assert torch.isfinite(expected).all()


def test_it_resumes_after_a_stop(ask, source):
    whole = run.train(extended(ask, source, "yarn", checkpoint_every=1), [], figures=False)
    expected = files.read_json(whole.folder / "done.json")["weights_sha256"]
    last = sorted((whole.folder / "checkpoints").iterdir())[-1]
    shutil.rmtree(last)
    (whole.folder / "done.json").unlink()
    shutil.rmtree(source.folder / "checkpoints")  # not needed any more
    again = run.train(extended(ask, source, "yarn", checkpoint_every=1), [], figures=False)
    assert again.run_id == whole.run_id and again.status == "trained"
    assert files.read_json(again.folder / "done.json")["weights_sha256"] == expected


def test_weights_that_are_gone_are_one_line(ask, source):
    shutil.rmtree(source.folder / "checkpoints")
    with pytest.raises(CheckpointError, match="its weights are gone"):
        run.train(extended(ask, source, "yarn"), [], figures=False)


@pytest.mark.parametrize("scheme", ["alibi", "t5_bias", "learned"])
def test_other_schemes_go_on_as_they_are(ask, scheme):
    source = run.train(ask(**SOURCE | {"scheme": scheme}), [], figures=False)
    retrofit = "learned_rows" if scheme == "learned" else None
    outcome = run.train(extended(ask, source, retrofit), [], figures=False)
    assert outcome.status == "trained"


def test_modifiers_and_the_model_are_the_sources(ask):
    source = run.train(
        ask(**SOURCE | {"modifiers": {"ssmax": {}}, "model__width": 64}), [], figures=False
    )
    outcome = run.train(extended(ask, source, "yarn"), [], figures=False)
    assert outcome.run_id.startswith("rope+ssmax+yarn-")
    before, after = weights(source), weights(outcome)
    assert sum(t.numel() for t in before.values()) == sum(t.numel() for t in after.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"from": None, "retrofit": {"name": "yarn"}}, "needs from=RUN"),
        ({"from": "nothing-like-it"}, "from=nothing-like-it: no such run"),
        ({"from": 3.5}, "no such run"),
        ({"from": {"run": "a"}}, "expected a finished run"),
        ({"from": None, "retrofit": 3}, "needs from=RUN"),
        ({"retrofit": {"nam": "yarn"}}, "retrofit has no name"),
        ({"retrofit": {"name": "learned_rows"}}, "learned"),
        ({"retrofit": {"name": "longrope"}}, "searches for its options"),
    ],
)
def test_refusals(ask, source, change, words):
    with pytest.raises(ConfigError, match=words):
        run.train(extended(ask, source) | change, [], figures=False)


def test_no_chains(ask, source):
    outcome = run.train(extended(ask, source, "yarn"), [], figures=False)
    with pytest.raises(ConfigError, match="itself extended"):
        run.train(extended(ask, outcome, train_length=64), [], figures=False)


def test_it_is_exported_with_its_retrofit_as_rope_scaling(ask, source, tmp_path):
    transformers = pytest.importorskip("transformers")
    from lengthgen.exporting import finished, model_folder

    shape = {"model__norm": "rmsnorm", "model__activation": "swiglu"}
    source = run.train(ask(**SOURCE | shape), [], figures=False)
    outcome = run.train(extended(ask, source, "yarn"), [], figures=False)
    made = finished.load(RunFolder(outcome.folder))
    model_folder.write(made, tmp_path / "out", model_folder.Request())
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.config.rope_parameters["rope_type"] == "yarn"
    assert loaded.config.train_length == 32
    tokens = torch.arange(40)[None]
    with torch.no_grad():
        ours = made.model.logits(made.model(tokens))
        torch.testing.assert_close(loaded(tokens).logits, ours, rtol=1e-4, atol=1e-4)
