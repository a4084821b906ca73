"""Whole runs on a small text: done once, resumed, evaluated again, refused with one line."""

import contextlib
import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import ANY

import pandas as pd
import pytest
import torch

from lengthgen import files
from lengthgen.attention.kernels import onednn
from lengthgen.errors import CheckpointError, ConfigError, DataError, Interrupted, LockedError
from lengthgen.evaluation import records
from lengthgen.reporting import publish
from lengthgen.runs import evaluating, retrofitting, run, stored, windows
from lengthgen.runs import folder as runfolder
from lengthgen.training import checkpoint
from lengthgen.training import loop as training

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def draw():
    """Draws figures, for the test of them: they take longer than the rest of so small a run."""
    real = publish.write_run_figures
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "write_run_figures", lambda *given: [])
        yield real


def weights(outcome):
    return files.read_json(outcome.folder / "done.json")["weights_sha256"]


def test_a_run_leaves_everything_that_it_promises(ask, draw, monkeypatch):
    monkeypatch.setattr(publish, "write_run_figures", draw)
    outcome = run.train(ask(), [])
    assert outcome.status == "trained" and outcome.folder.name == outcome.run_id
    assert outcome.run_id.startswith("t5_bias-") and "-L16-s0-" in outcome.run_id
    found = {path.name for path in outcome.folder.iterdir()}
    assert {
        "config.yaml",
        "provenance.json",
        "metrics.jsonl",
        "checkpoints",
        "evaluation",
        "figures",
        "log.txt",
        "done.json",
    } <= found
    rows = files.read_jsonl(outcome.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 3, 4, 6]
    assert (
        rows[-1]["train/loss"] < 6
        and rows[1]["validation/loss"] > 0
        and rows[0]["train/tokens_per_second"] > 0
    )
    assert {path.suffix for path in (outcome.folder / "figures").iterdir()} == {".png", ".svg"}
    facts = files.read_json(outcome.folder / "provenance.json")
    assert (
        facts["parameters"]["positional"] == 2 * 4  # heads x buckets at 16 tokens
        and facts["scheme"]["year"] == 2020
        and facts["data"]["fingerprint"]
    )
    [lengths] = outcome.folder.glob("evaluation/*/lengths.csv")
    text = lengths.read_text()
    # matched, non-overlapping, and shuffled at one length
    assert text.count("\n") == 1 + 7 * (6 + 5) + 5 and ",ok," in text


def test_the_same_command_again_does_nothing(ask, caplog):
    first = run.train(ask(), [])
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*") if path.is_file()}
    with caplog.at_level("INFO"):
        again = run.train(ask(), [])
    assert again.status == "nothing to do" and again.run_id == first.run_id
    assert {
        path: path.stat().st_mtime_ns for path in first.folder.rglob("*") if path.is_file()
    } == before
    assert "nothing to do" in caplog.text


def test_changed_evaluation_settings_use_the_trained_weights(ask, monkeypatch):
    first = run.train(ask(), [])
    before = weights(first)
    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained again"))
    again = run.train(ask(evaluation__lengths=[16, 40]), [])
    assert again.status == "evaluated" and again.run_id == first.run_id and weights(again) == before
    assert len(list(first.folder.glob("evaluation/*/lengths.csv"))) == 2


def test_what_is_scored_is_the_validation_split(ask, monkeypatch):
    scored, plain = [], evaluating.score
    monkeypatch.setattr(
        evaluating,
        "score",
        lambda model, store, *given, **how: (
            scored.append(store) or plain(model, store, *given, **how)
        ),
    )
    run.train(ask(), [])
    splits = run.prepare(run.train_config.check(ask(), [])).splits
    assert (
        [store.fingerprint for store in scored]
        == [splits.validation.fingerprint]
        != [splits.train.fingerprint]
    )


def test_evaluate_by_id_part_of_it_or_path(ask, tmp_path):
    first = run.train(ask(), [])
    wanted = ask(evaluation__lengths=[16, 24])
    for name in (first.run_id, first.run_id[-8:], str(first.folder)):
        outcome = run.evaluate({**wanted, "run": name}, [])
        assert outcome.run_id == first.run_id
    assert outcome.status == "nothing to do"
    with pytest.raises(ConfigError, match="no such run"):
        run.evaluate({**wanted, "run": "missing"}, [])
    run.train(ask(seed=1), [])
    with pytest.raises(ConfigError, match="matches 2 runs"):
        run.evaluate({**wanted, "run": "t5_bias"}, [])


