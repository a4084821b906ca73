"""What makes a claim not answerable, planted one at a time; checks; grids of learning rates."""

from pathlib import Path

import pytest

from lengthgen import files
from lengthgen.errors import ConfigError
from lengthgen.studies import claims, declaration, grid, measures, preconditions, running, tables
from lengthgen.studies.losses import EvaluatedArm, Material
from lengthgen.studies.measured import Mean
from tests.study_cases import MINE, claim, paired, subject, with_bigram, write_mine

AT = {"matched/16": 1.0, "matched/32": 0.9}  # L is 16


def run_folders(arm: EvaluatedArm) -> list[Path]:
    return [one.folder.parent.parent for one in arm.evaluations]


def ended(arm: EvaluatedArm, settled: bool | None, last: float | None = None) -> EvaluatedArm:
    for folder in run_folders(arm):
        training = {"steps": 10, "settled": settled, "last_doubling": last}
        files.write_json(folder / "done.json", {"training": training})
    return arm


def judged(material: Material, **given) -> claims.Verdict:
    """The verdict on one primary claim, which the losses support."""
    one = claim(primary=True, predict="above 0.5", length_factor=2.0, **given)
    found = measures.measure(material, one)
    reasons = preconditions.of_claims(material, [("c", one)])
    return claims.judge({"c": one}, {"c": found}, reasons)[0]


def test_a_trained_arm_that_settled_is_answered(tmp_path):
    arm = ended(with_bigram(subject(tmp_path, "arm", AT), 2.5), settled=True, last=0.001)
    assert judged(Material({"arm": arm})).word == "supported"
    old = subject(tmp_path, "old", AT)  # nothing is known: nothing is said
    assert judged(Material({"arm": old})).word == "supported"
    unruled = ended(subject(tmp_path, "unruled", AT), settled=None)
    assert judged(Material({"arm": unruled})).word == "supported"


def test_an_untrained_arm_answers_nothing(tmp_path):
    arm = with_bigram(subject(tmp_path, "arm", AT), 0.9)
    verdict = judged(Material({"arm": arm}))
    assert verdict.word == "not answerable" and verdict.p == 1.0
    assert verdict.reason.startswith("arm is untrained: at L its loss is +0.1")
    # A lower loss is not enough: it has to be surely lower, over documents that differ.
    unsure = with_bigram(subject(tmp_path, "unsure", AT), 1.07)
    assert judged(Material({"arm": unsure})).reason.startswith(
        "unsure is untrained: at L its loss is -0.0"
    )
    # As a baseline as well, and under a condition.
    far = {"matched/16": 1.0, "matched/32": 9.0}
    good = {"good": subject(tmp_path, "good", far), "good+x": subject(tmp_path, "good+x", far)}
    for one in good["good+x"].evaluations:  # a retrofit may break what was trained well
        settings = files.read_json(one.folder / "settings.json")
        files.write_json(
            one.folder / "settings.json", settings | {"origin": {"retrofit": {"name": "x"}}}
        )
    with_bigram(good["good+x"], 0.5)
    early = with_bigram(subject(tmp_path, "good+at_5", far), 0.5)  # the weights after 5 steps
    material = Material({"arm": arm, "arm+x": arm, "good+at_5": early, **good})
    assert judged(material, subject="good+x").word == "supported"
    assert judged(material, subject="good+at_5").word == "not answerable"
    assert judged(material, subject="good", baseline="arm").word == "not answerable"
    assert judged(material, subject="arm+x").word == "not answerable"
    assert judged(material, subject="good").word == "supported"
    assert judged(material, about_training=True).word == "supported"


def test_an_under_trained_arm_answers_nothing(tmp_path):
    arm = ended(subject(tmp_path, "arm", AT, n_seeds=3), settled=False, last=0.0421)
    verdict = judged(Material({"arm": arm}))
    assert verdict.word == "not answerable"
    said = "arm is under-trained (seed 0, 1, 2: still 0.042 nats a doubling of steps)"
    assert verdict.reason == said
    assert judged(Material({"arm": arm}), about_training=True).word == "supported"


