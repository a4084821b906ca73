"""Pretrained models read by lengthgen against the library transformers that owns them."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from lengthgen import files
from lengthgen.config import compose
from lengthgen.errors import ConfigError, DataError
from lengthgen.pretrained import loading, source, ways
from lengthgen.retrofits import base
from lengthgen.runs import pretrained as runs

from . import pretrained_models as models

LENGTH = models.LENGTH


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def read(folder, how="exact", **given):
    found = source.locate(f"hf:{folder}")
    return loading.load(found, loading.describe(found, how, None), **given)


def tokens(length, batch=2):
    return torch.randint(256, (batch, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def released_losses(model, x, targets):
    logits = model(input_ids=x).logits
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


@pytest.mark.parametrize("name", models.EXACT)
def test_losses_are_those_of_the_released_model(tmp_path, name):
    cls, values = models.EXACT[name]
    model = models.saved(tmp_path, cls, values)
    ours, x = read(tmp_path), tokens(LENGTH + 1)
    expected = released_losses(model, x[:, :-1], x[:, 1:])
    with torch.no_grad():
        got = ours.losses(x[:, :-1], x[:, 1:])
        late, hits = ours.losses_and_hits(x[:, :-1], x[:, 1:], first=40)
    # Falcon's own ALiBi is rounded to bfloat16, of products of up to 64 slopes.
    close = 0.02 if name == "falcon_alibi" else 1e-5
    torch.testing.assert_close(got, expected, atol=close, rtol=0)
    torch.testing.assert_close(late, got[:, 40:], atol=1e-6, rtol=0)
    best = model(input_ids=x[:, :-1]).logits.argmax(-1)[:, 40:]
    assert ((best == x[:, 41:]) == hits).float().mean() > 0.99


@pytest.mark.parametrize("name", [name for name in models.EXACT if name not in ("gpt2", "opt")])
def test_windows_past_the_trained_length(tmp_path, name):
    """Every family without a table goes on, as its own code does."""
    cls, values = models.EXACT[name]
    model = models.saved(tmp_path, cls, values)
    if name == "mpt":  # its own biases end with the trained length
        assert read(tmp_path, "as_released").scheme.refusal(LENGTH + 1)
        model.config.max_seq_len = 3 * LENGTH
    ours, x = read(tmp_path), tokens(3 * LENGTH + 1, batch=1)
    with torch.no_grad():
        got = ours.losses(x[:, :-1], x[:, 1:])
    close = 0.1 if name == "falcon_alibi" else 3e-5
    torch.testing.assert_close(got, released_losses(model, x[:, :-1], x[:, 1:]), atol=close, rtol=0)


@pytest.mark.parametrize("name", ["gpt2", "opt"])
def test_a_table_ends_and_retrofits_go_on_from_it(tmp_path, name):
    cls, values = models.EXACT[name]
    models.saved(tmp_path, cls, values)
    ours, x = read(tmp_path), tokens(LENGTH + 9, batch=1)
    assert f"{LENGTH} rows" in ours.scheme.refusal(LENGTH + 1)
    assert ours.scheme.refusal(LENGTH) is None
    with pytest.raises(ConfigError, match="rows"):
        ours(x)
    losses = {}
    for tail in ("clamp", "wrap", "resample"):
        again = read(tmp_path)
        from lengthgen.retrofits import learned_rows

        again.scheme, _ = base.apply(
            learned_rows.LearnedRows, learned_rows.Config(tail=tail), again.scheme
        )
        with torch.no_grad():
            losses[tail] = again.losses(x[:, :-1], x[:, 1:])
    # Within the table clamp and wrap read it as it was trained; resample moves every row.
    torch.testing.assert_close(losses["clamp"][:, :LENGTH], losses["wrap"][:, :LENGTH])
    assert not torch.allclose(losses["clamp"][:, LENGTH:], losses["wrap"][:, LENGTH:], atol=1e-3)
    assert not torch.allclose(
        losses["clamp"][:, :LENGTH], losses["resample"][:, :LENGTH], atol=1e-3
    )
    as_released = read(tmp_path, "as_released")
    assert f"{LENGTH} rows" in as_released.scheme.refusal(LENGTH + 1)


@pytest.mark.parametrize("name", models.REFUSED)
def test_what_has_no_form_is_refused_and_read_as_released(tmp_path, name):
    cls, values, words = models.REFUSED[name]
    model = models.saved(tmp_path, cls, values)
    with pytest.raises(ConfigError, match=words) as error:
        read(tmp_path)
    assert "positions=as_released" in str(error.value) and "\n" not in str(error.value)
    x = tokens(50)
    if name in ("softcap", "scaled read-out"):  # which is not in the hidden states
        with pytest.raises(ConfigError, match="a scale or a cap comes after it"):
            read(tmp_path, "as_released")
        return
    with torch.no_grad():
        got = read(tmp_path, "as_released").losses(x[:, :-1], x[:, 1:])
    torch.testing.assert_close(got, released_losses(model, x[:, :-1], x[:, 1:]))


SCALINGS = {
    "position_interpolation": ({"factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
    "dynamic_ntk": ({"alpha": 2.0}, {"rope_type": "dynamic", "factor": 2.0}),
    "yarn": (
        {"factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": LENGTH},
    ),
    "llama3": (
        {"factor": 8.0},
        {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": LENGTH,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("length", [LENGTH, 4 * LENGTH])
def test_retrofits_are_the_rope_scalings_of_transformers(tmp_path, name, length):
    """Around a model that was released without, and in one that was released with it."""
    from lengthgen import retrofits

    options, rope = SCALINGS[name]
    longer = {"max_position_embeddings": 4 * LENGTH} if "original" in str(rope) else {}
    scaled = models.saved(
        tmp_path / "scaled", rope_parameters={"rope_theta": 10000.0, **rope}, **longer
    )
    models.saved(tmp_path / "plain")
    x = tokens(length)
    ours = read(tmp_path / "plain")
    cls = retrofits.load(name, [])
    ours.scheme, _ = base.apply(cls, cls.Config(**options), ours.scheme)
    with torch.no_grad():
        expected = scaled(input_ids=x).logits
        torch.testing.assert_close(ours.logits(ours(x)), expected, atol=2e-4, rtol=1e-4)
        released = read(tmp_path / "scaled")
        torch.testing.assert_close(released.logits(released(x)), expected, atol=2e-4, rtol=1e-4)
        unlike = read(tmp_path / "plain")
        if not (name == "dynamic_ntk" and length == LENGTH):
            assert not torch.allclose(unlike.logits(unlike(x)), expected, atol=0.05)


@pytest.mark.parametrize("name", [name for name in models.EXACT if name != "mistral"])
def test_decoding_with_a_cache_is_the_models_own(tmp_path, name):
    """Logits of every token, against those of whole windows; and greedily, transformers' text."""
    from lengthgen.decoding.generation import Decoder, generate

    cls, values = models.EXACT[name]
    model = models.saved(tmp_path, cls, values)
    ours, x = read(tmp_path), tokens(30)
    with torch.no_grad():
        whole = ours.logits(ours(x))
    decoder = Decoder(ours)
    torch.testing.assert_close(decoder.prefill(x[:, :20]), whole[:, 19], atol=2e-5, rtol=0)
    for at in range(20, 30):
        torch.testing.assert_close(decoder.step(x[:, at]), whole[:, at], atol=2e-5, rtol=0)
    if name == "falcon_alibi":  # its own is rounded
        return
    said = generate(ours, x, 8)
    expected = model.generate(
        x, attention_mask=torch.ones_like(x), max_new_tokens=8, do_sample=False, eos_token_id=None
    )
    assert torch.equal(said, expected[:, 30:])


