"""Every YAML in configs/: it composes, is accepted, and says of a key what its dataclass says."""

import ast
import dataclasses
import inspect
import io
import re
import tokenize

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lengthgen import modifiers, retrofits, schemes
from lengthgen.config import catalogue, dataclass_from
from lengthgen.data import datasets, limited, tokenizers
from lengthgen.diagnostics.settings import DiagnosticsConfig
from lengthgen.errors import ConfigError
from lengthgen.evaluation.protocols import EvaluationConfig, eval_lengths
from lengthgen.model import ModelConfig
from lengthgen.pretrained.adapter_settings import LoraConfig
from lengthgen.runs import pretrained_settings, run_settings, train_config
from lengthgen.training.optim import OptimConfig

FOLDER = catalogue.folder()
FILES = sorted(FOLDER.rglob("*.yaml"))
GROUPS = [key.name for key in catalogue.groups("train")]
OPTIONS = [(group, option) for group in GROUPS for option in catalogue.options(group, [FOLDER])]
GIVEN = {
    ("dataset", "files"): ["dataset.path=text"],
    ("dataset", "huggingface"): ["dataset.path=owner/name"],
}  # what a user must give


def composed(command, *overrides):
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        return OmegaConf.to_container(compose(command, list(overrides)), resolve=True)


def name_of(path):
    return str(path.relative_to(FOLDER))


def test_every_group_is_in_a_defaults_list():
    assert set(catalogue.all_groups([FOLDER])) - {"hydra", "study"} <= {
        *GROUPS,
        *(key.name for key in catalogue.groups("evaluate")),
    }
    assert len(OPTIONS) > 25


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_option_composes_and_is_accepted(group, option):
    found = composed("train", f"{group}={option}", *GIVEN.get((group, option), []))
    if group == "modifier":
        assert len(found["modifiers"]) == (option != "none")
    elif group != "experiment" and (group, option) != ("retrofit", "none"):
        assert next(iter(found[group])) == "name"
    if group in ("scheme", "dataset") and (group, option) not in GIVEN:
        path = FOLDER / group / f"{option}.yaml"
        shared = plain(limited.Every) if group == "dataset" else {}
        assert shared | catalogue.contents(path, [FOLDER]) == found[group], "read without Hydra"
    assert train_config.check(found, []).as_dict()["train_length"] == found["train_length"]


def test_modifiers_compose_together():
    found = composed("train", "modifier=[window,ssmax]", "modifiers.window.window=7")
    assert train_config.check(found, []).label == "t5_bias+window(window=7)+ssmax"
    assert (
        train_config.check(composed("train"), []).modifiers
        == train_config.check(composed("train", "modifier=none"), []).modifiers
        == []
    )


@pytest.mark.parametrize("option", ["none", "log_n", "t5_clamp"])
def test_retrofit_composes_and_is_accepted(option):
    found = composed("evaluate", "run=x", f"retrofit={option}")
    if option == "none":
        assert not found.get("retrofit")
        return
    assert next(iter(found["retrofit"])) == "name"
    chosen = train_config.check({**composed("train"), "retrofit": found["retrofit"]}, []).retrofit
    assert chosen.as_dict() == found["retrofit"]


def test_diagnostics_compose_and_equal_their_dataclass():
    found = composed("evaluate", "run=x", "diagnostics=all")["diagnostics"]
    assert found == {"name": "all"} | plain(DiagnosticsConfig)
    checked = train_config.check(
        {**composed("train"), "diagnostics": {**found, "factors": [0.5, 2]}}, []
    )
    assert checked.diagnosed_lengths == [256, 512, 1024] and "diagnostics" not in checked.as_dict()


def test_evaluate_composes():
    found = composed("evaluate", "run=x")
    assert {
        "run",
        "at_step",
        "evaluation",
        "tracking",
        "device",
        "threads",
        "linear",
        "kernel",
        "trust_code",
        "results",
        "cache",
    } == set(found)
    assert dataclass_from.build(
        EvaluationConfig,
        {k: v for k, v in found["evaluation"].items() if k != "name"},
        "evaluation",
    )