def gated(tmp_path: Path, short: float, long: float, **given) -> claims.Verdict:
    """arm has a loss of 1.0 at L; the reference, trained at 4 L, has `short` at L."""
    arm = subject(tmp_path, "arm", AT)
    reference = subject(tmp_path, "longer", {"matched/16": short, "matched/32": long})
    for folder in run_folders(reference):
        text = (
            (folder / "config.yaml").read_text().replace('"train_length": 16', '"train_length": 64')
        )
        files.write_text(folder / "config.yaml", text)
    return judged(Material({"arm": arm, "longer": reference}), gate="longer", **given)


def test_a_text_that_shows_no_use_of_context_answers_nothing_about_it(tmp_path):
    assert gated(tmp_path / "a", 1.0, 0.9).word == "supported"
    flat = gated(tmp_path / "b", 1.0, 1.0)
    assert flat.word == "not answerable"
    assert "longer, trained at 64, gains " in flat.reason and "at least 0.005" in flat.reason


def test_a_reference_that_learned_less_is_none(tmp_path):
    worse = gated(tmp_path / "a", 1.2, 0.9)
    assert worse.word == "not answerable"
    assert "longer was not trained to the loss of arm at 16: +0.2" in worse.reason
    assert gated(tmp_path / "b", 1.2, 0.9, gate_tolerance=0.3).word == "supported"
    assert gated(tmp_path / "c", 0.8, 0.7).word == "supported"  # a better one is


def test_a_gate_that_was_trained_no_longer_says_nothing(tmp_path):
    arm, short = (subject(tmp_path, name, AT) for name in ("arm", "short"))
    verdict = judged(Material({"arm": arm, "short": short}), gate="short")
    assert verdict.word == "not answerable" and "trained at 16, says nothing" in verdict.reason


def test_a_claim_that_needs_another_waits_for_it():
    declared = {
        "first": claim(primary=True),
        "second": claim(primary=True, needs=["first"]),
        "third": claim(needs=["second"]),
    }
    yes, no = Mean(paired(1.0)), Mean(paired(-1.0))
    fine = claims.judge(declared, dict.fromkeys(declared, yes))
    assert [verdict.word for verdict in fine] == ["supported"] * 3
    refuted = claims.judge(declared, {"first": no, "second": yes, "third": yes})
    assert [verdict.word for verdict in refuted] == ["refuted", "not answerable", "not answerable"]
    assert refuted[1].reason == "it needs first, which is refuted"
    assert refuted[2].reason == "it needs second, which is not answerable"


def test_a_study_with_claims_that_are_not_answerable_is_not_supported():
    yes = Mean(paired(1.0))
    declared = {"a": claim(primary=True), "b": claim(primary=True)}
    verdicts = claims.judge(declared, dict.fromkeys("ab", yes), {"b": "no far context"})
    assert [verdict.word for verdict in verdicts] == ["supported", "not answerable"]
    assert claims.of_verdicts(verdicts) == "undecided"
    none = claims.judge(declared, dict.fromkeys("ab", yes), dict.fromkeys("ab", "x"))
    assert claims.of_verdicts(none) == "not answerable"
    against = claims.judge(declared, {"a": Mean(paired(-1.0)), "b": yes}, {"b": "x"})
    assert claims.of_verdicts(against) == "refuted"


def test_a_check_is_never_counted_with_claims(tmp_path):
    yes, no = Mean(paired(1.0)), Mean(paired(-1.0))
    declared = {"a": claim(primary=True), "identity": claim(check=True)}
    verdicts = claims.judge(declared, {"a": yes, "identity": no})
    assert [verdict.word for verdict in verdicts] == ["supported", "refuted"]
    assert claims.of_verdicts(verdicts) == "supported"
    # Its family is its own: forty checks do not weaken a claim, nor claims a check.
    many = {f"check_{i}": claim(check=True) for i in range(40)} | {"a": claim(primary=True)}
    weak = Mean(paired(0.0025))
    alone = claims.judge({"a": claim(primary=True)}, {"a": weak})[0]
    assert claims.judge(many, dict.fromkeys(many, weak))[-1].p == alone.p
    with pytest.raises(ConfigError, match="primary and check"):
        claim(primary=True, check=True)


