"""Floors: paired with losses of the same tokens; left out if unknown; leaks below them."""

import numpy as np
import pytest
import torch

from lengthgen.data.splits import Floors, Splits, prepare_splits
from lengthgen.errors import DataError
from lengthgen.evaluation import floors, last_lines, records, scoring, writing
from lengthgen.evaluation.protocols import EvaluationConfig, plan
from lengthgen.reporting import tables
from lengthgen.reporting.tables import read_table
from lengthgen.runs import run

from .test_config import given
from .test_evaluation import IDENTITY, make

LENGTHS = [8, 16, 32]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Splits:
    dataset = {
        "name": "lag_copy",
        "n_symbols": 12,
        "lag": 10,
        "train_documents": 4,
        "validation_documents": 6,
        "document_length": 90,
    }
    return prepare_splits(dataset, {"name": "bytes"}, tmp_path_factory.mktemp("cache"))


def scored(source, loss):
    """Requests whose losses are `loss(document, start, first)`, an array for each window."""
    wanted = plan(
        source.validation.lengths, source.validation.names, LENGTHS, 16, EvaluationConfig()
    )
    return [
        scoring.Scored(
            request, "ok", "", np.stack([loss(w) for w in request.windows]).astype(np.float32)
        )
        for request in wanted
    ]


def write(folder, source, outcomes):
    written = writing.write(
        folder,
        outcomes,
        source,
        IDENTITY,
        train_length=16,
        dtype="fp32",
        settings=EvaluationConfig(resamples=100),
        origin={},
    )
    return {(row["protocol"], row["eval_length"], row["metric"]): row for row in written}


def test_excess_is_token_by_token_over_the_floor_that_the_window_allows(source, tmp_path):
    outcomes = scoring.score(
        make("rope"), source.validation, plan(source.validation.lengths, source.validation.names,
        LENGTHS, 16, EvaluationConfig()),
        tokens_per_batch=4096, device=torch.device("cpu"),
    )  # fmt: skip
    found = write(tmp_path / "e", source, outcomes)
    with np.load(tmp_path / "e" / "losses.npz") as arrays:
        for outcome in outcomes:
            key = outcome.request.protocol, outcome.request.eval_length
            expected = [
                [
                    source.floors(w.document, w.start)[w.start + p + 1]
                    for p in range(w.first, w.length)
                ]
                for w in outcome.request.windows
            ]
            np.testing.assert_array_equal(arrays["{}/{}/floors".format(*key)], expected)
            if key[0] != "position":
                assert found[*key, "floor"]["value"] == pytest.approx(np.mean(expected))
                assert found[*key, "excess"]["value"] == pytest.approx(
                    outcome.losses.mean() - np.mean(expected), rel=1e-4
                )
                assert (
                    found[*key, "excess"]["low"] < found[*key, "excess"]["value"]
                    and found[*key, "excess"]["status"] == "ok"
                )
    documents = read_table(tmp_path / "e" / "documents.csv", records.DOCUMENTS)
    for (protocol, length), own in documents.groupby(["protocol", "eval_length"]):
        assert own["floor_sum"].sum() / own["n_tokens"].sum() == pytest.approx(
            found[protocol, length, "floor"]["value"]
        )
    # 8 tokens do not reach the lag of 10: nothing can be copied there
    assert (
        found["matched", 8, "floor"]["value"] == pytest.approx(np.log(12))
        and found["matched", 32, "floor"]["value"] < 2
    )
    curve = read_table(tmp_path / "e" / "excess_by_position.csv", records.POSITIONS)
    position = next(one for one in outcomes if one.request.protocol == "position")
    np.testing.assert_allclose(
        curve["value"],
        (position.losses - arrays_of(tmp_path / "e")["position/32/floors"]).mean(axis=0),
        rtol=1e-5,
    )
    floors.refuse_leaks(tmp_path / "e")  # nothing to refuse


def arrays_of(folder):
    with np.load(folder / "losses.npz") as arrays:
        return dict(arrays)