def test_evaluating_on_other_data_is_refused(ask, text, tmp_path):
    own = tmp_path / "text"
    own.mkdir()
    for path in text.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    first = run.train(ask(dataset__path=str(own)), [])
    with (own / "d00.txt").open("a") as file:
        file.write("!")
    with pytest.raises(DataError, match="cannot be evaluated as it was trained"):
        run.evaluate({**ask(evaluation__lengths=[16, 24]), "run": first.run_id}, [])


def test_interrupted_and_asked_again_gives_the_same_weights_and_metrics(ask, tmp_path, monkeypatch):
    whole = run.train(ask(results=str(tmp_path / "whole")), [])
    plain = training.train

    def interrupted(state, batch_at, **options):
        def batch(step):
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return batch_at(step)

        plain(state, batch, **options)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(training, "train", interrupted)
    with pytest.raises(Interrupted, match="stopped at step 3 of 6") as stop:
        run.train(ask(), [])
    assert stop.value.exit_code == 143 and signal.getsignal(signal.SIGTERM) == before
    monkeypatch.undo()
    resumed = run.train(ask(), [])
    assert resumed.run_id == whole.run_id and weights(resumed) == weights(whole)
    [a], [b] = (list(o.folder.glob("evaluation/*/losses.npz")) for o in (whole, resumed))
    assert a.read_bytes() == b.read_bytes()
    steps = [row["step"] for row in files.read_jsonl(resumed.folder / "metrics.jsonl")]
    assert steps == sorted(set(steps)) == [2, 3, 4, 6]


def interrupted(*given, **how):
    raise KeyboardInterrupt


