"""A training that starts from a pretrained model's weights: whole, or by LoRA."""

import pytest

pytest.importorskip("transformers")

import torch

import lengthgen
from lengthgen import files
from lengthgen.errors import CheckpointError, ConfigError
from lengthgen.pretrained import trainable
from lengthgen.pretrained.adapter_settings import LoraConfig
from lengthgen.runs import run, stored
from lengthgen.runs.folder import RunFolder
from lengthgen.training import checkpoint

from . import pretrained_models

WHOLE = ("llama_tied", "mistral", "gemma", "gpt_neox", "gpt2", "bloom", "mpt", "falcon")
BY_LORA = ("llama", "gpt2", "bloom")
LORA = {"name": "lora", "rank": 2}


@pytest.fixture
def folder(tmp_path):
    return pretrained_models.write(tmp_path / "model", "llama")


def extended(ask, folder, retrofit="yarn", adapter=None, **changed):
    longer = {"steps": 4, "train_length": 96, "batch_size": 2, "validate_every": 0}
    given = ask(**longer | {"evaluation__lengths": [64, 96], "evaluation__block": 16} | changed)
    given |= {"from": f"hf:{folder}"}
    given |= {"retrofit": {"name": retrofit}} if retrofit else {}
    return given | ({"adapter": adapter} if adapter else {})


def weights(outcome):
    folder = RunFolder(outcome.folder)
    return checkpoint.load_newest(folder.checkpoints, torch.device("cpu"), outcome.run_id)["model"]


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [*((kind, None) for kind in WHOLE), *((kind, LoraConfig(rank=2)) for kind in BY_LORA)],
)
def test_gradients_are_those_of_the_plain_model(tmp_path, kind, adapter):
    """Layers that are computed again, and slices of logits, change no loss and no gradient."""
    folder = pretrained_models.write(tmp_path / "model", kind)
    tokens = torch.randint(0, 250, (2, 41), generator=torch.Generator().manual_seed(0))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    found = []
    for changed in (False, True):
        model = lengthgen.load_pretrained(f"hf:{folder}")
        if adapter:
            pytest.importorskip("peft")
            trainable.add_lora(model, adapter, seed=3)
        if changed:
            trainable.recompute_layers(model)
            loss = model.train().total_loss(inputs, targets)
        else:
            loss = torch.nn.functional.cross_entropy(
                model.logits(model(inputs)).flatten(0, 1), targets.flatten(), reduction="sum"
            )
        loss.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        found.append((loss.detach(), gradients))
    (plain, expected), (ours, gradients) = found
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert expected.keys() == gradients.keys() and len(expected) > 3
    assert all((adapter is None) or "lora_" in name for name in expected if "scheme" not in name)
    some = 0.0
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-3, atol=1e-4, msg=name)
        some += float(gradient.abs().sum())
    assert some > 0


@pytest.mark.parametrize("adapter", [None, LORA], ids=["whole", "lora"])
def test_it_trains_and_its_folder_gives_the_model_again(ask, folder, adapter):
    if adapter:
        pytest.importorskip("peft")
    given = extended(ask, folder, adapter=adapter, steps=12, optim__lr=1e-2)
    outcome = run.train(given, [], figures=False)
    assert outcome.status == "trained" and outcome.run_id.startswith("rope+yarn-")
    assert ("+lora-" in outcome.run_id) == bool(adapter) and "-L96-" in outcome.run_id
    assert run.train(given, [], figures=False).status == "nothing to do"
    losses = [row["train/loss"] for row in files.read_jsonl(outcome.folder / "metrics.jsonl")]
    assert losses[-1] < losses[0] - 0.05
    model, _ = stored.trained_model(RunFolder(outcome.folder))
    assert model.scheme.inner.config.factor == 1.5  # 96 / 64
    before = lengthgen.load_pretrained(f"hf:{folder}").inner.state_dict()
    kept = {name: tensor for name, tensor in model.inner.named_parameters()}
    moved = [
        name for name, tensor in kept.items()
        if not torch.equal(before.get(name.replace(".base_layer", ""), tensor + 1), tensor)
    ]  # fmt: skip
    assert moved and (not adapter or all("lora_" in name for name in moved))


