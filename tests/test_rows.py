"""Rows are of the right tokens: bounds, text bytes, a loss that is not finite."""

import dataclasses

import numpy as np
import pytest

from lengthgen.data.tokens import write_store
from lengthgen.evaluation import last_lines, scoring
from lengthgen.evaluation.protocols import EvaluationConfig
from lengthgen.reporting.tables import read_evaluations, summarise
from lengthgen.runs import identity as run_identity

from .test_evaluation import (  # noqa: F401
    LENGTHS,
    SIZES,
    VOCAB,
    make,
    requests,
    score,
    splits,
    store,
    targets,
    write_rows,
)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A store whose tokens stand for 1 to 13 bytes of text."""
    chance = np.random.default_rng(2)
    documents = [(f"doc{i}", chance.integers(0, VOCAB, size)) for i, size in enumerate(SIZES)]
    return write_store(
        tmp_path_factory.mktemp("store") / "s",
        documents,
        vocab_size=VOCAB,
        token_bytes=np.arange(1, VOCAB + 1),
    )


def test_bounds_of_the_perplexity_are_those_of_the_loss_as_exponentials(store, tmp_path):  # noqa: F811
    written = write_rows(tmp_path / "e", score(make("t5_bias"), store, requests(store)), store)
    found = {(row["protocol"], row["eval_length"], row["metric"]): row for row in written}
    for (protocol, length, metric), row in found.items():
        if metric == "perplexity":
            loss = found[protocol, length, "loss"]
            for end in ("value", "low", "high"):
                assert row[end] == pytest.approx(np.exp(loss[end])), (protocol, length, end)


def test_bits_per_byte_are_of_the_bytes_of_the_targets(uneven, tmp_path):
    scored = score(make("rope"), uneven, requests(uneven))
    written = write_rows(tmp_path / "e", scored, uneven)
    value = {(row["protocol"], row["eval_length"], row["metric"]): row["value"] for row in written}
    for one in scored:
        key = one.request.protocol, one.request.eval_length
        if key[0] != "position":
            n_bytes = sum(
                int(uneven.document(document)[place]) + 1
                for document, place in targets(one.request)
            )
            assert value[*key, "bits_per_byte"] == pytest.approx(
                one.losses.sum(dtype=np.float64) / np.log(2) / n_bytes, rel=1e-6
            )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_single_loss_that_is_not_finite_leaves_no_mean(store, tmp_path, monkeypatch, value):  # noqa: F811
    model = make("none")
    plain = model.losses

    def losses(tokens, wanted, first=0):
        found = plain(tokens, wanted, first).clone()
        if tokens.shape[1] == 64:
            found[0, -1] = value
        return found

    monkeypatch.setattr(model, "losses", losses)
    scored = score(model, store, requests(store, protocols=["matched"]))
    written = write_rows(tmp_path / "e", scored, store)
    row = next(row for row in written if (row["eval_length"], row["metric"]) == (64, "loss"))
    assert (
        row["status"] == "nonfinite"
        and row["value"] is None
        and "2 of 32 token losses are not finite" in row["reason"]
    )
    assert {row["status"] for row in written if row["eval_length"] < 64} == {"ok"}


CHANGED = {
    "factors": [1.0, 2.0], "lengths": [100, 600], "protocols": ["matched"], "documents": 7,
    "blocks": 3, "block_spacing": 99, "block": 5,
    "stride": 9, "last_k": 9, "tokens_per_batch": 1, "resamples": 7,
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(EvaluationConfig)])
def test_every_setting_that_decides_a_number_names_the_evaluation(name):
    own = EvaluationConfig(protocols=["matched", "sliding", "last_k"])
    other = dataclasses.replace(own, **{name: CHANGED[name]})
    same = run_identity.evaluation_id(own, 512) == run_identity.evaluation_id(other, 512)
    assert same == (name == "tokens_per_batch")


def test_documents_that_differ_in_tokens_weigh_by_them(store, tmp_path):  # noqa: F811
    """The mean is over tokens: documents with fewer target blocks count for less."""
    wanted = requests(store, protocols=["matched"], blocks=3)
    per_document = np.bincount([w.document for w in wanted[-1].windows])
    assert len(set(per_document[per_document > 0])) > 1
    losses = [
        np.array([np.full(w.stop - w.first, float(w.document)) for w in r.windows], np.float32)
        for r in wanted
    ]
    written = write_rows(
        tmp_path / "e",
        [scoring.Scored(r, "ok", "", x) for r, x in zip(wanted, losses, strict=True)],
        store,
    )
    expected = np.average(np.arange(len(per_document)), weights=per_document)
    found = {row["eval_length"]: row["value"] for row in written if row["metric"] == "loss"}
    assert found == pytest.approx(dict.fromkeys(LENGTHS, expected))


def test_a_text_with_fewer_documents_than_were_asked_for_says_so_once(store, tmp_path):  # noqa: F811
    scored = score(make("rope"), store, requests(store, [16, 32], protocols=["matched"]))
    said = "6 documents and not the 9 of evaluation.documents"
    written = write_rows(tmp_path / "few", scored, store, documents=9)
    assert all(row["reason"].startswith(said) and row["status"] == "ok" for row in written)
    shown = last_lines.lines(written)
    assert sum(said in line for line in shown) == 1
    enough = write_rows(tmp_path / "enough", scored, store, documents=6)
    assert {row["reason"] for row in enough} == {""}
    tables = [read_evaluations([tmp_path / name]) for name in ("few", "enough")]
    reasons = [summarise(one.documents, one.lengths)["reason"] for one in tables]
    assert reasons[0].str.startswith(said).all() and (reasons[1] == "").all()
