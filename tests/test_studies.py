"""Studies: declarations, measures on losses made by hand, and a study from command to files."""

import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lengthgen.cli import main
from lengthgen.config import catalogue
from lengthgen.errors import ConfigError, DataError, Interrupted
from lengthgen.studies import (
    claims,
    declaration,
    measures,
    report,
    running,
    sections,
    study_folder,
    tables,
)
from lengthgen.studies.claims import Claim
from lengthgen.studies.losses import EvaluatedArm, Material
from lengthgen.studies.measured import Exact, Mean, Share
from tests.study_cases import (
    BLOCK,
    DOCUMENTS,
    MINE,
    L,
    claim,
    evaluated,
    paired,
    subject,
    write_mine,
)

NAMES = declaration.names([catalogue.folder()])


def subjects_of(claim: Claim) -> set[str]:
    """The arms that a claim needs at its length_factor; a reference of utilisation has others."""
    named = (claim.subject, None if claim.measure == "utilisation" else claim.baseline)
    return {subject.partition("+")[0] for subject in named if subject}


@cache
def trained_with(training: tuple[str, ...]) -> int:
    from lengthgen.config import compose

    return compose.compose(list(training)).train_length


def trained_at(study, scale, subject: str) -> int:
    return trained_with(tuple(study.training(subject.partition("+")[0], scale)))


@cache
def evaluated_with(overrides: tuple[str, ...]):
    from lengthgen.config import compose

    return compose.compose(["run=r", *overrides], command="evaluate")


@pytest.mark.parametrize("others", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_a_declaration_holds_together_and_its_overrides_compose(name, others):
    """At its first scale; or at the others, which differ in steps and sizes."""
    from lengthgen.config import compose

    study = declaration.load(name, [catalogue.folder()])
    assert study.meaning and len(study.claim) > 100
    scales = list(study.scales.values())
    assert all(scale.seeds >= 3 for scale in scales)
    for scale in scales[1:] if others else scales[:1]:
        for job in running.jobs(study, scale, Path("x"), [])[: len(study.arms)]:
            config = compose.compose([*job.training, *job.machine], results=job.results)
            assert config.tracking.name == "none" and config.results == "x" and config.seed == 0
            lengths = config.evaluation.lengths or [
                factor * config.train_length for factor in config.evaluation.factors
            ]
            asked = {
                round(c.length_factor * trained_at(study, scale, c.subject))
                for c in study.claims.values()
                if c.length_factor and job.arm in subjects_of(c)
            }
            assert asked <= {round(length) for length in lengths}
            for overrides in dict(job.conditions).values():
                changed = evaluated_with(tuple(overrides))
                assert changed.get("retrofit") or changed.at_step in config.keep_at_steps


def test_runs_that_studies_share_are_the_same_runs():
    studies = {
        name: declaration.load(name, [catalogue.folder()])
        for name in ("fails_or_uses", "protocol_artefacts", "retrofit_decision")
    }
    from lengthgen.config import compose
    from lengthgen.runs import identity as run_identity
    from lengthgen.runs import train_config
    from lengthgen.runs.train_config import plain

    def identity(name: str) -> dict:
        study = studies[name]
        composed = compose.compose(study.training("text_alibi", study.scale(None)[1]))
        checked = train_config.check(plain(composed), [])
        return run_identity.scientific(checked, {"label": "x"}, "fp32")

    assert (
        identity("fails_or_uses") == identity("protocol_artefacts") == identity("retrofit_decision")
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {
                "claims": {
                    "c": {
                        "measure": "loss",
                        "subject": "nobody",
                        "predict": "above 0",
                        "primary": True,
                    }
                }
            },
            "nobody",
        ),
        (
            {
                "claims": {
                    "c": {"measure": "lost", "subject": "a", "predict": "above 0", "primary": True}
                }
            },
            "lost",
        ),
        (
            {
                "claims": {
                    "c": {"measure": "loss", "subject": "a", "predict": "about 0", "primary": True}
                }
            },
            "predict=about 0",
        ),
        (
            {"claims": {"c": {"measure": "loss", "subject": "a", "predict": "above 0"}}},
            "0 primary claims",
        ),
        (
            {
                "claims": {
                    f"c{i}": {
                        "measure": "loss",
                        "subject": "a",
                        "predict": "above 0",
                        "primary": True,
                    }
                    for i in range(7)
                }
            },
            "7 primary claims",
        ),
        ({"conditions": {"w": {"arms": ["b"], "overrides": []}}}, "b"),
        (
            {
                "arms": {"a": [], "b": []},
                "claims": {
                    "c": {
                        "measure": "loss",
                        "subject": "a",
                        "baseline": "b",
                        "predict": "above 0",
                        "primary": True,
                    }
                },
                "scales": {"s": {"seeds": 4, "arm_seeds": {"b": 3}}},
            },
            "4 seeds of a and 3 of b in scale s: expected as many",
        ),
        ({"arm": {}}, "unknown key arm"),
        ({"claim": ""}, "claim is missing"),
        ({"show": "step"}, "show"),
        ({"starts": {"b": "a"}}, "starts=b: expected one of a"),
        ({"arms": {"a": [], "b": []}, "starts": {"a": "b", "b": "a"}}, "starts"),
    ],
)
def test_a_wrong_declaration_is_one_line(tmp_path, change, said):
    with pytest.raises(ConfigError, match=said) as raised:
        declaration.read(write_mine(tmp_path, **change))
    assert "\n" not in str(raised.value)
    assert declaration.read(write_mine(tmp_path)).scale(None)[0] == "s"