def test_every_key_carries_a_comment():
    """Beside `key: value`; `name:` may have it above. A variant has the words of what it varies."""
    for path in FILES:
        if path.parent.name == "study":  # its claims say it
            continue
        assert catalogue.meaning(path), f"{path} says nowhere what it is"
        text = path.read_text(encoding="utf-8")
        variant = re.search(r"^defaults: \[\w+, _self_\]$", text, re.M)
        if path.parent.name == "job_logging" or variant:
            continue
        for line in text.splitlines():
            if re.match(r" *(- )?[\w/]+: *[^\s#][^#]*$", line):
                has_none = ("name:", "- override ", "- _self_")
                assert line.strip().startswith(has_none), f"{path}: {line}"


def comments_of_fields(cls):
    """{field: its comment} of a dataclass and its bases: on the lines above it or beside it.

    A class that only gives a field another default leaves the words to its base.
    """
    comments = {}
    for base in reversed(cls.__mro__[:-1]):
        source = inspect.getsource(base)
        words = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        last = 0
        for node in ast.parse(source).body[0].body:
            if isinstance(node, ast.AnnAssign):
                lines = range(last + 1, node.end_lineno + 1)
                here = " ".join(words[n] for n in lines if n in words)
                comments[node.target.id] = here or comments.get(node.target.id, "")
            last = node.end_lineno
    return {field.name: comments[field.name] for field in dataclasses.fields(cls)}


def comments_of_keys(path):
    """{key: the comment beside it} of a YAML file."""
    lines = (re.match(r"(\w+):.*? +# (.*)", line) for line in path.read_text().splitlines())
    return {line[1]: line[2] for line in lines if line}


DATACLASSES = {
    (group, name): package.load(name).Config
    for group, package in (
        ("scheme", schemes),
        ("modifier", modifiers),
        ("retrofit", retrofits),
        ("dataset", datasets),
    )
    for name in package.names()
} | {("tokenizer", name): cls for name, cls in tokenizers.KINDS.items()}
DATACLASSES["evaluation", "default"] = EvaluationConfig
DATACLASSES["adapter", "lora"] = LoraConfig


@pytest.mark.parametrize(("group", "name"), DATACLASSES)
def test_yaml_says_what_its_dataclass_says(group, name):
    """The same keys in the same order, the same defaults and the same comments, word by word."""
    path, cls = FOLDER / group / f"{name}.yaml", DATACLASSES[group, name]
    options = OmegaConf.to_container(OmegaConf.load(path))
    assert options.pop("name", name) == name
    required = {key: value for key, value in options.items() if value == "???"}
    assert list(options) == [field.name for field in dataclasses.fields(cls)]
    assert options == plain(cls) | required
    assert {**comments_of_keys(path), "name": ""} == {**comments_of_fields(cls), "name": ""}


SHARED = [
    (path, cls)
    for group, cls in (
        ("model", ModelConfig),
        ("optim", OptimConfig),
        ("evaluation", EvaluationConfig),
        ("diagnostics", DiagnosticsConfig),
    )
    for path in catalogue.files(group, [FOLDER]).values()
] + [(FOLDER / f"{command}.yaml", run_settings.RunSettings) for command in ("train", "evaluate")]
SHARED += [(FOLDER / "every_dataset.yaml", limited.Every)]
SHARED += [(FOLDER / "pretrained.yaml", pretrained_settings.PretrainedSettings)]


@pytest.mark.parametrize(
    ("path", "cls"), [pytest.param(path, cls, id=name_of(path)) for path, cls in SHARED]
)
def test_every_option_says_of_its_keys_what_their_dataclass_says(path, cls):
    words, keys = comments_of_fields(cls), comments_of_keys(path)
    assert {key: words.get(key, keys[key]) for key in keys} == keys
    is_part = path.stem == "evaluate" or "defaults" in OmegaConf.load(path)
    assert is_part or words.keys() <= keys.keys()


def test_names_no_path_of_a_machine():
    local = re.compile(r"(^|[\s:'\"])/(home|root|work|tmp|usr)/")
    assert [path for path in FILES if local.search(path.read_text(encoding="utf-8"))] == []


def plain(options):
    """Defaults of a dataclass as YAML gives them."""
    return OmegaConf.to_container(OmegaConf.structured(options))


