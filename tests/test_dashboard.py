"""What a training tells its dashboard: facts, figures, files, losses by length on the way."""

import json
from typing import ClassVar

import numpy as np
import pytest

from lengthgen.runs import run
from lengthgen.tracking import seam

from .test_tracking import read_wandb, wandb_files

CURVES = {"train_length": 16, "evaluation__lengths": [16, 24, 32, 64]}


class Told(seam.Backend):
    """Notes what it is told."""

    active = True
    calls: ClassVar[list] = []

    def __getattribute__(self, name):
        if name in ("log", "summary", "curves", "figures", "artifact"):
            return lambda *arguments: Told.calls.append((name, *arguments))
        return super().__getattribute__(name)


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(Told, "calls", [])
    monkeypatch.setitem(run.dashboard.tracking.BACKENDS, "none", Told)
    return Told.calls


def test_facts_figures_and_files_of_a_training(ask, told):
    outcome = run.train(ask(tracking="none"))
    by_name = {name: arguments for name, *arguments in told}
    facts = by_name["summary"][0]
    provenance = json.loads((outcome.folder / "provenance.json").read_text())
    assert facts["run"] == outcome.run_id and facts["commit"] == provenance["commit"]
    assert facts["data/fingerprint"] == provenance["data"]["fingerprint"]
    assert facts["parameters/total"] == provenance["parameters"]["total"]
    assert 0 < facts["floors/unigram"] < np.log(257)
    assert {"loss_by_length", "loss_by_position"} <= set(by_name["figures"][0])
    artifacts = {call[1].kind: call[1] for call in told if call[0] == "artifact"}
    tables, weights = artifacts["evaluation"], artifacts["weights"]
    assert set(weights.files) == {"manifest.json", "state.pt"}
    assert tables.made_from == (weights.name,) and "lengths.csv" in tables.files
    assert all(path.exists() for one in artifacts.values() for path in one.files.values())


def test_a_group_is_the_seeds_of_one_scheme_and_set_up(ask, monkeypatch):
    groups = []

    def start(options, description):
        groups.append(description.group)
        return seam.Tracker(seam.Backend(None, description))

    monkeypatch.setattr(run.dashboard.tracking, "start", start)
    for changed in ({}, {"seed": 1}, {"scheme": "alibi"}, {"optim__lr": 0.01}, {"steps": 8}):
        run.train(ask(**changed), figures=False)
    assert groups[0] == groups[1] and len(set(groups)) == 4


@pytest.mark.parametrize("scheme", ["alibi", "randomised_learned", "t5_bias"])
def test_losses_by_length_change_no_bit_of_the_training(ask, tmp_path, scheme):
    dropout = {"scheme": scheme, "model__dropout": 0.1, **CURVES}
    plain = run.train(ask(**dropout, results=str(tmp_path / "a")), figures=False)
    outcome = run.train(
        ask(**dropout, evaluate_every=2, results=str(tmp_path / "b")), figures=False
    )
    assert outcome.run_id == plain.run_id
    assert weights(outcome) == weights(plain)
    measured = [row for row in metrics(outcome) if "lengths/loss@000016" in row]
    assert [row["step"] for row in measured] == [2, 4, 6]
    names = {name for row in measured for name in row if name.startswith("lengths/")}
    assert names == {f"lengths/loss@{length:06d}" for length in (16, 24, 32, 64)}
    for ours, theirs in zip(metrics(outcome), metrics(plain), strict=True):
        for name in set(theirs) - {"train/tokens_per_second"}:
            assert ours[name] == theirs[name], name


def test_the_last_losses_by_length_are_those_of_an_evaluation(ask):
    same = {
        "evaluation__documents": 8,
        "evaluation__blocks": 1,
        "evaluation__protocols": ["matched"],
    }
    outcome = run.train(ask(scheme="alibi", evaluate_every=6, **CURVES | same), figures=False)
    rows = (outcome.evaluation / "lengths.csv").read_text().splitlines()
    head, *rows = (row.split(",") for row in rows)
    table = [dict(zip(head, row, strict=True)) for row in rows]
    expected = {
        f"lengths/loss@{int(row['eval_length']):06d}": float(row["value"])
        for row in table
        if row["metric"] == "loss"
    }
    [last] = [row for row in metrics(outcome) if "lengths/loss@000016" in row]
    found = {name: value for name, value in last.items() if name.startswith("lengths/")}
    assert found == pytest.approx(expected, abs=2e-6)


def test_a_text_that_is_too_short_has_fewer_lengths(ask, caplog):
    caplog.set_level("INFO")
    short = {"train_length": 300, "evaluation__lengths": [300], "steps": 2, "validate_every": 0}
    outcome = run.train(ask(scheme="alibi", evaluate_every=1, **short), figures=False)
    assert "no held-out document is as long as 1200 tokens" in caplog.text
    assert "lengths/loss@000300" in metrics(outcome)[0]


def test_what_an_offline_run_of_wandb_holds(ask):
    pytest.importorskip("wandb")
    given = {"tracking": "wandb", "tracking__mode": "offline", "tracking__artifacts": "weights"}
    outcome = run.train(ask(scheme="alibi", evaluate_every=3, **given))
    [path] = wandb_files(outcome.folder)
    records = read_wandb(path)
    summary = {
        item.key: json.loads(item.value_json)
        for record in records
        for item in record.summary.update
        if item.key
    }
    assert {"run", "commit", "data/fingerprint", "parameters/total", "floors/unigram"} <= set(
        summary
    )
    assert any(name.startswith("eval/matched/loss_change@") for name in summary)
    assert any(name.startswith("eval/matched/bigram@") for name in summary)
    kinds = [record.artifact.type for record in records if record.HasField("artifact")]
    assert {"evaluation", "weights"} <= set(kinds)
    hidden = {
        record.metric.name for record in records
        if record.HasField("metric") and record.metric.options.hidden
    }  # fmt: skip
    assert {"train/step", "eval/length"} <= hidden


def metrics(outcome):
    lines = (outcome.folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def weights(outcome):
    return json.loads((outcome.folder / "done.json").read_text())["weights_sha256"]