def test_killed_between_training_and_evaluation_trains_no_step_again(ask, monkeypatch):
    monkeypatch.setattr(
        evaluating, "score", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        run.train(ask(), [])
    monkeypatch.undo()
    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained again"))
    assert run.train(ask(), []).status == "evaluated"


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(ask, tmp_path, monkeypatch):
    whole = run.train(ask(results=str(tmp_path / "whole")), [])
    monkeypatch.setattr(
        evaluating, "score", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        run.train(ask(), [])
    monkeypatch.undo()
    [newest] = (tmp_path / "results").glob("runs/*/checkpoints/step-000006/state.pt")
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert weights(run.train(ask(), [])) == weights(whole)


def test_weights_lost_after_the_end_are_reported_not_silently_retrained(ask):
    first = run.train(ask(), [])
    for path in first.folder.glob("checkpoints/*/state.pt"):
        os.truncate(path, 10)
    with pytest.raises(CheckpointError, match="gone or damaged"):
        run.train(ask(evaluation__lengths=[16, 24]), [])


def test_weights_kept_on_the_way_are_evaluated_beside_the_last(ask):
    kept = run.train(ask(evaluate_at_steps=[2, 4], keep_at_steps=[5]), [])
    rows = pd.concat(
        pd.read_csv(path) for path in sorted(kept.folder.glob("evaluation/*/lengths.csv"))
    )
    at_length = rows[(rows["metric"] == "loss") & (rows["protocol"] == "matched")]
    losses = at_length[at_length["eval_length"] == 16].set_index("steps")["value"]
    assert sorted(losses.index) == [2, 4, 6] and losses.nunique() == 3
    assert at_length["evaluation"].nunique() == 1
    # The same run as without them.
    assert run.train(ask(), []).status == "nothing to do"
    by_hand = run.evaluate(
        ask(run=kept.run_id, at_step=2, evaluation__documents=3), [], figures=False
    )
    assert by_hand.status == "evaluated"
    with pytest.raises(CheckpointError, match=r"kept no weights of step 3 \(it has \[2, 4, 5\]\)"):
        run.evaluate(ask(run=kept.run_id, at_step=3), [])


def test_a_finished_run_without_the_weights_of_a_step_says_what_to_do(ask):
    run.train(ask(), [])
    with pytest.raises(CheckpointError, match="train again with keep_at_steps"):
        run.train(ask(evaluate_at_steps=[2]), [])


def test_a_finished_run_says_which_weights_it_did_not_keep(ask, caplog):
    run.train(ask(keep_at_steps=[2]), [])
    assert "keep_at_steps" not in caplog.text
    again = run.train(ask(keep_at_steps=[2, 4, 5]), [])
    assert again.status == "nothing to do"
    assert f"keep_at_steps=[4,5]: the run was trained without keeping these; to have them, " \
        f"delete {again.folder}" in caplog.text  # fmt: skip
    caplog.clear()
    assert run.train(ask(keep_at_steps=[2], evaluation__lengths=[16]), []).status == "evaluated"
    assert "keep_at_steps" not in caplog.text


def test_a_training_ends_by_its_rule_and_resumes_to_the_same_end(ask, tmp_path, monkeypatch):
    options = {
        "steps": 100, "settle": 100.0, "optim__schedule": "stable", "checkpoint_every": 10,
        "validate_every": 50, "optim__warmup": 0.2,
    }  # fmt: skip
    monkeypatch.setattr("lengthgen.runs.fit.PLATEAU", -100.0)
    whole = run.train(ask(**options, results=str(tmp_path / "whole")), [])
    about = files.read_json(whole.folder / "done.json")["training"]
    # Checks after 20, 40 and 80 steps; any doubling gains less than 100 nats.
    assert about["settled"] is True and about["steps"] == 50
    plain = training.train

    def interrupted(state, batch_at, **options):
        def batch(step):
            if step == 43:
                os.kill(os.getpid(), signal.SIGTERM)
            return batch_at(step)

        plain(state, batch, **options)

    monkeypatch.setattr(training, "train", interrupted)
    with pytest.raises(Interrupted, match="stopped at step 44"):
        run.train(ask(**options), [])
    monkeypatch.setattr(training, "train", plain)
    resumed = run.train(ask(**options), [])
    assert weights(resumed) == weights(whole)
    assert files.read_json(resumed.folder / "done.json")["training"] == about


def test_a_rule_for_the_end_needs_a_rate_that_does_not_know_it(ask):
    with pytest.raises(ConfigError, match=r"settle=0\.1 with optim\.schedule=cosine: expected"):
        run.train(ask(settle=0.1), [])


def test_two_processes_on_one_run(ask):
    prepared = run.prepare(run.train_config.check(ask(), []))
    with prepared.folder.locked(), pytest.raises(LockedError, match="another process"):
        run.train(ask(), [])


def test_two_runs_in_one_process_equal_two_processes(ask, tmp_path):
    run.train(ask(scheme="rope", results=str(tmp_path / "a")), [])
    torch.manual_seed(123)
    second = run.train(ask(results=str(tmp_path / "a")), [])
    alone = run.train(ask(results=str(tmp_path / "b")), [])
    assert weights(second) == weights(alone)


@pytest.mark.parametrize("scheme", ["learned", "normalised_sinusoid", "fire", "per_offset"])
def test_schemes_of_every_kind_run_from_end_to_end(ask, scheme):
    options = {"scheme__tail": "refuse"} if scheme == "learned" else {}
    outcome = run.train(ask(scheme=scheme, **options), [])
    [lengths] = outcome.folder.glob("evaluation/*/lengths.csv")
    assert (",refused," in lengths.read_text()) == (scheme == "learned")


def test_an_own_scheme_is_trained_copied_and_evaluated_without_its_folder(ask, tmp_path):
    own = tmp_path / "mine" / "scheme"
    own.mkdir(parents=True)
    code = (
        (REPOSITORY / "lengthgen" / "schemes" / "alibi.py")
        .read_text()
        .replace("class ALiBi", "class Mine")
    )
    (own / "mine.py").write_text(code)
    wanted = ask()
    wanted["scheme"] = {"name": "mine"}
    outcome = run.train(wanted, [own.parent])
    (own / "mine.py").unlink()
    again = {**ask(evaluation__lengths=[16, 24]), "run": outcome.run_id, "trust_code": True}
    assert run.evaluate(again, []).status == "evaluated"


def test_an_own_modifier_is_trained_copied_and_evaluated_without_its_folder(ask, tmp_path):
    own = tmp_path / "mine" / "modifier"
    own.mkdir(parents=True)
    (own / "mine.py").write_text(
        (REPOSITORY / "lengthgen" / "modifiers" / "ssmax.py")
        .read_text()
        .replace("class SSMax", "class Mine")
    )
    outcome = run.train(ask(modifiers={"mine": {}}), [own.parent])
    (own / "mine.py").unlink()
    assert outcome.run_id.startswith("t5_bias+mine-")
    again = {**ask(evaluation__lengths=[16, 24]), "run": outcome.run_id, "trust_code": True}
    assert run.evaluate(again, []).status == "evaluated"


def schemes_of(outcome):
    """scheme -> {evaluation column} over the rows of all evaluations of a run."""
    found = {}
    for path in outcome.folder.glob("evaluation/*/lengths.csv"):
        for row in csv.DictReader(path.open()):
            found.setdefault(row["scheme"], set()).add(row["evaluation"])
    return found


def test_modifiers_are_trained_with_and_stand_in_the_rows(ask):
    outcome = run.train(
        ask(scheme="rope", modifiers={"ssmax": {"bias": True}, "window": {"window": 6}}), []
    )
    assert outcome.run_id.startswith("rope+window+ssmax-")
    assert set(schemes_of(outcome)) == {"rope+window(window=6)+ssmax(bias=True)"}
    facts = files.read_json(outcome.folder / "provenance.json")
    assert facts["parameters"]["positional"] == 2 * 2 and facts["kernels"] == ["cpu"]
    plain = run.train(ask(scheme="rope"), [])
    assert plain.run_id.startswith("rope-") and weights(plain) != weights(outcome)
    assert files.read_json(plain.folder / "provenance.json")["kernels"] == ["cpu"]


def test_the_kernel_is_chosen_by_its_key_and_is_no_part_of_the_identity(ask, tmp_path):
    fast, dense = (
        run.train(ask(kernel=kernel, results=str(tmp_path / kernel)), [])
        for kernel in ("auto", "reference")
    )
    assert fast.run_id == dense.run_id
    assert files.read_json(dense.folder / "provenance.json")["kernels"] == ["reference"]
    with pytest.raises(ConfigError, match="'flex' cannot be used here"):
        run.train(ask(kernel="flex", results=str(tmp_path / "flex")), [])
    assert not list((tmp_path / "flex").glob("runs/*/config.yaml"))


def test_what_multiplies_is_recorded_and_no_part_of_the_identity(ask, tmp_path):
    ours, torchs = (
        run.train(ask(linear=name, results=str(tmp_path / name)), []) for name in ("auto", "torch")
    )
    assert ours.run_id == torchs.run_id
    assert files.read_json(ours.folder / "provenance.json")["linear"] == (
        "onednn" if onednn.faster() else "torch"
    )
    assert files.read_json(torchs.folder / "provenance.json")["linear"] == "torch"


def test_an_interrupted_run_drops_its_positions_where_it_would_have(ask, tmp_path, monkeypatch):
    """DroPE after half of the steps, stopped before it: the weights of an uninterrupted run."""
    wanted = {"scheme": "rope", "modifiers": {"drope": {"fraction": 0.5}}}
    whole = run.train(ask(results=str(tmp_path / "whole"), **wanted), [])
    plain = training.train

    def interrupted(state, batch_at, **options):
        def batch(step):
            if step == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return batch_at(step)

        plain(state, batch, **options)

    with monkeypatch.context() as during, pytest.raises(Interrupted):
        during.setattr(training, "train", interrupted)
        run.train(ask(**wanted), [])
    resumed = run.train(ask(**wanted), [])
    assert weights(resumed) == weights(whole) != weights(run.train(ask(scheme="rope"), []))
    [a], [b] = (
        list(outcome.folder.glob("evaluation/*/losses.npz")) for outcome in (whole, resumed)
    )
    assert a.read_bytes() == b.read_bytes()


def test_a_retrofit_stands_beside_the_run_as_it_was_trained(ask):
    trained = run.train(ask(scheme="rope"), [])
    before = {path: path.read_bytes() for path in trained.folder.glob("evaluation/*/*")}
    wanted = {
        **ask(scheme="rope"),
        "run": trained.run_id,
        "retrofit": {"name": "hard_window", "window": 8},
    }
    done = weights(trained)
    outcome = run.evaluate(wanted, [])
    assert (outcome.status, outcome.run_id) == ("evaluated", trained.run_id) and weights(
        trained
    ) == done
    assert all(path.read_bytes() == content for path, content in before.items())
    found = schemes_of(trained)
    assert (
        set(found) == {"rope", "rope+hard_window(window=8)"}
        and found["rope"] == found["rope+hard_window(window=8)"]
    )
    assert run.evaluate(wanted, []).status == "nothing to do"
    assert (
        run.evaluate({**wanted, "retrofit": {"name": "hard_window", "window": 9}}, []).status
        == "evaluated"
    )
    assert run.evaluate({**wanted, "retrofit": {}}, []).status == "nothing to do"
    said = [
        files.read_json(path)["origin"].get("retrofit")
        for path in trained.folder.glob("evaluation/*/settings.json")
    ]
    assert sorted((one["name"], one["window"]) for one in said if one) == [
        ("hard_window", 8),
        ("hard_window", 9),
    ]
    assert "\nretrofit" not in (trained.folder / "config.yaml").read_text()


def test_a_retrofit_is_a_line_of_its_own_in_tables_and_figures(ask, tmp_path, draw, monkeypatch):
    from lengthgen.reporting import tables

    monkeypatch.setattr(publish, "write_run_figures", draw)

    wanted = ask(scheme="alibi", evaluation__protocols=["matched"])
    trained = run.train(wanted, [])
    for retrofit in (
        {"name": "alibi_interpolation", "factor": 4.0},
        {"name": "alibi_interpolation"},
    ):
        run.evaluate({**wanted, "run": trained.run_id, "retrofit": retrofit}, [])
    found = tables.collect(tmp_path / "results")
    summary = tables.summarise(found.documents, found.lengths)
    lines = summary[summary["protocol"] == "matched"].groupby("scheme")["loss"].apply(list)
    assert list(lines.index) == [
        "alibi",
        "alibi+alibi_interpolation",
        "alibi+alibi_interpolation(factor=4)",
    ]
    plain, changed = (
        lines["alibi"],
        lines["alibi+alibi_interpolation"],
    )  # which does nothing up to the training length
    assert plain[:2] == pytest.approx(changed[:2], rel=1e-6) and plain[-1] != pytest.approx(
        changed[-1], rel=1e-6
    )
    assert summary[list(tables.GROUP)].drop_duplicates().shape[0] == 1
    assert (
        len(
            [
                path
                for path in publish.write_figures(tmp_path / "results")
                if "loss_by_length." in path.name
            ]
        )
        == 2
    )  # one, PNG and SVG
    drawn = [path.name for path in (trained.folder / "figures").glob("*loss_by_length.svg")]
    assert drawn == [f"{summary['evaluation'].iloc[0]}-loss_by_length.svg"]
    assert "alibi_interpolation(factor=4)" in (trained.folder / "figures" / drawn[0]).read_text()


def test_a_retrofit_that_does_not_fit_is_one_line_and_leaves_nothing(ask):
    trained = run.train(ask(), [])
    before = sorted(trained.folder.rglob("*"))
    for name, line in (
        ("learned_rows", "the run has none; the run is t5_bias"),
        ("alibi_interpolation", "trained without any; the run is t5_bias"),
    ):
        with pytest.raises(ConfigError) as refused:
            run.evaluate({**ask(), "run": trained.run_id, "retrofit": {"name": name}}, [])
        assert (
            line in str(refused.value)
            and refused.value.exit_code == 2
            and "\n" not in str(refused.value)
        )
    assert sorted(trained.folder.rglob("*")) == before


SEARCHING = '''
"""A retrofit that searches."""
from dataclasses import dataclass
from lengthgen.config.plugins import About
from lengthgen.retrofits.base import Retrofit

@dataclass
class Config:
    length: int = 48  # of the windows of the search

class Search(Retrofit):
    """Divides the scores by what the training text likes best."""
    Config = Config
    about = About("none", 2026, "any scheme")

    def __init__(self, config, inner):
        super().__init__(config, inner)
        self.divisor, self.losses = 1.0, {}

    @property
    def score_scale(self):
        return self.inner.score_scale / self.divisor

    def calibrate(self, loss_of):
        for self.divisor in (1.0, 2.0, 1.0):
            self.losses.setdefault(self.divisor, []).append(loss_of(self.config.length))
        self.divisor = min(self.losses, key=self.losses.get)

    @property
    def search_result(self):
        return {"divisor": self.divisor, "losses": self.losses}
'''


def test_a_retrofit_may_search_on_training_text(ask, tmp_path):
    """Losses of the same windows at every call, of the retrofit as it is; its result is kept."""
    (tmp_path / "mine" / "retrofit").mkdir(parents=True)
    (tmp_path / "mine" / "retrofit" / "search.py").write_text(SEARCHING)
    trained = run.train(ask(scheme="alibi"), [])
    run.evaluate(
        {**ask(scheme="alibi"), "run": trained.run_id, "retrofit": {"name": "search"}},
        [tmp_path / "mine"],
    )
    [said] = [
        one
        for path in trained.folder.glob("evaluation/*/settings.json")
        if (one := files.read_json(path)["origin"].get("retrofit"))
    ]
    [first, again], [other] = (said["found"]["losses"][divisor] for divisor in ("1.0", "2.0"))
    assert first == again != other and 1 < first < 7
    assert said["code"] and said["found"]["divisor"] in (1.0, 2.0)
    shutil.rmtree(tmp_path / "mine")
    [evaluation] = [
        path.parent
        for path in trained.folder.glob("evaluation/*/settings.json")
        if '"search"' in path.read_text()
    ]
    assert stored.evaluated_model(evaluation, trust_code=True)[0].scheme.search_result == {
        "divisor": said["found"]["divisor"],
        "losses": dict.fromkeys((1.0, 2.0), ANY),
    }


def test_a_retrofit_does_not_search_on_questions_without_their_answers(monkeypatch):
    monkeypatch.setattr(
        retrofitting.batches, "crops", lambda *a, **k: pytest.fail("windows were cut")
    )
    asked = SimpleNamespace(
        splits=SimpleNamespace(answers=lambda symbols: symbols > 0, label="copy")
    )
    with pytest.raises(
        ConfigError,
        match="retrofit longrope searches on windows of training text, "
        "and copy is questions with answers",
    ):
        retrofitting._loss(asked, SimpleNamespace(label="longrope"), None, 48)


@pytest.mark.parametrize("answers", [None, lambda symbols: symbols > 1])
def test_data_of_whole_documents_are_validated_whole(answers, monkeypatch):
    tokens = torch.arange(12).reshape(3, 4) % 3
    asked = SimpleNamespace(
        splits=SimpleNamespace(whole_documents=True, answers=answers, validation=None),
        device=torch.device("cpu"), autocast=contextlib.nullcontext,
        config=SimpleNamespace(settings=SimpleNamespace(train_length=4)),
    )  # fmt: skip
    monkeypatch.setattr(windows.batches, "crops", lambda *a, **k: pytest.fail("windows were cut"))
    monkeypatch.setattr(
        windows.batches,
        "whole",
        lambda store, length, count: (
            (tokens, tokens) if length == 4 else pytest.fail("other length")
        ),
    )
    model = SimpleNamespace(
        eval=lambda: None,
        train=lambda: None,
        losses=lambda x, y: torch.where(y < 0, 0.0, y.float()),
    )
    of_all, of_answers = float(tokens.float().mean()), 2.0
    assert windows.validation_loss(asked, model) == pytest.approx(
        of_all if answers is None else of_answers
    )


def test_text_that_is_too_short_is_refused_before_training(ask, monkeypatch):
    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(DataError, match="4000"):
        run.train(ask(evaluation__lengths=[4000]), [])


def test_cuda_without_a_gpu_is_one_line(ask):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="device=cuda"):
        run.train(ask(device="cuda"), [])


KILLED = """
import json, os, signal, sys, torch
from lengthgen.runs import run
save, saved = torch.save, []

def save_or_die(state, path):
    save(state, path)
    saved.append(path)
    if len(saved) == 4:  # in the middle of the fourth checkpoint
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = save_or_die
run.train(json.loads(sys.argv[1]), [])
"""


def test_kill_9_in_mid_run_and_the_same_command_again(ask, tmp_path):
    """A real SIGKILL while a checkpoint is written; then the weights of an uninterrupted run."""
    short = {"checkpoint_every": 1, "evaluation__factors": [1.0]}
    wanted = ask(**short)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(wanted)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    assert killed.returncode == -signal.SIGKILL
    [folder] = (tmp_path / "results" / "runs").iterdir()
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert "step-000003" in names and any(name.startswith(".step-000004.") for name in names)
    assert "step-000004" not in names and not (folder / "done.json").exists()
    resumed, whole = (
        run.train(wanted, []),
        run.train(ask(results=str(tmp_path / "whole"), **short), []),
    )
    assert resumed.folder == folder and weights(resumed) == weights(whole)
    models = [
        checkpoint.load_newest(outcome.folder / "checkpoints")["model"]
        for outcome in (resumed, whole)
    ]
    assert all(
        torch.equal(a, b) for a, b in zip(*(model.values() for model in models), strict=True)
    )


def test_leftovers_of_a_killed_writer_are_no_results_and_are_removed(ask):
    """A kill between the tables of an evaluation and its rename, as the next process finds it."""
    outcome = run.train(ask(), [])
    left = outcome.evaluation.with_name(f".{outcome.evaluation.name}.1.ab.tmp")
    shutil.copytree(outcome.evaluation, left)
    (outcome.folder / ".done.json.1.ab.tmp").write_text("{")
    there = records.run(outcome.folder)
    assert there.evaluations == [outcome.evaluation]
    with runfolder.RunFolder(outcome.folder).locked():
        assert not left.exists() and not (outcome.folder / ".done.json.1.ab.tmp").exists()
    assert there.evaluations == [outcome.evaluation] and (outcome.folder / "done.json").exists()


def test_find_prefers_the_whole_id(tmp_path):
    for name in ("a-1", "a-10"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").write_text("{}")
    assert runfolder.find(tmp_path, "a-1").path.name == "a-1"


@pytest.mark.parametrize("name", ["", " "])
def test_no_name_finds_no_run(tmp_path, name):
    (tmp_path / "runs" / "a-1").mkdir(parents=True)
    (tmp_path / "runs" / "a-1" / "config.yaml").write_text("{}")
    with pytest.raises(ConfigError, match="names no run"):
        runfolder.find(tmp_path, name)


def test_a_checkpoint_of_another_run_is_not_gone_on_from(ask, tmp_path, caplog):
    whole = run.train(ask(), [])
    other = run.train(ask(seed=1, keep_checkpoints=9), [])
    again = ask(results=str(tmp_path / "again"))
    folder = tmp_path / "again" / "runs" / whole.run_id / "checkpoints"
    shutil.copytree(other.folder / "checkpoints" / "step-000004", folder / "step-000004")
    outcome = run.train(again, [])
    assert f"it is of run {other.run_id}" in caplog.text
    assert weights(outcome) == weights(whole)


def test_weights_that_a_finished_run_did_not_end_with_are_refused(ask):
    outcome, other = run.train(ask(), []), run.train(ask(seed=1), [])
    final = outcome.folder / "checkpoints" / "step-000006"
    manifest = json.loads((final / "manifest.json").read_text())
    shutil.copy(other.folder / "checkpoints" / "step-000006" / "state.pt", final / "state.pt")
    # Its sums are right: somebody wanted it, or an earlier version, which named no run, wrote it.
    sums = (other.folder / "checkpoints" / "step-000006" / "manifest.json").read_text()
    (final / "manifest.json").write_text(json.dumps({**json.loads(sums), "run": manifest["run"]}))
    line = rf"^run {outcome.run_id} ended with the weights \w+, its checkpoint has \w+; delete"
    with pytest.raises(CheckpointError, match=line):
        run.train(ask(evaluation__documents=3), [])
    with pytest.raises(CheckpointError, match=line):
        stored.trained_model(runfolder.RunFolder(outcome.folder))


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\0" * 200])
def test_a_damaged_done_json_is_no_done_json(ask, content):
    outcome = run.train(ask(), [])
    done = outcome.folder / "done.json"
    before = done.read_text()
    done.write_text(content)
    assert run.train(ask(), []).status == "evaluated"  # nothing was left but to say so
    assert done.read_text() == before


def crafted(name):
    """What somebody may have put into a checkpoint of this run, with the right sums."""

    def change(state):
        model = state["model"]
        first = next(iter(model))
        if name == "another shape":
            model[first] = torch.zeros(3, 3)
        elif name == "a missing weight":
            del model[first]
        elif name == "one too many":
            model["other"] = torch.zeros(3)
        elif name == "huge":
            model[first] = torch.zeros(1).expand(10**12)
        elif name == "no scheduler":
            del state["scheduler"]
        elif name == "optimizer in words":
            state["optimizer"] = "adam"
        elif name == "groups of another":
            state["optimizer"]["param_groups"] = []
        elif name == "ending without losses":
            state["ending"] = {}
        elif name == "skips in words":
            state["skips"] = {"what": 1}
        return state

    return change


@pytest.mark.parametrize(
    "name",
    [
        "another shape", "a missing weight", "one too many", "huge", "no scheduler",
        "optimizer in words", "groups of another", "ending without losses", "skips in words",
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_one_line(ask, tmp_path, monkeypatch, name):
    with monkeypatch.context() as patch:
        patch.setattr(training, "forward_backward", stop_at_third(training.forward_backward))
        with pytest.raises(Interrupted):
            run.train(ask(), [])
    [folder] = (tmp_path / "results" / "runs").iterdir()
    state = crafted(name)(checkpoint.load_newest(folder / "checkpoints"))
    checkpoint.save(folder / "checkpoints", 3, state, 2, folder.name)
    line = r"^the checkpoint of step 3 does not fit this run \([^\n]*\); delete it, then rerun"
    with pytest.raises(CheckpointError, match=line) as caught:
        run.train(ask(), [])
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)


def stop_at_third(plain):
    calls = []

    def called(*given):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*given)

    return called


@pytest.mark.parametrize("name", ["another shape", "a missing weight", "one too many"])
def test_weights_that_do_not_fit_a_finished_run_are_one_line(ask, name):
    outcome = run.train(ask(), [])
    state = crafted(name)(checkpoint.load_newest(outcome.folder / "checkpoints"))
    checkpoint.save(outcome.folder / "checkpoints", 6, state, 2, outcome.run_id)
    with pytest.raises(CheckpointError, match="does not fit this run"):
        run.train(ask(evaluation__documents=3), [])
    with pytest.raises(CheckpointError, match="does not fit this run"):
        stored.trained_model(runfolder.RunFolder(outcome.folder))


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "a: b", "\0\0", "scheme: 3", "x: &a [*a]", "a: 1\na: 2", "\xff"]
)
def test_a_damaged_config_of_a_run_is_one_line(ask, content):
    outcome = run.train(ask(evaluation__factors=[1.0]), [])
    (outcome.folder / "config.yaml").write_bytes(content.encode("latin-1"))
    wanted = ask(run=outcome.run_id, evaluation__documents=3)
    with pytest.raises(CheckpointError, match=r"config\.yaml is damaged; rerun"):
        run.evaluate(wanted, [])
    # Of a version that sealed nothing:
    about = files.read_json(outcome.folder / "done.json")
    old = {key: about[key] for key in ("weights_sha256", "training", "evaluations")}
    files.write_json(outcome.folder / "done.json", old)
    with pytest.raises(ConfigError) as caught:
        run.evaluate(wanted, [])
    assert "\n" not in str(caught.value)


def test_a_disk_that_is_full_when_the_log_closes_is_no_traceback(ask, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("logging.FileHandler.close", full)
    assert run.train(ask(steps=1), [], figures=False).status == "trained"


def test_a_full_disk_under_the_log_is_no_traceback(ask, monkeypatch, capsys):
    def full(self, record):
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            self.handleError(record)

    monkeypatch.setattr("logging.FileHandler.emit", full)
    assert run.train(ask(evaluation__factors=[1.0]), []).status == "trained"
    assert "Traceback" not in capsys.readouterr().err