def test_measures_on_losses_made_by_hand(tmp_path):
    means = {"matched/16": 1.0, "matched/32": 1.7, "hard_window/32": 1.2, "position/32": 1.0}
    arm = subject(tmp_path, "arm", means)
    repaired = subject(tmp_path, "arm+repair", means | {"matched/32": 1.28})
    material = Material({"arm": arm, "arm+repair": repaired})

    def value(**given) -> float:
        return measures.measure(material, claim(**given)).bounds[0]

    near = {"abs": 0.01}
    assert value() == pytest.approx(1.7, abs=0.06)  # document effects are part of a loss
    assert value(measure="excess") == pytest.approx(1.2, **near)
    assert value(measure="change") == pytest.approx(0.7, **near)
    assert value(measure="use_hard_window") == pytest.approx(-0.5, **near)
    assert value(measure="hard_window_change") == pytest.approx(0.2, **near)
    assert value(measure="early_excess", length_factor=None) == pytest.approx(0.5, **near)
    assert value(measure="step", length_factor=None) == pytest.approx(0.0, **near)
    assert value(measure="moved", subject="arm+repair") == pytest.approx(0.28, **near)
    assert value(measure="recovered", subject="arm+repair") == pytest.approx(0.6, **near)
    assert value(subject="arm+repair", baseline="arm") == pytest.approx(-0.42, **near)


def test_utilisation_is_a_share_of_what_a_reference_gains_or_of_what_the_floor_does(tmp_path):
    means = {"matched/16": 1.0, "matched/32": 0.9}
    material = Material(
        {
            "arm": subject(tmp_path, "arm", means),
            "longer": subject(tmp_path, "longer", {"matched/16": 1.2, "matched/32": 0.8}),
        }
    )
    found = measures.measure(material, claim(measure="utilisation", baseline="longer"))
    assert found.bounds[0] == pytest.approx(0.25, abs=0.02)
    floors = {"matched/16": 0.5, "matched/32": 0.3}
    noise = {
        seed: 0.01 * np.random.default_rng(seed).normal(size=(DOCUMENTS, BLOCK))
        for seed in range(3)
    }
    evaluations = [
        evaluated(
            tmp_path / "runs" / f"exact-{seed}" / "evaluation" / "e",
            {key: mean + noise[seed] for key, mean in means.items()},
            {
                key: np.full((DOCUMENTS, BLOCK), floor) + 0.1 * noise[0] * (key == "matched/16")
                for key, floor in floors.items()
            },
        )
        for seed in range(3)
    ]
    exact = measures.measure(
        Material({"arm": EvaluatedArm("arm", evaluations)}), claim(measure="utilisation")
    )
    assert exact.bounds[0] == pytest.approx(0.5, abs=0.02)


