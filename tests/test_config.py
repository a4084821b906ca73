"""Checked configuration, the identity of a run, and the one line for each error."""

import copy
import dataclasses
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lengthgen.config import catalogue, dataclass_from
from lengthgen.errors import ConfigError
from lengthgen.runs import identity as run_identity
from lengthgen.runs import run_settings, train_config

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
    loaded = OmegaConf.create(
        {key: value for key, value in primary.items() if key not in ("defaults", "hydra")}
    )
    for group, name in groups.items():
        loaded[group] = catalogue.contents(CONFIGS / group / f"{name}.yaml", [CONFIGS])
    for key, value in changes.items():
        OmegaConf.update(loaded, key.replace("__", "."), value)
    return OmegaConf.to_container(loaded, resolve=True)


def identity(data=DATA, precision="fp32", **changes):
    checked = train_config.check(given(**changes), [])
    return run_identity.run_id(checked, run_identity.scientific(checked, data, precision))


def test_config_yaml_reads_back_to_the_same_run():
    checked = train_config.check(given(scheme="fire", seed=3), [])
    again = train_config.check(copy.deepcopy(checked.as_dict()), [])
    assert again.as_dict() == checked.as_dict()
    assert run_identity.scientific(again, DATA, "fp32") == run_identity.scientific(
        checked, DATA, "fp32"
    )


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"train_length": 256}, {"steps": 3001}, {"batch_size": 8}, {"accumulate": 2},
     {"cross_documents": False}, {"scheme": "alibi"}, {"scheme__num_buckets": 64},
     {"model__n_layers": 2}, {"optim__lr": 0.1}, {"precision": "bf16"},
     {"data": DATA | {"fingerprint": "0" * 16}}, {"data": DATA | {"tokenizer": "bpe"}},
     {"modifiers": {"ssmax": {}}}, {"modifiers": {"log_n": {"clip": True}}}],
    ids=str,
)  # fmt: skip
def test_what_decides_the_numbers_changes_the_identity(change):
    assert identity(**change) != identity()


@pytest.mark.parametrize(
    "change",
    [{"device": "cpu"}, {"threads": 1}, {"compile": True}, {"log_every": 3},
     {"checkpoint_every": 7}, {"keep_checkpoints": 5}, {"results": "elsewhere"},
     {"cache": "elsewhere"}, {"tracking": "wandb"}, {"evaluation": "quick"},
     {"evaluation__lengths": [600]}, {"validate_every": 0}, {"kernel": "reference"},
     {"modifiers": {}}, {"retrofit": {"name": "log_n"}}],
    ids=str,
)  # fmt: skip
def test_what_does_not_leaves_it(change):
    assert identity(**change) == identity()


@pytest.mark.parametrize(
    ("changes", "run", "setting"),
    [
        ({"steps": 800}, "t5_bias-python-tiny-L512-s0-b99715eb", "6490fd32"),
        ({"steps": 800, "scheme": "rope"}, "rope-python-tiny-L512-s0-d7cb878b", "6490fd32"),
        (
            {"steps": 800, "scheme": "rope", "seed": 3, "train_length": 1024},
            "rope-python-tiny-L1024-s3-744fa97b",
            "8381bcbe",
        ),
    ],
    ids=str,
)
def test_runs_that_were_trained_keep_their_identity(changes, run, setting):
    """Written down before there were modifiers: a change here would orphan every trained run."""
    checked = train_config.check(given(**changes), [])
    assert identity(**changes) == run
    assert run_identity.setting_id(run_identity.scientific(checked, DATA, "fp32")) == setting


def test_a_run_without_the_newer_keys_is_read_as_before():
    """config.yaml of a run that was trained before `modifiers` and `kernel` existed."""
    old = given(scheme="rope")
    del old["modifiers"], old["kernel"]
    checked = train_config.check(old, [])
    assert run_identity.run_id(checked, run_identity.scientific(checked, DATA, "fp32")) == identity(
        scheme="rope"
    )


