"""Checked configuration and the identity of a run: what changes it, what does not, and the one line for each mistake."""

import copy
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lengthgen import config, typed
from lengthgen.errors import ConfigError

CONFIGS = Path(__file__).parent.parent / "configs"
DATA = {"label": "python", "fingerprint": "f" * 16, "tokenizer": "bytes"}


def given(**changes):
    """A configuration as Hydra would compose it, with dotted changes."""
    primary = OmegaConf.load(CONFIGS / "train.yaml")
    groups = {
        "model": "tiny",
        "scheme": "t5_bias",
        "dataset": "python",
        "tokenizer": "bytes",
        "optim": "adamw",
        "evaluation": "default",
        "tracking": "none",
    }
    groups |= {key: changes.pop(key) for key in list(changes) if key in groups}
    loaded = OmegaConf.create({key: value for key, value in primary.items() if key not in ("defaults", "hydra")})
    for group, name in groups.items():
        loaded[group] = OmegaConf.load(CONFIGS / group / f"{name}.yaml")
    for key, value in changes.items():
        OmegaConf.update(loaded, key.replace("__", "."), value)
    return OmegaConf.to_container(loaded, resolve=True)


def identity(data=DATA, precision="fp32", **changes):
    checked = config.check(given(**changes), [])
    return config.run_id(checked, config.scientific(checked, data, precision))


def test_config_yaml_reads_back_to_the_same_run():
    checked = config.check(given(scheme="fire", seed=3), [])
    again = config.check(copy.deepcopy(checked.as_dict()), [])
    assert again.as_dict() == checked.as_dict()
    assert config.scientific(again, DATA, "fp32") == config.scientific(checked, DATA, "fp32")


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"train_length": 256}, {"steps": 801}, {"batch_size": 8}, {"accumulate": 2}, {"cross_documents": False},
     {"scheme": "alibi"}, {"scheme__num_buckets": 64}, {"model__n_layers": 2}, {"optim__lr": 0.1},
     {"precision": "bf16"}, {"data": DATA | {"fingerprint": "0" * 16}}, {"data": DATA | {"tokenizer": "bpe"}}],
    ids=str,
)  # fmt: skip
def test_what_decides_the_numbers_changes_the_identity(change):
    assert identity(**change) != identity()


@pytest.mark.parametrize(
    "change",
    [{"device": "cpu"}, {"threads": 1}, {"compile": True}, {"log_every": 3}, {"checkpoint_every": 7}, {"keep_checkpoints": 5},
     {"results": "elsewhere"}, {"cache": "elsewhere"}, {"tracking": "wandb"}, {"evaluation": "quick"}, {"evaluation__lengths": [600]},
     {"validate_every": 0}],
    ids=str,
)  # fmt: skip
def test_what_does_not_leaves_it(change):
    assert identity(**change) == identity()


def test_setting_is_shared_by_schemes_and_seeds_only():
    def setting(**changes):
        return config.setting_id(config.scientific(config.check(given(**changes), []), DATA, "fp32"))

    assert setting() == setting(scheme="alibi", seed=5) == setting(scheme__num_buckets=8)
    assert len({setting(), setting(steps=3), setting(train_length=256), setting(model="small")}) == 4


def test_evaluation_identity_sees_the_lengths_not_how_they_were_given():
    def evaluation(train_length=512, **changes):
        return config.evaluation_id(config.check(given(**changes), []).evaluation, train_length)

    assert evaluation() == evaluation(evaluation__lengths=[256, 512, 640, 768, 1024, 1536, 2048])
    assert evaluation() == evaluation(evaluation__tokens_per_batch=99)
    assert len({evaluation(), evaluation(evaluation__lengths=[600]), evaluation(evaluation__documents=3), evaluation(1024)}) == 4


def test_label_names_what_differs_from_the_defaults():
    assert config.check(given(), []).scheme.label == "t5_bias"
    assert config.check(given(scheme__num_buckets=64), []).scheme.label == "t5_bias(num_buckets=64)"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "steps=0: expected a positive integer"),
        ({"steps": "many"}, "steps=many: expected a whole number"),
        ({"seed": -1}, "seed=-1"),
        ({"accumulate": 3}, "accumulate=3: expected a divisor of batch_size=4"),
        ({"precision": "fp61"}, "precision=fp61: expected one of auto, fp32, bf16"),
        ({"train_length": 1}, "train_length=1"),
        ({"train_length": 510}, "is no whole number of tokens"),
        ({"model__width": 130}, "model.width=130"),
        ({"model__n_heads": "x"}, "model.n_heads=x: expected a whole number"),
        ({"scheme__num_buckets": 7}, "scheme.num_buckets=7"),
        ({"optim__lr": 0}, "optim.lr"),
        ({"evaluation__protocols": ["matchd"]}, "nearest: matched"),
        ({"threads": 0}, "threads=0"),
        ({"steps": True}, "expected a number, not a truth value"),
    ],
    ids=str,
)
def test_mistakes_are_one_line_that_names_the_key(change, words):
    with pytest.raises(ConfigError) as error:
        config.check(given(**change), [])
    assert words in str(error.value) and "\n" not in str(error.value)


def test_unknown_keys_get_the_nearest_valid_name():
    wrong = given()
    wrong["model"]["n_layer"] = 3
    with pytest.raises(ConfigError, match=r"unknown key model.n_layer; expected one of: n_layers"):
        config.check(wrong, [])


def test_a_scheme_without_a_name_and_one_without_code(tmp_path):
    with pytest.raises(ConfigError, match="no name"):
        config.choose_scheme({}, [])
    with pytest.raises(ConfigError, match="scheme 'mine' has no code"):
        config.choose_scheme({"name": "mine"}, [tmp_path])


def test_the_code_of_an_own_scheme_is_part_of_its_identity(tmp_path):
    code = (Path(config.schemes.HERE) / "alibi.py").read_text()
    (tmp_path / "mine.py").write_text(code)
    own = given()
    own["scheme"] = {"name": "mine"}
    checked = config.check(own, [tmp_path])
    first = config.run_id(checked, config.scientific(checked, DATA, "fp32"))
    (tmp_path / "mine.py").write_text(code + "\n# another word\n")
    assert config.run_id(checked, config.scientific(checked, DATA, "fp32")) != first


def test_yaml_of_model_optim_and_evaluation_equal_their_dataclasses():
    import dataclasses

    from lengthgen.evaluation.protocols import EvaluationConfig
    from lengthgen.model import ModelConfig
    from lengthgen.optim import OptimConfig

    for group, name, cls in (("model", "tiny", ModelConfig), ("optim", "adamw", OptimConfig), ("evaluation", "default", EvaluationConfig)):
        loaded = OmegaConf.to_container(OmegaConf.load(CONFIGS / group / f"{name}.yaml"))
        assert loaded.pop("name") == name
        assert typed.build(cls, loaded, group) == cls() and set(loaded) == {f.name for f in dataclasses.fields(cls)}
    primary = OmegaConf.to_container(OmegaConf.load(CONFIGS / "train.yaml"))
    scalars = dataclasses.asdict(config.Scalars())
    assert {key: primary[key] for key in scalars} == scalars