def test_from_python(tmp_path):
    import lengthgen

    models.saved(tmp_path)
    model = lengthgen.load_pretrained(f"hf:{tmp_path}")
    x = tokens(20)
    assert model.losses(x[:, :-1], x[:, 1:]).shape == (2, 19)
    assert lengthgen.generate(model, x, 3).shape == (2, 3)
    with pytest.raises(ConfigError, match="dtype=int8"):
        lengthgen.load_pretrained(f"hf:{tmp_path}", dtype="int8")


def test_no_cache_for_windows_of_layers_and_own_code(tmp_path):
    from lengthgen.decoding.generation import generate

    models.saved(tmp_path, *models.EXACT["mistral"])
    for how, words in (("exact", "window of its own"), ("as_released", "positions=as_released")):
        with pytest.raises(ConfigError, match=words):
            generate(read(tmp_path, how), tokens(10), 2)


def test_bfloat16_is_read_exactly_by_distance(tmp_path):
    """In bf16 BLOOM's own code adds rounded biases by key; lengthgen's are float32 by distance."""
    cls, values = models.EXACT["bloom"]
    model = models.saved(tmp_path, cls, values)
    x = tokens(8 * LENGTH + 1, batch=1)
    expected = released_losses(model, x[:, :-1], x[:, 1:])
    off = {}
    for how in ways.HOW:
        with torch.no_grad():
            got = read(tmp_path, how, dtype="bfloat16").losses(x[:, :-1], x[:, 1:])
        off[how] = float((got - expected).abs().mean())
    assert off["exact"] < 0.5 * off["as_released"]


