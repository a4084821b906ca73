"""Utilisation and the corpus gate: invented models trained longer, and exact floors."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lengthgen import files
from lengthgen.cli import plot
from lengthgen.errors import DataError
from lengthgen.evaluation import records
from lengthgen.reporting import publication, references, tables, verdicts
from lengthgen.reporting.figures import by_length, drawing
from lengthgen.statistics import fails_or_uses
from lengthgen.statistics.losses import Losses

LENGTHS = (16, 32, 64)
TOKENS = 8


def write_run(
    results: Path,
    scheme: str,
    seed: int,
    train_length: int,
    gains: tuple[float, float],
    *,
    shift: int = 0,
    floors=None,
    evaluation="e0000000",
) -> Path:
    """A run that gains `gains` nats with 32 and 64 tokens of context over 16.

    shift: of the scored tokens. floors: gains of the floor.
    """
    name = f"{scheme}-L{train_length}-s{seed}"
    folder, shared = results / "runs" / name, np.random.default_rng(1)
    identity = dict(
        run=name, scheme=scheme, dataset="d", model="m", seed=seed, train_length=train_length,
        steps=1, setting=f"set{train_length}",
        evaluation=f"{evaluation}{train_length}",
    )  # fmt: skip
    hard, noise = (
        shared.normal(2, 0.3, 24),
        np.random.default_rng([seed, train_length, len(scheme)]),
    )
    lengths, documents, arrays = [], [], {}
    # Positions are in use: without them every loss is higher.
    level = 0.001 * noise.normal() + 0.3 * (scheme == "none")
    for length, gain, least in zip(
        LENGTHS, (0.0, *gains), (0.0, *(floors or (0.0, 0.0))), strict=True
    ):
        loss = hard + level - gain + 0.001 * noise.normal(size=24)
        row = identity | {"eval_length": length, "protocol": "matched"}
        documents += [
            row | {"document": f"d{d:02}", "loss_sum": TOKENS * loss[d], "n_tokens": TOKENS,
            "n_bytes": TOKENS,
                   "floor_sum": TOKENS * (hard[d] - 0.5 - least) if floors else None,
                   "bigram_sum": None}
            for d in range(24)
        ]  # fmt: skip
        lengths.append(
            row | {"metric": "loss", "value": loss.mean(), "low": 0.0, "high": 9.0,
            "n_tokens": 24 * TOKENS, "n_documents": 24,
                   "dtype": "fp32", "status": "ok", "reason": ""}
        )  # fmt: skip
        starts = 100 + shift - length
        for key, value in (
            ("document", np.arange(24)),
            ("start", np.full(24, starts)),
            ("first", np.full(24, length - TOKENS)),
        ):
            arrays[f"matched/{length}/{key}"] = value.astype(np.int32)
    here = folder / "evaluation" / "e"
    files.write_table(here / "lengths.csv", lengths, records.LENGTHS)
    files.write_table(here / "documents.csv", documents, records.DOCUMENTS)
    files.write_table(here / "positions.csv", [], records.POSITIONS)
    files.write_npz(here / "losses.npz", arrays)
    files.write_json(
        here / "settings.json", {"origin": {"commit": "feed", "command": "lengthgen evaluate"}}
    )
    files.write_text(folder / "config.yaml", f"seed: {seed}\noptim:\n  lr: 0.002\n")
    files.write_json(
        folder / "provenance.json",
        {"command": "lengthgen train", "commit": "c0ffee", "data": {"fingerprint": "f",
        "tokenizer": "bytes"},
         "parameters": {"total": 1000, "positional": 8}},
    )  # fmt: skip
    files.write_json(folder / "done.json", {})
    return folder


def publish(results: Path, *more: str) -> pd.DataFrame:
    assert (
        plot.main(
            ["--results", str(results), "--publish", "main", "--where", "train_length=16", *more]
        )
        == 0
    )
    return pd.read_csv(results / "main" / "verdicts.csv").set_index(["scheme", "eval_length"])


@pytest.fixture
def drawn():
    """For tests that look at the figures."""


@pytest.fixture(autouse=True)
def without_figures(request, monkeypatch):
    """Drawing is most of what publishing costs: left out where no figure is looked at."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(drawing, "save", lambda *given: [])