def test_setting_is_shared_by_schemes_and_seeds_only():
    def setting(**changes):
        return run_identity.setting_id(
            run_identity.scientific(train_config.check(given(**changes), []), DATA, "fp32")
        )

    assert (
        setting()
        == setting(scheme="alibi", seed=5)
        == setting(scheme__num_buckets=8)
        == setting(modifiers={"ssmax": {}})
    )
    assert (
        len({setting(), setting(steps=3), setting(train_length=256), setting(model="small")}) == 4
    )


def test_evaluation_identity_sees_the_lengths_not_how_they_were_given():
    def evaluation(train_length=512, **changes):
        return run_identity.evaluation_id(
            train_config.check(given(**changes), []).evaluation, train_length
        )

    assert evaluation() == evaluation(evaluation__lengths=[256, 512, 640, 768, 1024, 1536, 2048])
    assert evaluation() == evaluation(evaluation__tokens_per_batch=99)
    assert (
        len(
            {
                evaluation(),
                evaluation(evaluation__lengths=[600]),
                evaluation(evaluation__documents=3),
                evaluation(1024),
            }
        )
        == 4
    )


def test_evaluation_identity_sees_the_retrofit_with_its_options():
    def evaluation(**retrofit):
        checked = train_config.check(given(**({"retrofit": retrofit} if retrofit else {})), [])
        return run_identity.evaluation_id(checked.evaluation, 512, checked.retrofit)

    plain = run_identity.evaluation_id(train_config.check(given(), []).evaluation, 512)
    assert evaluation() == plain
    assert evaluation(name="log_n") == evaluation(name="log_n", length=None)
    assert (
        len(
            {
                plain,
                evaluation(name="log_n"),
                evaluation(name="log_n", length=99),
                evaluation(name="hard_window"),
            }
        )
        == 4
    )


def test_buckets_follow_the_training_length_and_only_a_users_are_named():
    """At 512 the options are T5's own, key by key, so that the runs there keep their identity."""

    def scheme(length, **options):
        options = {f"scheme__{name}": value for name, value in options.items()}
        return train_config.check(given(train_length=length, **options), []).scheme

    assert scheme(512).as_dict() == {
        "name": "t5_bias", "num_buckets": 32, "max_distance": 128, "per_layer": False,
        "scale_scores": True, "scale_bias": True, "init_std": 0.02,
    }  # fmt: skip
    buckets = {4: (4, 4), 20: (4, 5), 64: (16, 16), 100: (24, 25), 128: (32, 32), 256: (32, 64),
               1024: (32, 256), 8192: (32, 2048)}  # fmt: skip
    for length, expected in buckets.items():
        found = scheme(length)
        assert (found.options.num_buckets, found.options.max_distance) == expected, length
        assert found.label == "t5_bias"
        again = scheme(length, num_buckets=expected[0], max_distance=expected[1])  # from a config
        assert again.label == "t5_bias" and again.as_dict() == found.as_dict()
    assert scheme(128, num_buckets=64).label == "t5_bias(num_buckets=64)"
    assert scheme(128, num_buckets=64).options.max_distance == 64
    assert scheme(128, num_buckets=32, max_distance=128).label == "t5_bias(max_distance=128)"
    assert scheme(64, max_distance=32).label == "t5_bias(max_distance=32)"
    with pytest.raises(ConfigError, match="max_distance=8: expected more than num_buckets / 2"):
        scheme(512, max_distance=8)