# Through the command


@pytest.fixture
def ask(tmp_path):
    """A function: options -> the composed configuration of an evaluation of tmp_path/model."""
    text = tmp_path / "text"
    text.mkdir()
    chance = np.random.default_rng(0)
    for i in range(24):
        words = chance.choice(["alpha", "beta", "gamma", "(x)", "\n"], 120)
        (text / f"d{i:02d}.txt").write_text(" ".join(words))

    def made(**options):
        given = {
            "dataset": "files", "dataset.path": text, "tracking": "none",
            "evaluation.lengths": "[32,64,128]", "evaluation.documents": 4,
            "evaluation.resamples": 50, "cache": tmp_path / "cache", "threads": 1,
        } | {key.replace("__", "."): value for key, value in options.items()}  # fmt: skip
        words = [f"{key}={value}" for key, value in given.items()]
        model = tmp_path / "model"
        return compose.compose(
            [f"model=hf:{model}", *words], command="pretrained", results=tmp_path / "results"
        )

    return made


def test_a_dashboard_holds_nothing_of_a_training(tmp_path, ask, monkeypatch):
    from lengthgen import tracking

    models.saved(tmp_path / "model")
    seen, start = [], tracking.start
    monkeypatch.setattr(tracking, "start", lambda *given: seen.append(given[1]) or start(*given))
    runs.evaluate(ask(**{"+retrofit": "yarn"}), figures=False)
    (described,) = seen
    assert described.config["retrofit"]["name"] == "yarn"
    assert {"model", "scheme", "dataset", "evaluation", "train_length"} <= set(described.config)
    assert not {"optim", "steps", "batch_size", "precision", "seed"} & set(described.config)


def test_an_evaluation_and_again_and_with_a_retrofit(tmp_path, ask):
    model = models.saved(tmp_path / "model")
    first = runs.evaluate(ask(), figures=False)
    assert first.status == "evaluated" and first.run_id.startswith("rope-text-model-L64-s0-")
    assert runs.evaluate(ask(), figures=False).status == "nothing to do"
    with_yarn = runs.evaluate(ask(**{"+retrofit": "yarn"}), figures=False)
    assert with_yarn.run_id == first.run_id and with_yarn.evaluation != first.evaluation
    provenance = files.read_json(first.folder / "provenance.json")
    assert provenance["pretrained"]["architecture"] == "llama"
    assert provenance["parameters"]["total"] == sum(p.numel() for p in model.parameters())
    # Every stored loss is transformers' own, in the window that the table names.
    from lengthgen.data.splits import prepare_splits

    stored = np.load(first.evaluation / "losses.npz")
    splits = prepare_splits(
        ask().dataset, {"name": "pretrained", "folder": str(tmp_path / "model"), "gguf": ""},
        tmp_path / "cache",
    )  # fmt: skip
    for length in (32, 64, 128):
        part = f"matched/{length}"
        for losses, document, start, at in zip(
            *(stored[f"{part}/{name}"] for name in ("losses", "document", "start", "first")),
            strict=True,
        ):
            begin = int(splits.validation.offsets[document]) + int(start)
            window = splits.validation.tokens(begin, begin + length + 1)[None]
            expected = released_losses(model, window[:, :-1], window[:, 1:])[0, at:]
            np.testing.assert_allclose(losses, expected.numpy(), atol=1e-5)


def test_other_weights_are_another_run(tmp_path, ask):
    models.saved(tmp_path / "model")
    first = runs.evaluate(ask(), figures=False)
    shutil.rmtree(tmp_path / "model")
    models.saved(tmp_path / "model", hidden_act="gelu")
    assert runs.evaluate(ask(), figures=False).run_id != first.run_id