PUBLISHED = {"rope": (0.05, 0.05), "alibi": (0.0, 0.0), "none": (0.02, -0.5)}
REFERENCE = ["--reference-where", "train_length=64"]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "results"
    for seed in range(3):
        for scheme, gains in PUBLISHED.items():
            write_run(folder, scheme, seed, 16, gains)
        write_run(folder, "rope", seed, 64, (0.1, 0.2))
        write_run(folder, "alibi", seed, 64, (0.0, 0.0))
    return folder


def test_a_share_of_what_the_same_scheme_or_else_the_best_gains(results):
    found = publish(results, *REFERENCE)
    assert found["word"].to_dict() == {
        ("rope", 32): "uses", ("rope", 64): "uses", ("alibi", 32): "tolerates", ("alibi",
         64): "tolerates",
        ("none", 32): "uses", ("none", 64): "fails",
    }  # fmt: skip
    assert found.loc["rope", "utilisation"].tolist() == pytest.approx([0.5, 0.25], abs=0.02)
    assert found.loc["none", "utilisation"].tolist() == pytest.approx([0.2, -2.5], abs=0.05)
    assert (
        found.loc["rope", "reference"].tolist()
        == found.loc["none", "reference"].tolist()
        == ["rope trained at 64 (3 seeds, paired)"] * 2
    )
    assert found.loc["rope", "use_reference"].tolist() == pytest.approx([0.1, 0.2], abs=1e-3)
    # alibi's own reference gains nothing: no share of it is known, and the gate does not ask it
    assert found.loc["alibi", "utilisation"].isna().all() and set(found["gate"]) == {"passed"}
    page = (results / "main" / "summary.md").read_text()
    assert (
        "passed at 32, 64 tokens" in page
        and "| unknown | unknown |" in page
        and "| 0.50 [0." in page
        and "cannot support" not in page
    )


def test_fiellers_interval_is_that_of_the_two_gains(results):
    row = publish(results, *REFERENCE).loc[("rope", 64)]
    found = tables.collect(results).documents

    def gain(train_length):
        own = found[(found["scheme"] == "rope") & (found["train_length"] == train_length)]
        losses = Losses.of_rows(own)
        return losses.at(16).minus(losses.at(64))

    expected = [float(end[0]) for end in fails_or_uses.utilisation(gain(16), gain(64))]
    assert row[["utilisation", "utilisation_low", "utilisation_high"]].tolist() == pytest.approx(
        expected
    )
    assert expected[1] < 0.25 < expected[2]


def test_where_nothing_is_to_be_gained_use_is_not_said(tmp_path, drawn):
    for seed in range(3):
        write_run(tmp_path, "rope", seed, 16, (0.05, 0.05))
        write_run(tmp_path, "rope", seed, 64, (0.1, 0.004))
    found = publish(tmp_path, *REFERENCE).loc["rope"]
    assert found["gate"].tolist() == ["passed", "refused"] and found["word"].tolist() == [
        "uses",
        "undecided",
    ]
    assert (
        found["gate_reason"][64].startswith("rope trained at 64 gains 0.00")
        and "needs at least 0.005" in found["gate_reason"][64]
    )
    sentence = (
        "this text cannot support a claim of use at 64 tokens. At 64, rope trained at 64 gains 0.00"
    )
    page = (tmp_path / "main" / "summary.md").read_text()
    assert (
        f"**As far as the reference shows, {sentence}" in page
        and "\n- 64: rope trained at 64 gains" in page
    )
    summary = tables.read_table(tmp_path / "main" / "summary.csv", tables.SUMMARY)
    with drawing.fixed_style():
        figure = by_length.loss_by_length(summary, f"{sentence}.")
    assert sentence in " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    svg = (tmp_path / "main" / "loss_by_length.svg").read_text().replace("\n", " ")
    assert "cannot support" in svg
    publish(tmp_path)
    assert "cannot support" not in (tmp_path / "main" / "loss_by_length.svg").read_text()