def test_key_tokens_of_a_study_name_every_seed_or_say_why_not(tmp_path):
    study = declaration.read(
        write_mine(
            tmp_path,
            key_tokens={"reference": "a", "length_factor": 4.0, "subjects": ["b"]},
            arms={"a": [], "b": []},
        )
    )
    means = {"matched/16": 5.0, "matched/64": 1.0}
    material = Material({name: subject(tmp_path, name, means, n_seeds=2) for name in "ab"})
    rows = tables.key_tokens(study, material)
    assert [(row["subject"], row["seed"], row["eval_length"]) for row in rows] == [
        ("b", s, n) for s in (0, 1) for n in (16, 64)
    ]
    assert {row["status"] for row in rows} == {"refused"} and rows[0][
        "n_key_tokens"
    ] == DOCUMENTS * BLOCK
    assert "48 key tokens of 48; expected at least 500" in "\n".join(sections.key_tokens(rows))


def test_a_protocol_that_scores_other_amounts_is_compared_by_document(tmp_path):
    folders = [tmp_path / "runs" / f"a-{seed}" / "evaluation" / "e" for seed in range(2)]
    losses = {"last_k/16": np.full((DOCUMENTS, 4), 1.0), "last_k/32": np.full((DOCUMENTS, 2), 1.5)}
    arm = EvaluatedArm("arm", [evaluated(folder, losses) for folder in folders])
    found = measures.measure(Material({"arm": arm}), claim(measure="change", protocol="last_k"))
    assert found.bounds[0] == pytest.approx(0.5) and found.counts == (2, DOCUMENTS)


def test_the_step_compares_the_8_positions_on_each_side_of_the_training_length(tmp_path):
    losses = np.tile(np.where(np.arange(64) < L, 1.0, 3.0), (DOCUMENTS, 1))
    losses[:, L + 8 :] = 100.0  # later ones have no part in it
    losses[:, : L - 8] = -100.0
    folders = [tmp_path / "runs" / f"a-{seed}" / "evaluation" / "e" for seed in range(2)]
    arm = EvaluatedArm("arm", [evaluated(folder, {"position/64": losses}) for folder in folders])
    found = {
        name: measures.measure(
            Material({"arm": arm}), claim(measure=name, length_factor=None)
        ).bounds[0]
        for name in ("step", "last_8", "next_8")
    }
    assert found == pytest.approx({"step": 2.0, "last_8": 1.0, "next_8": 3.0})


def test_what_was_not_evaluated_is_said(tmp_path):
    material = Material({"arm": subject(tmp_path, "arm", {"matched/16": 1.0, "matched/32": 1.0})})
    with pytest.raises(
        DataError, match=r"no losses for matched at 64 \(not evaluated; there are \[16, 32\]\)"
    ):
        measures.measure(material, claim(length_factor=4.0))
    with pytest.raises(ConfigError, match="position protocol was not evaluated"):
        measures.measure(material, claim(measure="step", length_factor=None))
    with pytest.raises(ConfigError, match="give length_factor"):
        measures.measure(material, claim(length_factor=None))
    with pytest.raises(ConfigError, match=r"expected arm\+condition"):
        measures.measure(material, claim(measure="recovered"))