def test_every_window_begins_with_the_token_that_begins_a_text(tmp_path, ask):
    model = models.saved(tmp_path / "model")
    ours = read(tmp_path / "model", bos=256)
    x = tokens(40)
    begun = torch.cat((torch.full((2, 1), 256), x), dim=1)
    with torch.no_grad():
        expected = model(input_ids=begun).logits[:, 1:]
        torch.testing.assert_close(ours.logits(ours(x)), expected, atol=2e-5, rtol=0)
    with_it = runs.evaluate(ask(bos="true"), figures=False)
    without = runs.evaluate(ask(), figures=False)
    assert with_it.run_id != without.run_id


@pytest.mark.parametrize(
    "options, words",
    [
        ({"positions": "near"}, "positions=near"),
        ({"dtype": "int8"}, "dtype=int8"),
        ({"positions": "as_released", "+retrofit": "yarn"}, "leave one of the two out"),
        ({"train_length": 2}, "train_length"),
        ({"+retrofit": "learned_rows"}, "learned"),
    ],
)
def test_refusals(tmp_path, ask, options, words):
    models.saved(tmp_path / "model")
    with pytest.raises(ConfigError, match=words):
        given = ask(**options)
        runs.evaluate(given, figures=False)


def test_data_of_symbols_are_refused(tmp_path):
    models.saved(tmp_path)
    given = compose.compose(
        [f"model=hf:{tmp_path}", "dataset=lag_copy", "tracking=none", "evaluation.lengths=[64]"],
        command="pretrained",
    )
    with pytest.raises(ConfigError, match="symbols of its own"):
        runs.evaluate(given)


# Folders of strangers


def test_a_pickle_is_never_read(tmp_path):
    model = models.saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"a": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="a pickle"):
        read(tmp_path)
    assert not (tmp_path / "executed").exists() and model is not None


@pytest.mark.parametrize("known", [True, False])
def test_code_beside_the_weights_never_runs(tmp_path, known):
    models.saved(tmp_path)
    (tmp_path / "modeling_evil.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {
        name: "modeling_evil.Evil" for name in ("AutoConfig", "AutoModelForCausalLM")
    }
    if not known:
        config["model_type"] = "evil"
    (tmp_path / "config.json").write_text(json.dumps(config))
    about = json.loads((tmp_path / "tokenizer_config.json").read_text())
    about["auto_map"] = {"AutoTokenizer": ["modeling_evil.Evil", None]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))
    if known:
        read(tmp_path)
    else:
        with pytest.raises(DataError, match="runs none of a model's folder"):
            read(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "key, value",
    [
        ("num_hidden_layers", 10**9), ("hidden_size", 10**12), ("vocab_size", 10**15),
        ("num_attention_heads", 10**8), ("intermediate_size", 10**10), ("rms_norm_eps", math.inf),
        ("hidden_size", 2**19), ("num_hidden_layers", 1900), ("hidden_size", "many"),
        ("num_attention_heads", 0), ("rope_parameters", 7),
    ],
)  # fmt: skip
def test_numbers_that_no_machine_holds(tmp_path, key, value):
    models.saved(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config[key] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises((DataError, ConfigError)) as error:
        read(tmp_path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize("damage", ["cut", "header", "empty", "no config", "list", "missing"])
def test_damaged_folders_are_one_line(tmp_path, damage):
    models.saved(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-200])
    elif damage == "header":
        weights.write_bytes((2**62).to_bytes(8, "little") + weights.read_bytes()[8:])
    elif damage == "empty":
        weights.write_bytes(b"")
    elif damage == "no config":
        config.unlink()
    elif damage == "list":
        config.write_text("[1]")
    else:
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        tensors["unknown"] = tensors.pop("model.layers.0.mlp.up_proj.weight")
        save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(DataError) as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words, said",
    [
        ("smollm2", "expected hf:FOLDER"), ("hf:", "expected hf:FOLDER"),
        ("hf:/no/such", "no such folder"), ("hf:a b/c", "no such folder"),
        ("hf:nobody/nothing", "cannot be fetched"),
    ],
)  # fmt: skip
def test_words_that_name_no_model(words, said):
    with pytest.raises((ConfigError, DataError), match=said):
        source.locate(words)


def test_an_encoder_decoder_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}')
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(DataError, match="expected a decoder-only model"):
        read(tmp_path)