GRID = {
    "base": ["optim.lr=2e-3"],
    "arms": {"a": [], "b": ["optim.lr=4e-3"], "c": []},
    "grid": {"optim.lr": ["1e-3", "2e-3", "4e-3"], "arms": ["a", "b"], "seeds": 2},
    "scales": {"s": {"seeds": 3}},
    "conditions": {"w": {"arms": ["a"], "overrides": ["retrofit=hard_window"]}},
}


def results_of(tmp_path: Path, study: declaration.Study, losses: dict) -> list[running.JobResult]:
    """What jobs would have found: losses, (arm, point) -> loss at L, at each seed."""
    found = []
    for job in running.jobs(study, study.scale(None)[1], tmp_path, []):
        rate = job.point[0] if job.point else ""
        loss = losses[job.arm, rate]
        if loss is None:
            found.append(running.JobResult(job, error="non-finite", exit_code=5))
            continue
        name = f"{job.arm}_{rate}".replace("=", "_")
        arm = subject(tmp_path, name, {"matched/16": loss, "matched/32": 10 - loss}, n_seeds=3)
        folder = arm.evaluations[job.seed].folder
        both = [("", folder), *((condition, folder) for condition, _ in job.conditions)]
        found.append(running.JobResult(job, f"{name}-{job.seed}", tuple(both)))
    return found


LOSSES = {
    ("a", "optim.lr=1e-3"): 1.5, ("a", "optim.lr=2e-3"): 1.2, ("a", "optim.lr=4e-3"): 1.4,
    ("b", "optim.lr=1e-3"): 1.1, ("b", "optim.lr=2e-3"): 1.2, ("b", "optim.lr=4e-3"): 1.3,
    ("c", ""): 1.0,
}  # fmt: skip


def test_a_grid_is_tried_with_few_seeds_and_its_common_point_with_all(tmp_path):
    study = declaration.read(write_mine(tmp_path, **GRID))
    scale = study.scale(None)[1]
    jobs = running.jobs(study, scale, tmp_path, [])
    counts = {(job.arm, job.point): 0 for job in jobs}
    for job in jobs:
        counts[job.arm, job.point] += 1
        assert (job.arm == "a" and not job.trial) == (
            dict(job.conditions) == {"w": ("retrofit=hard_window",)}
        )
    assert counts == {
        ("a", ("optim.lr=2e-3",)): 3, ("b", ("optim.lr=4e-3",)): 3, ("c", ()): 3,
        ("a", ("optim.lr=1e-3",)): 2, ("a", ("optim.lr=4e-3",)): 2,
        ("b", ("optim.lr=1e-3",)): 2, ("b", ("optim.lr=2e-3",)): 2,
    }  # fmt: skip
    trial = next(job for job in jobs if job.point == ("optim.lr=1e-3",))
    assert [one for one in trial.training if one.startswith("optim.lr")] == ["optim.lr=1e-3"]


def test_the_own_best_is_chosen_by_the_loss_at_the_training_length_alone(tmp_path):
    study = declaration.read(write_mine(tmp_path, **GRID))
    scale = study.scale(None)[1]
    choice = grid.choose(study, scale, results_of(tmp_path, study, LOSSES))
    # At 2 L the order of the points is the other way round.
    assert choice.own == {"a": ("optim.lr=2e-3",), "b": ("optim.lr=1e-3",), "c": ()}
    assert choice.common == {"a": ("optim.lr=2e-3",), "b": ("optim.lr=4e-3",), "c": ()}
    assert choice.moved == {"b": ("optim.lr=1e-3",)}
    rows = {(row["arm"], row["point"]): row for row in choice.rows}
    assert rows["b", "optim.lr=1e-3"]["edge"] and not rows["a", "optim.lr=2e-3"]["edge"]
    assert rows["a", "optim.lr=4e-3"]["loss"] == pytest.approx(1.4, abs=0.06)
    jobs = running.at(study, scale, tmp_path, [], choice.moved)
    assert [(job.arm, job.seed, job.point) for job in jobs] == [
        ("b", seed, ("optim.lr=1e-3",)) for seed in range(3)
    ]


def test_a_rate_at_which_the_loss_diverges_is_no_best_and_no_fault(tmp_path):
    study = declaration.read(write_mine(tmp_path, **GRID))
    losses = LOSSES | {("b", "optim.lr=1e-3"): None}
    choice = grid.choose(study, study.scale(None)[1], results_of(tmp_path, study, losses))
    assert choice.own["b"] == ("optim.lr=2e-3",)
    assert "diverged (seed 0, 1)" in {row["status"] for row in choice.rows}