def test_a_loss_below_the_floor_is_a_leak_and_one_by_chance_is_not(source, tmp_path):
    chance = np.random.default_rng(0)

    def near_the_floor(w, shift, noise):
        return (
            source.floors(w.document, w.start)[w.start + w.first + 1 : w.start + w.length + 1]
            + shift
            + chance.normal(0, noise)
        )

    found = write(
        tmp_path / "fair", source, scored(source, lambda w: near_the_floor(w, -0.001, 0.05))
    )
    assert {row["status"] for row in found.values()} == {"ok"}
    found = write(
        tmp_path / "seen",
        source,
        scored(source, lambda w: near_the_floor(w, -0.5 * (w.length == 32), 0.01)),
    )
    leaking = {key[:2] for key, row in found.items() if row["status"] == floors.LEAK}
    assert leaking == {("matched", 32), ("nonoverlapping", 32)}
    row = found["matched", 32, "excess"]
    assert row["value"] == pytest.approx(-0.5, abs=0.02) and "cannot do so" in row["reason"]
    assert any("leak" in line for line in last_lines.lines(list(found.values())))
    with pytest.raises(
        DataError,
        match=r"^leak \(matched at 32, nonoverlapping at 32, position at 32\): mean excess [^\n]*$",
    ):
        floors.refuse_leaks(tmp_path / "seen")


def test_without_an_exact_rule_there_is_no_row(source, tmp_path):
    class Unknown(Floors):
        def __call__(self, document, start=None):
            return np.where((start or 0) > 0, np.nan, source.floors(document, start))

    unknown = Splits(
        **{**vars(source), "floors": Unknown(source.floors.store, source.floors.dataset)}
    )
    found = write(
        tmp_path / "e", unknown, scored(source, lambda w: np.full(w.length - w.first, 2.0))
    )
    assert {metric for _, _, metric in found} == {
        "loss",
        "perplexity",
        "bits_per_byte",
        "loss_change",
        "bigram",
        "below_bigram",
    }
    assert not (tmp_path / "e" / "excess_by_position.csv").exists()
    assert read_table(tmp_path / "e" / "documents.csv", records.DOCUMENTS)["floor_sum"].isna().all()


def test_few_documents_need_more_than_three_standard_errors():
    tokens = np.full(3, 10)
    assert (
        floors.leak(np.array([-1.0, -2.0, -3.0]), tokens) is None
    )  # 3.5 standard errors of three documents
    assert "-0.2000 nats, standard error 0.0058" in floors.leak(
        np.array([-1.9, -2.0, -2.1]), tokens
    )
    assert floors.leak(np.array([-1e-4, -1e-4, -1e-4]), tokens) is None  # rounding
    assert (
        floors.leak(np.array([-5.0]), np.array([10])) is None
    )  # the spread over documents is not known


def test_a_run_that_leaks_leaves_its_tables_and_says_so_every_time(tmp_path, monkeypatch):
    small = {
        "dataset": "lag_copy", "dataset__train_documents": 4, "dataset__validation_documents": 4,
        "dataset__document_length": 90,
        "results": str(tmp_path / "results"), "cache": str(tmp_path / "cache"), "train_length": 16,
        "steps": 2, "threads": 1,
        "model__n_layers": 1, "model__n_heads": 2, "model__width": 16, "evaluation__documents": 4,
        "evaluation__resamples": 20,
    }  # fmt: skip
    monkeypatch.setattr(floors, "leak", lambda excess_sum, n_tokens: "seen")
    for _ in range(2):
        with pytest.raises(DataError, match=r"^leak \(matched at 8, [^\n]*: seen"):
            run.train(given(**small), [])
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    (evaluation,) = (folder / "evaluation").iterdir()
    table = read_table(evaluation / "lengths.csv", records.LENGTHS)
    assert (
        set(table["status"]) == {"leak"}
        and table["value"].notna().all()
        and not (folder / "done.json").exists()
    )
    summary = tables.summarise(read_table(evaluation / "documents.csv", records.DOCUMENTS), table)
    assert set(summary["status"]) == {"leak"} and summary["loss"].isna().all()