def test_without_references_the_gate_was_not_tried(results):
    found = publish(results)
    assert (
        not set(verdicts.GATED) & set(found.columns) and found.loc[("rope", 64), "word"] == "uses"
    )
    assert "The corpus gate was not tried" in (results / "main" / "summary.md").read_text()
    assert not (results / "main" / "references.csv").exists()


def test_a_publication_draws_the_same_from_its_tables_alone(results, tmp_path):
    shutil.copytree(results, tmp_path / "copy")
    publish(tmp_path / "copy", *REFERENCE)
    before = {path.name: path.read_bytes() for path in (tmp_path / "copy" / "main").iterdir()}
    assert {"references.csv", "power.csv", "verdicts.csv"} <= set(before)
    shutil.rmtree(tmp_path / "copy" / "runs")
    assert plot.main(["--results", str(tmp_path / "copy")]) == 0
    assert {
        path.name: path.read_bytes() for path in (tmp_path / "copy" / "main").iterdir()
    } == before


@pytest.mark.parametrize(
    ("seeds", "described"),
    [
        ((0, 1, 2, 3), "3 seeds, paired"),
        ((1, 2, 7), "2 seeds, paired"),
        ((2, 7), "2 seeds, taken as fixed"),
        ((0,), "1 seed, taken as fixed"),
    ],
)
def test_seeds_are_paired_where_there_are_enough(tmp_path, seeds, described):
    for seed in range(3):
        write_run(tmp_path, "rope", seed, 16, (0.05, 0.05))
    for seed in seeds:
        write_run(tmp_path, "rope", seed, 64, (0.1, 0.1))
    row = publish(tmp_path, *REFERENCE).loc[("rope", 64)]
    assert row["reference"] == f"rope trained at 64 ({described})" and row["n_seeds"] == 3
    assert row["utilisation_low"] < 0.5 < row["utilisation_high"] and row[
        "utilisation"
    ] == pytest.approx(0.5, abs=0.02)


def test_the_nearest_length_that_was_trained_at(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "rope", seed, 16, (0.05, 0.05))
        write_run(tmp_path, "rope", seed, 32, (0.1, -3.0))
        write_run(tmp_path, "rope", seed, 64, (0.2, 0.2))
    found = publish(tmp_path, "--reference-where", "train_length=32,64").loc["rope"]
    assert [text.partition(" (")[0] for text in found["reference"]] == [
        "rope trained at 32",
        "rope trained at 64",
    ]
    found = publish(tmp_path, "--reference-where", "train_length=32").loc["rope"]
    assert (
        found["gate"][32] == "passed"
        and found["gate"].isna()[64]
        and found["utilisation"].isna()[64]
    )
    assert "passed at 32; not tried at 64 tokens" in (tmp_path / "main" / "summary.md").read_text()


def test_a_retrofit_is_compared_with_its_scheme():
    losses = Losses.numbered(np.ones((1, 1, 1)), np.ones((1, 1, 1)))
    ranked = [
        references.Reference(name, name, losses, losses) for name in ("alibi", "rope", "rope+log_n")
    ]
    chosen = {
        scheme: references.own_or_best(scheme, ranked).name
        for scheme in ("rope", "rope+yarn", "rope+log_n", "none")
    }
    assert chosen == {
        "rope": "rope",
        "rope+yarn": "rope",
        "rope+log_n": "rope+log_n",
        "none": "alibi",
    }