@pytest.mark.parametrize("outer", ["dape", "randomised"])
def test_buckets_of_an_inner_scheme_follow_its_length_where_they_are_not_the_papers(outer):
    def options(length, **inner):
        keys = {"scheme": outer, "scheme__inner": "t5_bias", "scheme__inner_options": inner}
        return train_config.check(given(train_length=length, **keys), []).scheme

    length = 512 if outer == "dape" else 64  # randomised has 8 times as many positions
    assert options(length).options.inner_options == {}
    found = options(length // 4)
    assert found.options.inner_options == {"max_distance": 32}
    assert found.label == f"{outer}(inner=t5_bias)"
    assert options(length, max_distance=400).options.inner_options == {"max_distance": 400}


@pytest.mark.parametrize(
    ("scheme", "option", "before", "run"),
    [
        ("per_offset", "scale_bias", False, "per_offset-python-tiny-L512-s0-a89a726b"),
        ("cpb", "scale_bias", False, "cpb-python-tiny-L512-s0-ef798eec"),
        ("normalised_sinusoid", "turns", 1.0, "normalised_sinusoid-python-tiny-L512-s0-2f0cbbaa"),
    ],
)
def test_a_run_older_than_an_option_is_what_it_was(scheme, option, before, run):
    """Ids written down before the options existed: a run with the old value has the old id, and its
    config.yaml, which does not name the option, is read with that value.
    """
    assert identity(steps=800, scheme=scheme, **{f"scheme__{option}": before}) == run
    assert identity(steps=800, scheme=scheme) != run
    stored = given(steps=800, scheme=scheme)
    del stored["scheme"][option]
    checked = train_config.check(train_config.as_trained(stored, []), [])
    assert getattr(checked.scheme.options, option) == before
    assert run_identity.run_id(checked, run_identity.scientific(checked, DATA, "fp32")) == run
    newer = train_config.as_trained(given(scheme=scheme), [])
    assert newer == given(scheme=scheme)


def test_label_names_what_differs_from_the_defaults():
    assert train_config.check(given(), []).scheme.label == "t5_bias"
    assert (
        train_config.check(given(scheme__num_buckets=64), []).scheme.label
        == "t5_bias(num_buckets=64)"
    )
    assert (
        train_config.check(given(scheme="alibi", scheme__max_bias=4.0), []).label
        == "alibi(max_bias=4)"
    )


def test_label_and_name_hold_modifiers_and_retrofit():
    """In the order of application, not of the words; the run is named without the retrofit."""
    around = {"ssmax": {"bias": True}, "window": {}}
    checked = train_config.check(
        given(scheme="rope", modifiers=around, retrofit={"name": "hard_window", "window": 9}), []
    )
    assert checked.label == "rope+window+ssmax(bias=True)+hard_window(window=9)"
    assert checked.name == "rope+window+ssmax"
    swapped = given(scheme="rope", modifiers=dict(reversed(around.items())))
    assert identity(scheme="rope", modifiers=around).startswith("rope+window+ssmax-python-")
    assert identity(scheme="rope", modifiers=around) == run_identity.run_id(
        train_config.check(swapped, []),
        run_identity.scientific(train_config.check(swapped, []), DATA, "fp32"),
    )


def test_config_yaml_of_a_modified_run_reads_back_to_the_same():
    checked = train_config.check(
        given(scheme="rope", modifiers={"window": {"window": 7}, "drope": {}}), []
    )
    again = train_config.check(copy.deepcopy(checked.as_dict()), [])
    assert again.as_dict() == checked.as_dict() and again.label == "rope+drope+window(window=7)"
    assert run_identity.scientific(again, DATA, "fp32") == run_identity.scientific(
        checked, DATA, "fp32"
    )


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
        ({"kernel": "fsat"}, "kernel=fsat: expected one of auto, cpu, sdpa, flex, reference"),
        ({"modifiers": 3}, "modifiers=3: expected names with their options; give modifier=NAME"),
        (
            {"modifiers": {"smax": {}}},
            "modifier 'smax' has no code; nearest: ssmax; "
            "expected one of drope, layer_mix, log_n, ssmax, window",
        ),
        (
            {"modifiers": {"ssmax": {"int": 1}}},
            "unknown key modifiers.ssmax.int; expected one of: init",
        ),
        (
            {"modifiers": {"window": {"window": "x"}}},
            "modifiers.window.window=x: expected a whole number",
        ),
        ({"retrofit": {"factor": 2}}, "retrofit has no name"),
        (
            {"retrofit": {"name": "yran"}},
            "retrofit 'yran' has no code; nearest: yarn; expected one of alibi_interpolation, ",
        ),
        (
            {"retrofit": {"name": "log_n", "lenght": 2}},
            "unknown key retrofit.lenght; expected one of: length",
        ),
    ],
    ids=str,
)
def test_mistakes_are_one_line_that_names_the_key(change, words):
    with pytest.raises(ConfigError) as error:
        train_config.check(given(**change), [])
    assert words in str(error.value) and "\n" not in str(error.value)