def test_a_claim_holds_if_it_holds_at_the_own_best_and_at_the_common_rates():
    declared = {name: claim(primary=True) for name in "abc"}
    yes, no, nothing = Mean(paired(1.0)), Mean(paired(-1.0)), Mean(paired(0.0))
    own = claims.judge(declared, {"a": yes, "b": yes, "c": yes})
    common = claims.judge(declared, {"a": yes, "b": no, "c": nothing}, {"c": "untrained"})
    both = claims.in_both(own, common)
    assert [verdict.word for verdict in both] == ["supported", "undecided", "not answerable"]
    assert both[0].reason == "" and both[0].at_common.value == yes.bounds[0]
    assert both[1].reason == "supported at each arm's own best, refuted at the common rates"
    assert both[1].own_word == "supported" and both[1].value == yes.bounds[0]
    assert both[2].reason.endswith("at the common rates; untrained")
    study = declaration.Study(
        **{**dict.fromkeys(declaration.Study.__dataclass_fields__), "name": "s"}
    )
    row = tables.claims(study, both)[1]
    assert row["verdict"] == "undecided" and row["common_verdict"] == "refuted"
    assert row["common_value"] == no.bounds[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grid": {"optim.lr": ["1e-3"]}}, "at least two values"),
        ({"grid": {"rate": ["1e-3", "2e-3"]}}, "grid.rate"),
        ({"grid": {"optim.lr": ["1e-3", "3e-3"]}}, "arm a declares no value of optim.lr"),
        ({"grid": {"optim.lr": ["1e-3", "2e-3"], "arms": ["d"]}}, "d"),
        ({"grid": {"arms": ["a"]}}, "expected a list of values"),
    ],
)
def test_a_wrong_grid_is_one_line(tmp_path, change, said):
    with pytest.raises(ConfigError, match=said) as raised:
        declaration.read(write_mine(tmp_path, **(GRID | change)))
    assert "\n" not in str(raised.value)
    fine = GRID["grid"] | {
        "optim.lr": [0.001, 0.002, 0.004],
        "of_arms": {"b": {"optim.lr": [0.004, 1]}},
    }
    study = declaration.read(write_mine(tmp_path, **(GRID | {"grid": fine})))
    points = study.points("b", study.scale(None)[1])
    assert points == ([("optim.lr=0.004",), ("optim.lr=1",)], ("optim.lr=0.004",))


def test_a_study_with_a_grid_from_its_command_to_its_page(tmp_path):
    from lengthgen.cli import main
    from lengthgen.studies import study_folder

    (tmp_path / "mine" / "study").mkdir(parents=True)
    text = MINE.replace("  - model=nano", "  - model=nano\n  - optim.lr=1e-3").replace(
        "show: excess", "show: excess\ngrid: {optim.lr: [1e-3, 1e-2], arms: [t5_bias], seeds: 1}"
    )
    (tmp_path / "mine" / "study" / "mine.yaml").write_text(text)
    command = ["study", "mine", "--config-dir", str(tmp_path / "mine"), "--workers", "1"]
    command += ["--results", str(tmp_path / "results"), f"cache={tmp_path / 'cache'}"]
    assert main.main([*command, "--unregistered"]) == 0
    folder = tmp_path / "results" / "studies" / "mine-unregistered"
    rates = study_folder.read(folder / "rates.csv")
    assert [(row["arm"], row["common"]) for row in rates] == [("t5_bias", True), ("t5_bias", False)]
    best = next(row for row in rates if row["best"])
    assert best["loss"] == min(row["loss"] for row in rates)
    values = study_folder.read(folder / "values.csv")
    points = {
        row["point"] for row in values if row["subject"] == "t5_bias" and row["rates"] == "own best"
    }
    assert points == {best["point"]}
    summary = (folder / "summary.md").read_text()
    assert "## Learning rates" in summary and "at the common rate" in summary
    assert f"t5_bias ({best['point']})" in summary
    rows = {row["name"]: row for row in study_folder.read(folder / "claims.csv")}
    assert rows["seen"]["common_verdict"] and rows["seen"]["own_verdict"]