@pytest.mark.parametrize(
    ("longer", "where", "says"),
    [((64, 1), "train_length=64", "scored other tokens than the published"), ((16, 0),
     "train_length=16", "no run trained at a longer"),
     ((64, 0), "train_length=128", "no finished evaluation"), ((64, 0), "colour=red",
      "--reference-where colour=red: expected KEY=VALUE")],
)  # fmt: skip
def test_references_that_cannot_serve_are_refused(tmp_path, capsys, longer, where, says):
    write_run(tmp_path, "rope", 0, 16, (0.05, 0.05))
    write_run(tmp_path, "alibi", 0, longer[0], (0.1, 0.1), shift=longer[1])
    argv = [
        "--results",
        str(tmp_path),
        "--publish",
        "main",
        "--where",
        "train_length=16",
        "--reference-where",
        where,
    ]
    assert plot.main(argv) == 2
    printed = capsys.readouterr().err
    assert says in printed and printed.count("\n") == 1


def test_reference_runs_need_a_publication(tmp_path, capsys):
    assert (
        plot.main(["--results", str(tmp_path), *REFERENCE]) == 2
        and "give --publish NAME" in capsys.readouterr().err
    )


def test_an_exact_floor_is_the_reference(tmp_path):
    for seed in range(3):
        write_run(tmp_path, "rope", seed, 16, (0.05, 0.05), floors=(0.2, 0.001))
    found = publish(tmp_path).loc["rope"]
    assert set(found["reference"]) == {"the exact floor"} and found["gate"].tolist() == [
        "passed",
        "refused",
    ]
    assert found["use_reference"].tolist() == pytest.approx([0.2, 0.001]) and found[
        "word"
    ].tolist() == ["uses", "undecided"]
    assert found["utilisation"].tolist() == pytest.approx([0.25, 50], rel=0.02)
    assert found["gate_reason"][64].startswith("the exact floor gains 0.0010 nats")
    # excess: 0.5 at 16, and what the floor gains more than the model at the others; seeds and
    # documents in its interval
    summary = tables.read_table(tmp_path / "main" / "summary.csv", tables.SUMMARY)
    assert summary["excess"].tolist() == pytest.approx([0.5, 0.65, 0.451], abs=2e-3)
    assert (summary["excess_low"] < summary["excess"]).all() and (
        summary["excess_high"] - summary["excess_low"] < 0.02
    ).all()
    assert (
        "### Excess of the loss over the exact floor"
        in (tmp_path / "main" / "summary.md").read_text()
    )
    documents = pd.read_csv(tmp_path / "main" / "documents.csv")
    at = documents[documents["eval_length"] == 32]
    excess = (at["loss_sum"] - at["floor_sum"]).sum() / at["n_tokens"].sum()
    assert summary.set_index("eval_length")["excess"][32] == pytest.approx(excess)


def test_tables_without_floors_have_no_column_for_them(results):
    publish(results)
    assert "floor_sum" not in (results / "main" / "documents.csv").read_text().partition("\n")[0]
    assert "excess" not in (results / "main" / "summary.csv").read_text().partition("\n")[0]
    assert (
        tables.read_table(results / "main" / "documents.csv", records.DOCUMENTS)["floor_sum"]
        .isna()
        .all()
    )


# Where numbers came from


def test_the_hash_tells_which_tokens_were_scored(tmp_path):
    def hashed(*given, **more):
        run = records.run(write_run(tmp_path, *given, **more))
        return publication.targets(run, run.folder / "evaluation" / "e")

    one = hashed("rope", 0, 16, (0, 0))
    assert (
        one == hashed("alibi", 1, 64, (1, 1)) and len(one) == 16
    )  # another model, training length and setting
    assert one != hashed("rope", 0, 16, (0, 0), shift=1)
    folder = write_run(tmp_path, "rope", 0, 16, (0, 0))
    files.write_json(
        folder / "provenance.json", {"data": {"fingerprint": "other", "tokenizer": "bytes"}}
    )
    assert publication.targets(records.run(folder), folder / "evaluation" / "e") not in (one, None)
    files.write_json(folder / "provenance.json", {})
    assert publication.targets(records.run(folder), folder / "evaluation" / "e") is None


