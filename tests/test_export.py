"""Runs as models of transformers: the same logits, the same ids, whole or not at all."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

transformers = pytest.importorskip("transformers")

from lengthgen import retrofits  # noqa: E402
from lengthgen.cli import main  # noqa: E402
from lengthgen.data import tokenizer_json, tokenizers  # noqa: E402
from lengthgen.errors import ConfigError  # noqa: E402
from lengthgen.exporting import architectures, finished, model_folder, stock, target  # noqa: E402
from lengthgen.exporting.read_traits import traits_of  # noqa: E402
from lengthgen.exporting.traits import NoClassError  # noqa: E402
from lengthgen.model import ModelConfig  # noqa: E402
from lengthgen.modifiers.base import modified  # noqa: E402
from lengthgen.retrofits import base as retrofits_base  # noqa: E402
from lengthgen.runs import run, train_config  # noqa: E402
from lengthgen.runs.folder import RunFolder  # noqa: E402

from .model_cases import VOCAB, keyed, real  # noqa: E402

LENGTH = 16  # of the training
TRUNK = {"n_layers": 2, "n_heads": 2, "width": 16}
LLAMA = {"norm": "rmsnorm", "activation": "swiglu"}
# Scheme, its options, what of the model differs from GPT-2's, modifiers -> class.
CASES = [
    ("rope", {}, LLAMA, {}, "LlamaForCausalLM"),
    ("rope", {"layout": "half_split", "base": 500.0}, LLAMA, {}, "LlamaForCausalLM"),
    ("p_rope", {}, LLAMA, {}, "LlamaForCausalLM"),
    ("rope", {}, LLAMA, {"window": {"window": 5}}, "MistralForCausalLM"),
    ("rope", {}, LLAMA | {"qk_norm": True}, {}, "Qwen3ForCausalLM"),
    ("rope", {}, LLAMA | {"qk_norm": True}, {"window": {"window": 5, "layers": [1]}},
     "Qwen3ForCausalLM"),
    ("rope", {}, LLAMA, {"window": {"window": 5, "layers": [0]}}, "SmolLM3ForCausalLM"),
    ("rope", {}, LLAMA, {"layer_mix": {"every": 2, "window": 4}}, "SmolLM3ForCausalLM"),
    ("none", {}, LLAMA, {}, "SmolLM3ForCausalLM"),
    ("rope", {}, {}, {}, "GPTNeoXForCausalLM"),
    ("rope_partial", {"fraction": 0.5}, {}, {}, "GPTNeoXForCausalLM"),
    ("hope_period", {}, {}, {}, "GPTNeoXForCausalLM"),
    ("none", {}, {}, {}, "GPTNeoXForCausalLM"),
    ("learned", {}, {}, {"drope": {"fraction": 0.5}}, "GPTNeoXForCausalLM"),
    ("rope", {}, {}, {"window": {"window": 5}}, "Starcoder2ForCausalLM"),
    ("rope_partial", {"fraction": 0.5}, {"activation": "swiglu"}, {}, "StableLmForCausalLM"),
    ("rope", {}, {"activation": "swiglu", "qk_norm": True}, {}, "StableLmForCausalLM"),
    ("rope_partial", {"fraction": 0.5}, {"qk_norm": True}, {}, "PersimmonForCausalLM"),
    ("rope", {}, {"norm": "rmsnorm"}, {}, "ArceeForCausalLM"),
    ("learned", {"tail": "untrained"}, {}, {}, "GPT2LMHeadModel"),
    ("learned", {"tail": "clamp"}, {}, {}, "GPT2LMHeadModel"),
    ("learned", {"tail": "wrap"}, {"mlp_ratio": 3.0}, {}, "GPT2LMHeadModel"),
    ("sinusoidal", {}, {}, {}, "GPT2LMHeadModel"),
    ("sinusoidal", {"form": "tensor2tensor", "scale_embedding": False}, {}, {}, "GPT2LMHeadModel"),
    ("alibi", {}, {}, {}, "MptForCausalLM"),
    ("alibi", {}, {"n_heads": 6, "width": 24}, {}, "MptForCausalLM"),  # no power of two
]  # fmt: skip


def made(scheme, options, shape, modifiers, tie_head=True):
    """A model with loud weights of a seed, its modifiers around the scheme."""
    model = real(scheme, options, ModelConfig(**TRUNK | shape, tie_head=tie_head), LENGTH)
    choices = train_config.choose_modifiers(modifiers, ())
    model.scheme = modified(model.scheme, [(c.cls, c.options) for c in choices])
    model.scheme.begin_step(1, 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms, which are 1 at the start
                parameter += 0.3 * torch.randn(parameter.shape, generator=keyed(2)(name))
    return model.eval()


def tokens(length, seed=0):
    return torch.randint(0, VOCAB, (2, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tie_head", [True, False])
@pytest.mark.parametrize(("scheme", "options", "shape", "modifiers", "name"), CASES)
def test_logits_are_the_same(scheme, options, shape, modifiers, name, tie_head, tmp_path):
    model = made(scheme, options, shape, modifiers, tie_head)
    traits = traits_of(model)
    architecture = architectures.choose(traits)
    assert architecture.name == name
    stock.build(architecture, traits, model, 5 * LENGTH).save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors"}
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded).__name__ == name
    for length in (3, LENGTH, LENGTH + 1, 5 * LENGTH):
        difference, scale = stock.largest_difference(model, loaded, tokens(length))
        assert scale > 0.5  # logits that say something
        assert difference < 1e-5
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.mul_(1.001)
    assert stock.largest_difference(model, loaded, tokens(LENGTH))[0] > 1e-5


def test_every_class_is_tried():
    assert {case[-1] for case in CASES} == {one.name for one in architectures.ALL}


@pytest.mark.parametrize(
    ("scheme", "options", "shape", "modifiers", "words"),
    [
        ("t5_bias", {}, {}, {}, ["t5_bias", "scores"]),
        ("kerple_log", {}, LLAMA, {}, ["kerple_log", "scores"]),
        ("xpos", {}, LLAMA, {}, ["xpos", "queries and keys"]),
        ("normalised_sinusoid", {}, {}, {}, ["normalised_sinusoid", "input"]),
        ("rope", {}, LLAMA, {"ssmax": {}}, ["rope+ssmax", "ssmax"]),
        ("rope", {}, LLAMA, {"window": {"window": 4, "sinks": 1}}, ["sinks beside a window"]),
        ("rope_partial", {"fraction": 0.5}, LLAMA, {}, ["Llama", "a part of each head"]),
        ("learned", {}, LLAMA, {}, ["GPT2", "model.norm=rmsnorm", "model.activation=swiglu"]),
        ("alibi", {"max_bias": 6.0}, {}, {}, ["Mpt", "scheme.max_bias=6"]),
        ("alibi", {}, {"mlp_ratio": 3.0}, {}, ["Mpt", "model.mlp_ratio=3"]),
        ("alibi", {}, {}, {"window": {"window": 5}}, ["Mpt", "a window"]),
        ("rope", {}, {}, {"layer_mix": {"every": 2}}, ["layers without positions"]),
    ],
)  # fmt: skip
def test_what_no_class_has_is_named(scheme, options, shape, modifiers, words):
    model = made(scheme, options, shape, modifiers)
    with pytest.raises(NoClassError) as refusal:
        architectures.choose(traits_of(model))
    message = str(refusal.value)
    assert all(word in message for word in [*words, "--own-code"]) and "\n" not in message


RETROFITS = [
    ("position_interpolation", {"factor": 2.5}, "linear"),
    ("ntk", {"alpha": 3.0}, "default"),
    ("ntk", {"base": 70000.0}, "default"),
    ("dynamic_ntk", {"alpha": 2.0}, "dynamic"),
    ("yarn", {"factor": 4.0, "slow": 0.5, "fast": 4.0}, "yarn"),
    ("yarn", {"factor": 4.0, "temperature": False}, "yarn"),
    ("llama3", {"factor": 4.0}, "llama3"),
    ("longrope", {"factor": 4.0, "factors": [1.0, 1.2, 2.0, 3.5]}, "longrope"),
    ("rope_zero_slow", {}, "proportional"),
]


def retrofitted(model, name, options):
    kind = retrofits.load(name)
    model.scheme, _ = retrofits_base.apply(kind, kind.Config(**options), model.scheme)
    return model


@pytest.mark.parametrize(
    ("shape", "modifiers"), [(LLAMA, {}), ({}, {}), (LLAMA, {"window": {"window": 9}})]
)
@pytest.mark.parametrize(("name", "options", "rope_type"), RETROFITS)
def test_retrofits_are_configuration(name, options, rope_type, shape, modifiers, tmp_path):
    plain = made("rope", {}, shape, modifiers)
    model = retrofitted(made("rope", {}, shape, modifiers), name, options)
    traits = traits_of(model)
    stock.build(architectures.choose(traits), traits, model, LENGTH).save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.config.rope_parameters["rope_type"] == rope_type
    for length in (3, LENGTH, LENGTH + 1, 5 * LENGTH):  # rising, as dynamic remembers
        assert stock.largest_difference(model, loaded, tokens(length))[0] < 1e-5
    if name != "rope_zero_slow":  # every pair completes a turn in so small a head
        assert stock.largest_difference(plain, loaded, tokens(5 * LENGTH))[0] > 1e-3


@pytest.mark.parametrize(
    ("scheme", "options", "retrofit", "changes", "words"),
    [
        ("rope", {}, "yarn", {}, "give retrofit.factor=NUMBER"),
        ("rope", {}, "position_interpolation", {}, "give retrofit.factor=NUMBER"),
        ("rope", {}, "yarn", {"factor": 2.0, "ramp": "rotations"}, "retrofit.ramp=index"),
        ("rope", {}, "rerope", {}, "retrofit rerope: transformers has no rope type"),
        ("rope", {}, "longrope", {"factors": [1.0] * 4, "start_tokens": 2}, "start_tokens=2"),
        ("p_rope", {}, "yarn", {"factor": 2.0}, "rope types turn every pair"),
        ("rope_partial", {"fraction": 0.5}, "yarn", {"factor": 2.0}, "rotated channels alone"),
        ("rope", {}, "hard_window", {}, "hard_window"),
        ("alibi", {}, "alibi_interpolation", {}, "alibi_interpolation"),
    ],
)
def test_retrofits_without_a_rope_type(scheme, options, retrofit, changes, words):
    model = retrofitted(made(scheme, options, {}, {}), retrofit, changes)
    with pytest.raises(NoClassError, match=re.escape(words)) as refusal:
        traits_of(model)
    assert "\n" not in str(refusal.value)


def test_a_subclass_is_another_scheme():
    model = made("rope", {}, LLAMA, {})
    model.scheme.__class__ = type("Mine", (type(model.scheme),), {})
    with pytest.raises(NoClassError):
        traits_of(model)


# Tokenizers

ODD = [
    "", " ", "a", "<|begin|>", "x<|begin|>y <|endoftext|> z", "\n\n\n", "日本語🙂", "é é", "a\0b",
    "  leading", "trailing  ", "tab\t\ttab\r\n", "\u200b\ufeff", "'s 't I'll we've", "１２３ ½",
    "\U0010ffff", "x" * 500, "def f(x):\n    return x\n" * 9,
]  # fmt: skip
CORPUS = [b"the <|begin|> of the thing\n" * 40, "日本語 naïve <|begin|> 🙂".encode() * 40]


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "mpt", "qwen3"])
@pytest.mark.parametrize("recipe", [tokenizers.Bytes(), tokenizers.Bpe(vocab_size=320)])
def test_ids_are_the_same(recipe, model_type, tmp_path):
    ours = recipe.build(lambda: iter(CORPUS), tmp_path)
    from lengthgen.exporting import tokenizer_files

    tokenizer_files.write(ours, tmp_path / "", LENGTH)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == ours.vocab_size and theirs.bos_token_id == ours.begin
    for text in ODD:
        ids = ours.encode(text).tolist()
        assert theirs(text)["input_ids"] == theirs(text, add_special_tokens=False).input_ids == ids
        assert theirs.decode(ids) == text


def test_symbols_have_no_tokenizer(tmp_path):
    symbols = tokenizers.Symbols(7).build(lambda: iter(()), tmp_path)
    assert tokenizer_json.as_json(symbols) is None


# Whole exports


@pytest.fixture
def trained(ask):
    """A finished run folder with these changes to the small run."""

    def train(dataset=None, **changes) -> RunFolder:
        config = ask(**changes)
        outcome = run.train(config | ({"dataset": dataset} if dataset else {}), [])
        return RunFolder(Path(ask()["results"]) / "runs" / outcome.run_id)

    return train


def export(folder: RunFolder, place: Path, *flags: str) -> int:
    return main.main(["export", f"run={folder.path}", "--to", "hf", str(place), *flags])


ROPE = {"scheme": "rope", "model__norm": "rmsnorm", "model__activation": "swiglu"}


def test_a_run_becomes_a_folder(trained, tmp_path, capsys):
    folder, place = trained(**ROPE), tmp_path / "out"
    capsys.readouterr()
    assert export(folder, place) == 0
    assert "LlamaForCausalLM" in capsys.readouterr().out
    names = {path.name for path in place.iterdir()}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "README.md", "loss_by_length.png", "lengthgen.json",
    }  # fmt: skip
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")]
    manifest = json.loads((place / "lengthgen.json").read_text())
    done = json.loads(folder.done.read_text())
    assert manifest["weights_sha256"] == done["weights_sha256"]
    assert set(manifest["files"]) == names - {"lengthgen.json"}

    card = (place / "README.md").read_text()
    provenance = json.loads(folder.provenance.read_text())
    sums = (done["weights_sha256"], manifest["files"]["model.safetensors"])
    for fact in (folder.path.name, provenance["commit"], *sums, "| `scheme.name` | rope |"):
        assert fact in card
    rows = (folder.path / "evaluation" / done["evaluations"][0] / "lengths.csv").read_text()
    losses = [row.split(",") for row in rows.splitlines() if ",matched,loss," in row]
    assert len(losses) > 3
    for row in losses:
        assert f"| {int(row[9]):,} | {float(row[12]):.4f} |" in card

    model = transformers.AutoModelForCausalLM.from_pretrained(place)
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    ids = tokenizer("alpha beta", return_tensors="pt").input_ids
    ours = finished.load(folder).model
    assert (model(ids).logits - ours.logits(ours(ids))).abs().max() < 1e-5
    written = model.generate(ids, max_new_tokens=4, do_sample=False)
    assert written.shape[1] <= ids.shape[1] + 4 and model.generation_config.eos_token_id == 256


def test_a_table_ends_where_it_is_told_to(trained, tmp_path, capsys):
    folder = trained(scheme="learned", scheme__tail="clamp")
    assert export(folder, tmp_path / "short") == 0
    assert "n_positions = 16" in capsys.readouterr().out
    assert export(folder, tmp_path / "long", "--max-length", "40") == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "long")
    assert model.config.n_positions == 40
    assert model.config.train_length == 16
    ours, ids = finished.load(folder).model, tokens(40)
    assert (model(ids).logits - ours.logits(ours(ids))).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("changes", "length", "words"),
    [
        (ROPE, "40", "LlamaForCausalLM takes input of any length"),
        ({"scheme": "learned", "scheme__tail": "refuse"}, "40", "expected 2 to 16"),
        ({"scheme": "learned"}, "1", "'1': expected a whole number"),
        ({"scheme": "learned"}, "99999999", "expected a whole number"),
    ],
)
def test_impossible_lengths_are_refused(changes, length, words, trained, tmp_path, capsys):
    folder = trained(**changes)
    assert export(folder, tmp_path / "out", "--max-length", length) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_own_code_only_where_it_is_asked_for(trained, tmp_path, monkeypatch, capsys):
    modules = "transformers.dynamic_module_utils.HF_MODULES_CACHE"
    monkeypatch.setattr(modules, str(tmp_path / "modules"))  # where it copies the code to
    folder, place = trained(scheme="t5_bias", modifiers={"ssmax": {}}), tmp_path / "out"
    capsys.readouterr()
    assert export(folder, place) == 2 and not place.exists()
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--own-code" in error

    assert export(folder, place, "--own-code") == 0
    assert "trust_remote_code=True" in capsys.readouterr().out
    assert "trust_remote_code=True" in (place / "README.md").read_text()
    from lengthgen.exporting import own_code

    ours, ids = finished.load(folder).model, tokens(40)
    expected = ours.logits(ours(ids))
    for loaded in (
        own_code.LengthgenForCausalLM.from_pretrained(place),
        transformers.AutoModelForCausalLM.from_pretrained(place, trust_remote_code=True),
    ):
        assert torch.equal(loaded(ids).logits, expected)
    with pytest.raises(ValueError, match="trust_remote_code"):
        transformers.AutoModelForCausalLM.from_pretrained(place, trust_remote_code=False)
    written = loaded.generate(ids[:1, :5], max_new_tokens=3, do_sample=False, eos_token_id=None)
    steps, text = ids[:1, :5], ids[:1, :5]
    for _ in range(3):
        steps = ours.logits(ours(text))[:, -1].argmax(-1, keepdim=True)
        text = torch.cat((text, steps), dim=1)
    assert torch.equal(written, text)
    with pytest.raises(ValueError, match="pad on the right"):
        loaded(ids, attention_mask=torch.zeros_like(ids))


def test_own_code_is_not_used_where_a_class_has_the_model(trained, tmp_path):
    assert export(trained(**ROPE), tmp_path / "out", "--own-code") == 0
    assert not list((tmp_path / "out").glob("*.py"))


LAGS = {
    "name": "lag_copy", "train_documents": 16, "validation_documents": 8, "document_length": 300,
}  # fmt: skip


def test_symbols_are_exported_without_a_tokenizer(trained, tmp_path, capsys):
    folder = trained(**ROPE, dataset=LAGS)
    assert export(folder, tmp_path / "out") == 0
    assert "without a tokenizer" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("tokenizer*"))


def test_a_retrofit_goes_with_the_run(trained, tmp_path, capsys):
    folder, place = trained(**ROPE), tmp_path / "out"
    asked = ("+retrofit=yarn", "retrofit.factor=4")
    assert export(folder, place, *asked) == 0
    assert "no evaluation of rope+yarn(factor=4) is stored" in capsys.readouterr().out
    assert "No evaluation is stored." in (place / "README.md").read_text()
    results = f"results={folder.path.parent.parent}"
    evaluate = ["evaluate", f"run={folder.path.name}", *asked, results, "tracking=none"]
    assert main.main(evaluate) == 0
    assert export(folder, place, *asked, "--overwrite") == 0
    card = (place / "README.md").read_text()
    assert "| 64 |" in card and "rope+yarn(factor=4)" in card
    config = json.loads((place / "config.json").read_text())
    assert config["max_position_embeddings"] == 64
    assert config["rope_parameters"]["original_max_position_embeddings"] == 16
    assert export(folder, place, "+retrofit=dynamic_ntk", "--overwrite") == 0
    assert "longest window so far" in capsys.readouterr().out
    assert export(folder, place, asked[0], "retrofit.factor=2", "--overwrite") == 0
    assert "No evaluation is stored." in (place / "README.md").read_text()
    # And the evaluation of the run itself is the run's still.
    assert export(folder, tmp_path / "plain") == 0
    plain = (tmp_path / "plain" / "README.md").read_text()
    assert [line for line in plain.splitlines() if line.startswith("| 64 |")] != [
        line for line in card.splitlines() if line.startswith("| 64 |")
    ]
    capsys.readouterr()
    results = tmp_path / "results.json"
    words = ["export", str(folder.path), "--to", "lm-eval", str(results)]
    assert main.main([*words, *asked]) == 0
    assert json.loads(results.read_text())["config"]["model_args"].endswith(",retrofit=yarn")
    assert (
        main.main(["export", str(folder.path), "+retrofit=ntk", "--to", "lm-eval", "x.json"]) == 2
    )
    assert "with ntk" in capsys.readouterr().err


def test_a_card_holds_whatever_a_command_says():
    from lengthgen.exporting import card

    facts = card.Facts(
        run="r", label="rope", class_name="LlamaForCausalLM", own_code=None, bound=None,
        raisable=False, config={"scheme": {"name": "a|b\nc"}},
        provenance={"command": "train x=a|b\n---\nlicense: mine"}, weights_sha256="0",
        file_sha256="1", differences={}, tokenizer="",
    )  # fmt: skip
    text = card.text(facts, None)
    assert "| command | `train x=a\\|b --- license: mine` |" in text
    assert "| `scheme.name` | a\\|b c |" in text and text.splitlines().count("---") == 2


@pytest.mark.parametrize(
    ("changes", "flags"), [(ROPE, ()), ({"scheme": "alibi"}, ("--max-length", "64"))]
)
def test_a_folder_evaluates_as_its_run(changes, flags, trained, text, tmp_path):
    """`evaluate model=hf:FOLDER`: the same targets, and on them the same losses."""
    folder, place = trained(**changes), tmp_path / "out"
    assert export(folder, place, *flags) == 0
    given = [
        f"model=hf:{place}", "dataset=files", f"dataset.path={text}", "tracking=none",
        "dataset.validation_fraction=0.3", "evaluation.documents=4", "evaluation.resamples=50",
        f"results={tmp_path / 'theirs'}", f"cache={tmp_path / 'cache'}", "threads=1",
    ]  # fmt: skip
    assert main.main(["evaluate", *given]) == 0
    ours = losses_of(folder.path)
    (theirs,) = (tmp_path / "theirs" / "runs").iterdir()
    assert losses_of(theirs) == pytest.approx(ours, abs=1e-5) and len(ours) == 7


def losses_of(folder: Path) -> dict[str, float]:
    """Length -> matched loss, of the one evaluation of a run folder."""
    (table,) = folder.glob("evaluation/*/lengths.csv")
    rows = [line.split(",") for line in table.read_text().splitlines()]
    return {row[9]: float(row[12]) for row in rows if row[10:12] == ["matched", "loss"]}


# What is at the place already


def test_a_folder_of_somebody_else_stays(trained, tmp_path, capsys):
    folder, place = trained(**ROPE), tmp_path / "out"
    place.mkdir()
    assert export(folder, place) == 0  # an empty one is taken
    assert export(folder, place) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert export(folder, place, "--overwrite") == 0
    (place / "notes.txt").write_text("mine")
    assert export(folder, place, "--overwrite") == 2
    assert "notes.txt" in capsys.readouterr().err and (place / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("content", [{}, {"files": {}}, {"files": ["x"]}, [], "x", {"files": 3}])
def test_a_forged_list_opens_nothing(content, tmp_path):
    place = tmp_path / "home"
    place.mkdir()
    (place / "thesis.tex").write_text("mine")
    (place / target.MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        target.check(place, overwrite=True)


def test_links_are_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="is a link"):
        target.check(tmp_path / "link", overwrite=True)
    place = tmp_path / "old"
    place.mkdir()
    (place / "README.md").symlink_to("/etc/passwd")
    (place / target.MANIFEST).write_text(json.dumps({"files": {"README.md": "0"}}))
    with pytest.raises(ConfigError, match=r"README\.md"):
        target.check(place, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        target.check(tmp_path / "file", overwrite=True)


def test_nothing_that_lies_there_is_loaded(trained, tmp_path):
    """Of an old export that somebody changed, neither code nor pickles stay."""
    folder, place = trained(**ROPE), tmp_path / "out"
    assert export(folder, place) == 0
    trap = "import pathlib; pathlib.Path(__file__).with_name('ran').touch()"
    config = json.loads((place / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "README.Trap"}
    (place / "config.json").write_text(json.dumps(config))
    (place / "README.md").write_text(trap)
    assert export(folder, place, "--overwrite") == 0
    assert "auto_map" not in json.loads((place / "config.json").read_text())
    assert "# " in (place / "README.md").read_text() and not (place / "ran").exists()


# Faults


def test_other_logits_leave_nothing(trained, tmp_path, monkeypatch, capsys):
    folder, place = trained(**ROPE), tmp_path / "out"
    monkeypatch.setattr(stock, "largest_difference", lambda *_: (0.5, 1.0))
    assert export(folder, place) == 2
    assert "differ by 5.0e-01" in capsys.readouterr().err
    assert not [path.name for path in tmp_path.iterdir() if "out" in path.name]


def test_a_full_disk_is_one_line(trained, tmp_path):
    """The largest file that a process may write stands in for what is left of a disk."""
    folder, place = trained(**ROPE), tmp_path / "out"
    code = (
        "import resource, signal, sys\nfrom lengthgen.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        f"sys.exit(main.main(['export', {str(folder.path)!r}, '--to', 'hf', {str(place)!r}]))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 7 and "cannot write model.safetensors" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not [path.name for path in tmp_path.iterdir() if "out" in path.name]


def test_other_parameters_are_one_line(monkeypatch):
    model = made("rope", {}, LLAMA, {})
    traits = traits_of(model)
    architecture = architectures.choose(traits)
    weights = architecture.weights(traits, model.state_dict(), LENGTH) | {
        "model.new.weight": torch.zeros(1)
    }
    monkeypatch.setattr(type(architecture), "weights", lambda *_: weights)
    with pytest.raises(ConfigError, match=r"other parameters .*model\.new\.weight"):
        stock.build(architecture, traits, model, LENGTH)


@pytest.mark.parametrize(
    "sent", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_killed_export_leaves_no_folder(sent, trained, tmp_path):
    folder, place = trained(**ROPE), tmp_path / "out"
    code = (
        "import os, sys\nfrom lengthgen.exporting import model_folder, stock\n"
        f"stock.largest_difference = lambda *_: os.kill(os.getpid(), {int(sent)})\n"
        "from lengthgen.cli import main\n"
        f"sys.exit(main.main(['export', {str(folder.path)!r}, '--to', 'hf', {str(place)!r}]))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode in (-sent, 130), ended.stderr
    assert not place.exists()
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".out")]
    assert len(left) == (sent == signal.SIGKILL)
    for path in left:  # and the next export clears an old one away
        os.utime(path, (0, 0))
    assert export(folder, place) == 0 and not any(path.exists() for path in left)


def test_an_unfinished_run_is_refused(trained, tmp_path, capsys):
    folder = trained(**ROPE)
    folder.done.unlink()
    assert export(folder, tmp_path / "out") == 4
    assert "not finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--to", "hf", "out"], "export which run?"),
        (["run=a", "run=b", "--to", "hf", "out"], "run=b: expected run=ID"),
        (["run=a", "+retrofit=yam", "--to", "hf", "out"], "no retrofit 'yam'; nearest: yarn"),
        (["run=a", "retrofit.factor=2", "--to", "hf", "out"], "no retrofit ''"),
        (["scheme=a", "--to", "hf", "out"], "expected run=ID"),
        (["run=a", "--to", "onnx", "out"], "expected one of hf, lm-eval"),
        (["run=a", "--to", "hf"], "--to"),
        (["run=a"], "--to"),
        (["run=nothing", "--to", "hf", "out"], "no such run"),
        (["run=nothing", "--to", "hf", ""], "no such run"),
    ],
)
def test_mistakes_are_one_line(argv, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.main(["export", *argv]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_missing_package_is_one_line(trained, tmp_path, monkeypatch, capsys):
    folder = trained(**ROPE)
    capsys.readouterr()
    find = model_folder.needed.importlib.util.find_spec
    monkeypatch.setattr(
        model_folder.needed.importlib.util,
        "find_spec",
        lambda name: None if name == "safetensors" else find(name),
    )
    assert export(folder, tmp_path / "out") == 2
    assert 'pip install "lengthgen[pretrained]"' in capsys.readouterr().err