@pytest.mark.parametrize(
    ("predict", "mean", "word"),
    [
        ("above 1", 1.2, "supported"), ("above 1", 0.8, "refuted"), ("above 1", 1.0, "undecided"),
        ("below 0.1", 0.05, "supported"), ("below 0.1", 0.2, "refuted"),
        ("below 0.1", 0.1, "undecided"), ("within 0.02", 0.001, "supported"),
        ("within 0.02", 0.1, "refuted"), ("within 0.02", -0.1, "refuted"),
        ("within 0.02", 0.02, "undecided"),
    ],
)  # fmt: skip
def test_verdict_of_one_claim(predict, mean, word):
    (verdict,) = claims.judge(
        {"c": claim(predict=predict, primary=True)}, {"c": Mean(paired(mean))}
    )
    assert verdict.word == word
    assert claims.of_verdicts([verdict]) == word


def test_primary_claims_share_their_error_rate():
    one = Mean(paired(0.0025))  # below 0.05 alone, above it six times over
    p = 2 * one.above(0.0)
    assert 0.01 < p < 0.05
    alone = claims.judge({"a": claim(primary=True)}, {"a": one})
    six = claims.judge(
        {name: claim(primary=True) for name in "abcdef"}, dict.fromkeys("abcdef", one)
    )
    assert alone[0].word == "supported" and {verdict.word for verdict in six} == {"undecided"}
    assert six[0].p == pytest.approx(6 * p) or six[0].p == 1.0
    exploratory = claims.judge({name: claim() for name in "abcdef"}, dict.fromkeys("abcdef", one))
    assert exploratory[0].p == pytest.approx(
        p
    )  # equal p-values: nothing is adjusted for false discoveries


def test_a_study_is_refuted_by_one_primary_claim_and_not_by_an_exploratory_one():
    yes, no = Mean(paired(1.0)), Mean(paired(-1.0))
    declared = {"a": claim(primary=True), "b": claim(primary=True), "c": claim()}
    assert claims.of_verdicts(claims.judge(declared, {"a": yes, "b": no, "c": yes})) == "refuted"
    assert claims.of_verdicts(claims.judge(declared, {"a": yes, "b": yes, "c": no})) == "supported"
    assert (
        claims.of_verdicts(claims.judge(declared, {"a": yes, "b": Mean(paired(0.0)), "c": no}))
        == "undecided"
    )