def test_the_last_doubling_is_read_from_the_end_or_from_the_metrics(tmp_path):
    folder = write_run(tmp_path, "rope", 0, 16, (0, 0))
    config = {**records.run(folder).config, "steps": 8}
    files.write_json(folder / "config.yaml", config)
    assert records.run(folder).last_doubling is None
    rows = [{"step": step, "validation/loss": 3 - step / 10} for step in (2, 4, 8)]
    files.write_jsonl(folder / "metrics.jsonl", [{"step": 1, "train/loss": 9.0}, *rows])
    assert records.run(folder).last_doubling == pytest.approx(0.4)
    done = {"weights_sha256": "x", "training": {"last_doubling": 0.25}}
    files.write_json(folder / "done.json", done)
    assert records.run(folder).last_doubling == 0.25


def test_a_publication_names_schemes_that_still_learnt_at_their_end(results, tmp_path):
    results = Path(shutil.copytree(results, tmp_path / "results"))
    gained = {0: 0.2, 1: 0.4, 2: 0.01}
    for run in records.runs(results):
        seed = int(run.name[-1])
        if "-L16-" in run.name:
            value = gained[seed] if "rope" in run.name else 0.0
            training = {"training": {"last_doubling": value}}
            files.write_json(run.folder / "done.json", training)
    publish(results)
    page = (results / "main" / "summary.md").read_text()
    assert "Under-trained" in page and "rope 0.203" in page and "alibi 0" not in page


def test_a_publication_says_what_made_it_and_what_it_lacks(results):
    publish(results, *REFERENCE)
    note, page = (
        files.read_json(results / "main" / "provenance.json"),
        (results / "main" / "summary.md").read_text(),
    )
    (about,) = note["evaluations"]
    assert (
        about["commits"] == ["feed"]
        and about["commands"] == ["lengthgen evaluate"]
        and len(about["targets"]) == 1
    )
    assert (
        note["references"]["where"] == {"train_length": ["64"]}
        and len(note["references"]["runs"]) == 6
    )
    assert (
        note["runs"][0]["parameters"]["total"] == 1000 and note["runs"][0]["learning_rate"] == 0.002
    )
    assert (
        "Not known of these numbers" not in page
        and about["targets"][0] in page
        and "Precision: fp32." in page
    )
    assert "- none, rope, alibi: 1,000 parameters, 8 positional; learning rate 0.002" in page


def test_each_thing_that_is_missing_is_named(results):
    publish(results)
    note = files.read_json(results / "main" / "provenance.json")
    rows = tables.read_table(results / "main" / "summary.csv", tables.SUMMARY)
    assert publication.missing(note, rows) == []
    without = {key: note[key] for key in note if key not in ("seeds", "evaluations")} | {
        "commits": ["abc-dirty"]
    }
    without["runs"] = [{"run": "a"}]
    found = publication.missing(
        without, rows[(rows["scheme"] != "alibi") | (rows["eval_length"] != 16)].assign(dtype="")
    )
    assert found == [
        "seeds", "the loss at the training length (of alibi)", "the hash of the matched targets",
        "the precision",
        "the commit of the training", "the commit of the evaluation", "parameter counts",
        "the learning rate",
    ]  # fmt: skip


def test_one_seed_twice_is_one_line(results):
    rows = tables.collect(results).documents.query("scheme == 'rope' and train_length == 16")
    with pytest.raises(
        DataError, match=r"^two runs of rope have seed 0: again and rope-L16-s0; [^\n]*$"
    ):
        Losses.of_rows(pd.concat([rows, rows[rows["seed"] == 0].assign(run="again")]))