@pytest.mark.parametrize(
    ("group", "cls"),
    [("model", ModelConfig), ("optim", OptimConfig), ("evaluation", EvaluationConfig)],
)
def test_every_option_lists_every_key_or_varies_another(group, cls):
    keys = {"name", *(field.name for field in dataclasses.fields(cls))}
    for path in catalogue.files(group, [FOLDER]).values():
        listed = set(OmegaConf.load(path))
        assert listed == keys or (listed - {"defaults"} < keys and "defaults" in listed), path.name


def test_top_level_keys_equal_their_dataclass():
    found = composed("train")
    assert {
        key: value
        for key, value in found.items()
        if key not in (*GROUPS, "modifiers", "retrofit", "from")
    } == plain(run_settings.RunSettings)


def test_catalogue_reads_what_hydra_reads():
    found = composed("train")
    for key in catalogue.keys("train"):
        assert str(found[key.name]).lower() == key.value.replace("null", "None").lower()
        assert key.comment
    for group in catalogue.groups("train"):
        assert found.get(group.name, {"name": "null"})["name"] == group.value
        assert group.comment


def test_presets_have_the_sizes_they_say():
    from lengthgen.cli import listing

    counts = {
        name: listing._model_parameters(path)
        for name, path in catalogue.files("model", [FOLDER]).items()
    }
    assert 0.7e6 < counts["tiny"] < 1.3e6
    assert 8e6 < counts["small"] < 12e6
    assert 35e6 < counts["base"] < 45e6
    gpt2 = OmegaConf.load(FOLDER / "model" / "gpt2.yaml")
    assert counts["gpt2"] + (50257 - 257) * gpt2.width == pytest.approx(124e6, rel=0.02)


# What the comments of the presets for a GPU say: parameters, tokens of a training, tokens at once.
GPU_PRESETS = {
    "small_512": (10.7e6, 65.5e6, 65_536),
    "base_512": (39.5e6, 393e6, 65_536),
    "base_1024": (39.5e6, 393e6, 65_536),
    "gpt2_1024": (124e6, 655e6, 32_768),
}
VOCABULARY = {"bytes": 257, "gpt2": 50_258}  # with the id that begins a document


def test_every_preset_for_a_gpu_is_listed():
    nested = {option for option in catalogue.options("experiment", [FOLDER]) if "/" in option}
    assert nested == {f"gpu/{name}" for name in GPU_PRESETS}


@pytest.mark.parametrize("name", GPU_PRESETS)
def test_a_preset_for_a_gpu_is_what_its_comments_say(name):
    parameters, tokens, at_once = GPU_PRESETS[name]
    config = train_config.check(composed("train", f"experiment=gpu/{name}", "scheme=none"), [])
    settings, size = config.settings, config.model
    assert name == f"{config.model_name}_{settings.train_length}"
    step = settings.batch_size * settings.train_length
    assert (step, step // settings.accumulate) == (65_536, at_once)
    assert step * settings.steps == pytest.approx(tokens, rel=0.01)
    # Attention 4 E^2, MLP 8 E^2; biases, norms and the embeddings of the vocabulary.
    blocks = size.n_layers * (12 * size.width**2 + 13 * size.width)
    vocabulary = VOCABULARY[config.tokenizer["name"]] * size.width
    counted = blocks + vocabulary + 2 * size.width
    assert counted == pytest.approx(parameters, rel=0.01)
    factors = [
        length / settings.train_length
        for length in eval_lengths(config.evaluation, settings.train_length)
    ]
    assert {0.5, 1.0, 4.0, 8.0} <= set(factors)
    assert f"{parameters / 1e6:g}M parameters" in (
        FOLDER / "experiment" / "gpu" / f"{name}.yaml"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", GPU_PRESETS)
def test_a_preset_for_a_gpu_takes_your_own_text_and_another_size(name):
    words = ["dataset=files", "dataset.path=text", "model=nano", "steps=6", "device=cpu"]
    found = composed("train", f"experiment=gpu/{name}", *words)
    assert (found["dataset"]["name"], found["model"]["name"]) == ("files", "nano")
    assert train_config.check(found, []).settings.steps == 6


def test_an_unknown_key_is_refused():
    with pytest.raises(ConfigError, match="nonsense"):
        train_config.check({**composed("train"), "nonsense": 1}, [])