def test_unknown_keys_get_the_nearest_valid_name():
    wrong = given()
    wrong["model"]["n_layer"] = 3
    with pytest.raises(ConfigError, match=r"unknown key model.n_layer; expected one of: n_layers"):
        train_config.check(wrong, [])


def test_a_scheme_without_a_name_and_one_without_code(tmp_path):
    with pytest.raises(ConfigError, match="scheme has no name"):
        train_config.choose(train_config.schemes, "scheme", {}, [])
    with pytest.raises(ConfigError, match="scheme 'mine' has no code"):
        train_config.choose(train_config.schemes, "scheme", {"name": "mine"}, [tmp_path])


def test_the_code_of_an_own_scheme_is_part_of_its_identity(tmp_path):
    """So is that of an own modifier; that of an own retrofit is part of the evaluation's."""
    own = given()
    for kind, name in (
        (train_config.schemes, "alibi"),
        (train_config.modifiers, "ssmax"),
        (train_config.retrofits, "log_n"),
    ):
        (tmp_path / kind.NOUN).mkdir()
        (tmp_path / kind.NOUN / "mine.py").write_text((kind.HERE / f"{name}.py").read_text())
    own |= {"scheme": {"name": "mine"}, "modifiers": {"mine": {}}, "retrofit": {"name": "mine"}}
    checked = train_config.check(own, [tmp_path])

    def ids():
        return run_identity.run_id(
            checked, run_identity.scientific(checked, DATA, "fp32")
        ), run_identity.evaluation_id(checked.evaluation, 512, checked.retrofit)

    assert checked.label == "mine+mine+mine"
    seen = [ids()]
    for kind in ("scheme", "modifier", "retrofit"):
        path = tmp_path / kind / "mine.py"
        path.write_text(path.read_text() + "\n# another word\n")
        seen.append(ids())
    assert [run == seen[0][0] for run, _ in seen] == [True, False, False, False]
    assert seen[1][0] != seen[2][0] == seen[3][0]
    assert [evaluation == seen[0][1] for _, evaluation in seen] == [True, True, True, False]


def test_yaml_of_model_optim_and_evaluation_equal_their_dataclasses():
    import dataclasses

    from lengthgen.evaluation.protocols import EvaluationConfig
    from lengthgen.model import ModelConfig
    from lengthgen.training.optim import OptimConfig

    for group, name, cls in (
        ("model", "tiny", ModelConfig),
        ("optim", "adamw", OptimConfig),
        ("evaluation", "default", EvaluationConfig),
    ):
        loaded = OmegaConf.to_container(OmegaConf.load(CONFIGS / group / f"{name}.yaml"))
        assert loaded.pop("name") == name
        assert dataclass_from.build(cls, loaded, group) == cls() and set(loaded) == {
            f.name for f in dataclasses.fields(cls)
        }
    primary = OmegaConf.to_container(OmegaConf.load(CONFIGS / "train.yaml"))
    settings = dataclasses.asdict(run_settings.RunSettings())
    assert {key: primary[key] for key in settings} == settings


@dataclasses.dataclass
class Bounded:
    count: int = 1
    at_most: int | None = None
    share: float = 1.0


@pytest.mark.parametrize(
    ("bound", "field", "value", "words"),
    [
        ("> 0", "count", 0, "a positive integer"),
        ("> 1", "count", 1, "a whole number > 1"),
        ("> 0", "at_most", 0, "a positive integer or null"),
        ("> 0", "share", 0.0, "a positive number"),
        (">= 1", "share", 0.5, "a number >= 1"),
        ("> 0", "share", float("nan"), "a positive number"),
    ],
)
def test_a_bound_of_a_field_is_one_line(bound, field, value, words):
    dataclass_from.limit(Bounded(2, None, 1.5), "group", bound, "count", "at_most", "share")
    with pytest.raises(ConfigError) as refused:
        dataclass_from.limit(Bounded(**{field: value}), "group", bound, field)
    assert str(refused.value) == f"group.{field}={value}: expected {words}"