def test_the_first_step_is_from_the_model_under_its_retrofit(ask, folder):
    """A rate of nothing leaves the weights: losses are those of the model with that retrofit."""
    pytest.importorskip("peft")
    unmoved = {"steps": 1, "optim__lr": 1e-30, "optim__weight_decay": 0.0}
    outcome = run.train(extended(ask, folder, adapter=LORA, **unmoved), [], figures=False)
    model, _ = stored.trained_model(RunFolder(outcome.folder))
    plain = lengthgen.load_pretrained(f"hf:{folder}")
    from lengthgen import retrofits
    from lengthgen.retrofits import base

    cls = retrofits.load("yarn", [])
    plain.scheme, _ = base.apply(cls, cls.Config(factor=1.5), plain.scheme)
    tokens = torch.arange(120)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), plain(tokens), rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_lora_holds_no_frozen_weight(ask, folder):
    pytest.importorskip("peft")
    outcome = run.train(extended(ask, folder, adapter=LORA), [], figures=False)
    assert all("lora_" in name for name in weights(outcome))
    both = LORA | {"embeddings_and_norms": True}
    outcome = run.train(extended(ask, folder, adapter=both), [], figures=False)
    others = [name for name in weights(outcome) if "lora_" not in name]
    assert others and all("norm" in name or "embed" in name for name in others)


@pytest.mark.parametrize("adapter", [None, LORA], ids=["whole", "lora"])
def test_it_resumes_with_the_same_bits(ask, folder, adapter):
    import shutil

    if adapter:
        pytest.importorskip("peft")
    given = extended(ask, folder, adapter=adapter, checkpoint_every=1, keep_checkpoints=9)
    whole = run.train(given, [], figures=False)
    expected = files.read_json(whole.folder / "done.json")["weights_sha256"]
    for last in sorted((whole.folder / "checkpoints").iterdir())[2:]:
        shutil.rmtree(last)
    (whole.folder / "done.json").unlink()
    again = run.train(given, [], figures=False)
    assert again.run_id == whole.run_id and again.status == "trained"
    assert files.read_json(again.folder / "done.json")["weights_sha256"] == expected


def test_it_is_evaluated_as_any_run(ask, folder, tmp_path):
    outcome = run.train(extended(ask, folder, "position_interpolation"), [], figures=False)
    words = [f"run={outcome.run_id}", "+retrofit=hard_window", "tracking=none"]
    config = lengthgen.compose(words, command="evaluate", results=outcome.folder.parents[1])
    again = run.evaluate(config, [], figures=False)
    assert again.status == "evaluated"
    rows = (again.evaluation / "lengths.csv").read_text()
    assert "rope+position_interpolation(factor=1.5)+hard_window" in rows


def test_other_files_under_the_same_name_are_one_line(ask, folder):
    outcome = run.train(extended(ask, folder), [], figures=False)
    pretrained_models.write(folder, "llama_tied")
    with pytest.raises(CheckpointError, match="when this training began"):
        stored.trained_model(RunFolder(outcome.folder))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"from": "hf:/no/such"}, "no such folder"),
        ({"from": "hf:"}, "expected hf:FOLDER"),
        ({"from": None, "retrofit": None, "adapter": LORA}, "expected from=hf:"),
        ({"adapter": {"name": "prefix"}}, "expected one of lora"),
        ({"adapter": LORA | {"rank": 0}}, "rank"),
        ({"adapter": LORA | {"layers": []}}, "expected names of linear layers"),
        ({"adapter": LORA | {"layers": ["no_such"]}}, "expected some of down_proj"),
        ({"compile": True}, "compile=true with a pretrained model"),
        ({"diagnostics": {"name": "all"}}, "diagnostics of a pretrained model"),
        ({"retrofit": {"name": "learned_rows"}}, "learned"),
    ],
)
def test_refusals(ask, folder, change, words):
    if "layers" in str(change):
        pytest.importorskip("peft")
    with pytest.raises(ConfigError, match=words):
        run.train(extended(ask, folder) | change, [], figures=False)


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "gemma", "falcon_alibi"])
def test_it_is_exported_as_the_class_that_it_came_in(ask, tmp_path, kind):
    """With its retrofit as rope scaling, LoRA merged: the same logits, and the tokenizer."""
    pytest.importorskip("peft")
    import transformers

    from lengthgen.exporting import finished, model_folder

    folder = pretrained_models.write(tmp_path / "model", kind)
    retrofit = None if "alibi" in kind else "yarn" if kind == "llama" else "position_interpolation"
    given = extended(ask, folder, retrofit, LORA, optim__lr=1e-2)
    outcome = run.train(given, [], figures=False)
    out = tmp_path / "out"
    made = finished.load(RunFolder(outcome.folder))
    model_folder.write(made, out, model_folder.Request())
    loaded = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    assert type(loaded) is type(made.model.inner)
    tokens = torch.arange(90)[None]
    with torch.no_grad():
        ours = made.model.logits(made.model(tokens))
        torch.testing.assert_close(loaded(tokens).logits, ours, rtol=1e-3, atol=1e-3)
    again = lengthgen.load_pretrained(f"hf:{out}")  # as any pretrained model
    with torch.no_grad():
        torch.testing.assert_close(again.logits(again(tokens)), ours, rtol=1e-3, atol=1e-3)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer.encode("abc") == [97, 98, 99]