def test_shares_and_exact_numbers():
    share = Share(paired(0.6), paired(1.0))
    assert (
        share.bounds[0] == pytest.approx(0.6, abs=0.01) and share.bounds[1] < 0.6 < share.bounds[2]
    )
    assert (
        share.above(0.5) < 1e-6 < 0.5 < share.above(0.7)
        and share.below(0.7) < 1e-6
        and share.within(0.7) < 1e-6
    )
    nothing = Share(paired(-0.6), paired(-0.01))  # no gain to take a share of
    assert (
        np.isnan(nothing.bounds[0])
        and nothing.below(0.5) == nothing.above(0.5) == nothing.within(0.5) == 1.0
    )
    zero = Exact((0.0, 0.0))
    assert (
        zero.within(0.0) == 0.0 and zero.above(0.0) == 1.0 and Exact((0.0, 1e-9)).within(0.0) == 1.0
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Results in the folder that is the --config-dir."""
    root = tmp_path_factory.mktemp("study")
    (root / "mine" / "study").mkdir(parents=True)
    (root / "mine" / "study" / "mine.yaml").write_text(MINE)
    arguments = [
        "study",
        "mine",
        "--config-dir",
        str(root / "mine"),
        "--results",
        str(root / "mine" / "results"),
        "--workers",
        "1",
        f"cache={root / 'cache'}",
    ]
    assert main.main(arguments) == 2  # not registered
    assert main.main([*arguments, "--register"]) == 0
    assert main.main(arguments) == 0
    return root


def test_a_study_from_its_command_to_its_files(made, capsys):
    folder = made / "mine" / "results" / "studies" / "mine"
    claims = {row["name"]: row for row in study_folder.read(folder / "claims.csv")}
    assert claims["gradient"]["verdict"] == "supported" and claims["gradient"]["value"] == 0.0
    values = study_folder.read(folder / "values.csv")
    assert {row["subject"] for row in values} == {"learned", "learned+wrap", "t5_bias"}
    assert {row["eval_length"] for row in values} == {12, 16, 24, 32, 64} and {
        row["n_seeds"] for row in values
    } == {2}
    summary = (folder / "summary.md").read_text()
    assert "Verdict: **supported**, declared before the runs (registration 1 of 20" in summary
    assert "(2 seeds; `lengthgen study mine cache=" in summary and "no gradient" in summary
    assert (folder / "values.svg").stat().st_size > 1000
    differences = study_folder.read(folder / "differences.csv")
    assert {(row["subject"], row["baseline"]) for row in differences} == {("t5_bias", "learned")}
    assert {
        (row["steps"], row["tokens"]) for row in study_folder.read(folder / "training.csv")
    } == {(2, 2 * 2 * 16)}
    assert "| learned | 2 | 64 |" in summary
    # After two steps nothing is learned, and a word about the scheme would flatter it.
    given = study_folder.read(folder / "words.csv")
    assert {row["eval_length"] for row in given} == {24, 32, 64}
    assert {row["word"] for row in given} <= {"untrained", "undecided"}
    assert "## Against learned" in summary and "## Exposure" in summary
    assert "| [mine](mine/summary.md) |" in (folder.parent / "README.md").read_text()
    assert len(list((made / "mine" / "results" / "runs").iterdir())) == 4
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    arguments = [
        "study",
        "mine",
        "--config-dir",
        str(made / "mine"),
        "--results",
        str(made / "mine" / "results"),
        "--workers",
        "1",
    ]
    assert main.main([*arguments, f"cache={made / 'cache'}"]) == 0
    assert capsys.readouterr().out.count("nothing to do") == 4
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_exposure_of_a_table_is_counted_over_a_whole_training(made):
    rows = study_folder.read(made / "mine" / "results" / "studies" / "mine" / "exposure.csv")
    found = {row["subject"]: row for row in rows}
    windows, length, longest = 2 * 2, 16, 64  # of training; L; evaluated
    learned = found["learned"]
    assert (learned["by"], learned["entries"], learned["unread_entries"]) == ("position", 16, 0)
    # The code of position t is in the context of the L - t losses from there on.
    assert (learned["most"], learned["most_first"]) == (length * windows, 0)
    assert (learned["fewest"], learned["fewest_last"]) == (windows, length - 1)
    assert (learned["beyond_first"], learned["beyond_last"]) == (length, longest - 1)
    bias = found["t5_bias"]
    # Trained at 16: a bucket each for 0, 1 and 2, and one for all from 3 on, which have 91 pairs.
    assert (bias["by"], bias["most_first"], bias["most_last"]) == ("offset", 3, length - 1)
    assert (bias["most"], bias["fewest"]) == (91 * windows, (length - 2) * windows)
    assert bias["beyond_first"] != bias["beyond_first"]  # NaN: every offset reads a trained bucket


def test_lists_and_figures_come_from_the_files(made, capsys):
    assert (
        main.main(
            [
                "list",
                "studies",
                "--config-dir",
                str(made / "mine"),
                "--results",
                str(made / "mine" / "results"),
            ]
        )
        == 0
    )
    listed = capsys.readouterr().out
    assert (
        all(name in listed for name in (*NAMES, "mine"))
        and "supported" in listed
        and "not run" in listed
    )
    assert [path.name for path in report.write_all(made / "mine" / "results")][-2:] == [
        "verdicts.csv",
        "README.md",
    ]
    assert report.write_all(made / "nothing") == []


def test_a_failing_run_is_named_and_the_others_are_kept(made, capsys):
    text = MINE.replace("learned: [scheme=learned]", "learned: [scheme=learned, steps=-1]")
    (made / "mine" / "study" / "wrong.yaml").write_text(text)
    arguments = [
        "study",
        "wrong",
        "--config-dir",
        str(made / "mine"),
        "--results",
        str(made / "mine" / "results"),
        "--workers",
        "1",
        "--unregistered",
    ]
    assert main.main([*arguments, f"cache={made / 'cache'}"]) == 2
    out, err = capsys.readouterr()
    assert "arm learned, seed 0: steps=-1" in err and "2 of 4 jobs failed" in err
    assert out.count("t5_bias seed") == 2
    (made / "mine" / "study" / "wrong.yaml").unlink()


def test_a_signal_stops_the_study_and_not_one_of_its_runs(monkeypatch):
    ran = []

    def stopped(job, config_dir):
        ran.append(job.seed)
        raise Interrupted("stopped at step 3 of 6", signal.SIGTERM)

    monkeypatch.setattr(running, "_train_and_evaluate", stopped)
    jobs = [running.Job("arm", seed, (), (), Path("x"), ()) for seed in range(3)]
    with pytest.raises(running.StudyError, match="stopped at step 3 of 6") as error:
        running.run(jobs, 1, None, lambda result, n_ended: None)
    assert ran == [0] and error.value.exit_code == 143


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found through /proc")
def test_the_workers_of_a_killed_study_save_what_they_train_and_end(made, tmp_path):
    text = MINE.replace("steps=2", "steps=1000000").replace("{seeds: 2}", "{seeds: 1}")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "endless.yaml").write_text(
        text.replace("base:", "base:\n  - [log_every=1, checkpoint_every=1000000]")
    )
    command = [
        sys.executable,
        "-m",
        "lengthgen",
        "study",
        "endless",
        "--config-dir",
        str(tmp_path),
        "--results",
        str(tmp_path / "results"),
        "--unregistered",
    ]
    study = subprocess.Popen(
        [*command, "--workers", "2", f"cache={made / 'cache'}"], stdout=subprocess.DEVNULL
    )

    def until(said: str, happened) -> None:
        end = time.monotonic() + 120
        while not happened():
            assert time.monotonic() < end, said
            time.sleep(0.1)

    try:
        until(
            "both train",
            lambda: (
                len(
                    [
                        path
                        for path in tmp_path.glob("results/runs/*/metrics.jsonl")
                        if path.stat().st_size
                    ]
                )
                == 2
            ),
        )
        children = Path(f"/proc/{study.pid}/task/{study.pid}/children").read_text().split()
    finally:
        study.kill()
        study.wait()
    assert len(children) >= 2
    until("every worker ends", lambda: not any(_runs(child) for child in children))
    assert len(list(tmp_path.glob("results/runs/*/checkpoints/step-*/manifest.json"))) == 2


def _runs(process: str) -> bool:
    """Whether it is there and no zombie that nobody waits for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_wrong_requests(capsys):
    assert main.main(["study", "nothing"]) == 2 and "study=nothing" in capsys.readouterr().err
    assert main.main(["study"]) == 2 and NAMES[0] in capsys.readouterr().err
    assert (
        main.main(["study", NAMES[0], "--scale", "huge"]) == 2
        and "small, full" in capsys.readouterr().err
    )
    assert (
        main.main(["study", NAMES[0], "results=x"]) == 2 and "--results" in capsys.readouterr().err
    )


def test_one_arm_may_have_more_seeds(tmp_path):
    study = declaration.read(
        write_mine(
            tmp_path, arms={"a": [], "b": []}, scales={"s": {"seeds": 2, "arm_seeds": {"b": 3}}}
        )
    )
    found = [
        (job.arm, job.seed) for job in running.jobs(study, study.scale(None)[1], Path("x"), [])
    ]
    assert found == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 2)]
    with pytest.raises(ConfigError, match=r"scales.s.*nobody"):
        declaration.read(
            write_mine(tmp_path, scales={"s": {"seeds": 2, "arm_seeds": {"nobody": 3}}})
        )
