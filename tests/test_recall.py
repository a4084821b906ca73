"""Recall by distance: which values are counted, what is found, and how far that surely reaches."""

import csv

import numpy as np
import pytest
from scipy import stats

from lengthgen.data.sources.recall import KeyedRecall
from lengthgen.data.splits import prepare_splits
from lengthgen.evaluation import recall, scoring, writing
from lengthgen.evaluation.protocols import EvaluationConfig, plan
from lengthgen.evaluation.stored import Stored, read

from .test_floors import IDENTITY

DISTANCES, KEYS, VALUES = (2, 8, 20), 60, 8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    dataset = {
        "name": "keyed_recall", "n_keys": KEYS, "n_values": VALUES, "distances": list(DISTANCES),
        "document_length": 100,
        "train_documents": 2, "validation_documents": 20,
    }  # fmt: skip
    return prepare_splits(dataset, {"name": "bytes"}, tmp_path_factory.mktemp("cache"))


def distances(data):
    source = KeyedRecall(KEYS, VALUES, 0.5, DISTANCES)
    return lambda document: source.distances_of(data.validation.document(document)[1:].numpy())


def whole_windows(data, loss, start=0, length=100):
    """All tokens of every document from `start` on, as one window each.

    Loss(document, token) nats.
    """
    n = data.validation.n_documents
    place = np.tile(np.arange(start + 1, start + length + 1), (n, 1))
    losses = np.array(
        [[loss(document, token) for token in row] for document, row in enumerate(place.tolist())]
    )
    return Stored(length, losses, np.arange(n), np.full(n, start), np.zeros(n, int))


def by_hand(data, start=0, length=100):
    """(document, token, distance) of every value whose key came before in the window."""
    found = []
    for document in range(data.validation.n_documents):
        tokens = data.validation.document(
            document
        ).tolist()  # token 0 begins the document; then key value key value ...
        for token in range(2, len(tokens), 2):
            earlier = [
                place for place in range(1, token - 1, 2) if tokens[place] == tokens[token - 1]
            ]
            if earlier and earlier[0] >= start and start < token <= start + length:
                assert tokens[earlier[0] + 1] == tokens[token]
                found.append((document, token, token - 1 - earlier[0]))
    return found


@pytest.mark.parametrize(("start", "length"), [(0, 100), (13, 60), (14, 60), (15, 60)])
def test_counted_are_the_values_whose_earlier_pair_is_in_the_window(data, start, length):
    expected = by_hand(data, start, length)
    losses = {(document, token): 0.001 * token + document for document, token, _ in expected}
    stored = whole_windows(
        data, lambda document, token: losses.get((document, token), 1e6), start, length
    )
    found = recall.by_distance([stored], distances(data))
    assert [row["distance"] for row in found] == list(DISTANCES)
    for row in found:
        own = [
            losses[document, token]
            for document, token, distance in expected
            if distance == row["distance"]
        ]
        assert row["n_values"] == len(own) > 5 and row["loss"] == pytest.approx(np.mean(own))
        assert row.keys() == set(recall.COLUMNS)


def test_found_and_how_far(data):
    """A model that finds what stood up to 8 symbols ago, and guesses beyond."""
    back = distances(data)
    stored = whole_windows(
        data, lambda document, token: 0.01 if 0 < back(document)[token - 1] <= 8 else np.log(VALUES)
    )
    found = {row["distance"]: row for row in recall.by_distance([stored, stored, stored], back)}
    assert [found[d]["found"] for d in DISTANCES] == [1, 1, 0]
    assert found[20]["loss"] == pytest.approx(np.log(VALUES)) and found[20]["found_high"] < 0.1
    assert all(0.95 <= found[d]["found_low"] < 1 == found[d]["found_high"] for d in (2, 8))


def test_half_a_chance_is_found_and_less_is_not(data):
    for chance, share in ((0.501, 1.0), (0.499, 0.0)):
        stored = whole_windows(data, lambda document, token, chance=chance: -np.log(chance))
        assert {row["found"] for row in recall.by_distance([stored], distances(data))} == {share}


def test_few_values_that_are_all_found_say_little():
    assert recall._clopper_pearson(72, 72)[0] > 0.95 > recall._clopper_pearson(71, 71)[0]
    for hits, trials in ((0, 9), (4, 9), (9, 9)):
        expected = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
        assert recall._clopper_pearson(hits, trials) == pytest.approx(tuple(expected))


def test_the_spread_over_documents_counts(data):
    """Half of the documents are found: values of a document are no independent draws."""
    stored = whole_windows(data, lambda document, token: 0.01 if document % 2 else 5.0)
    (row, *_) = recall.by_distance([stored], distances(data))
    alone = recall._clopper_pearson(round(row["found"] * row["n_values"]), row["n_values"])
    assert row["found_low"] < alone[0] and row["found_high"] > alone[1]


def test_files_of_evaluations_are_read(data, tmp_path):
    store = data.validation
    wanted = plan(store.lengths, store.names, [24, 48], 24, EvaluationConfig())
    outcomes = [
        scoring.Scored(
            r,
            "ok",
            "",
            np.ones((len(r.windows), r.windows[0].stop - r.windows[0].first), np.float32),
        )
        for r in wanted
    ]
    settings = EvaluationConfig(lengths=[48], resamples=20)
    writing.write(
        tmp_path / "e",
        outcomes,
        data,
        IDENTITY,
        train_length=24,
        dtype="fp32",
        settings=settings,
        origin={},
    )
    found = recall.by_distance([read(tmp_path / "e", "position", 48)], distances(data))
    request = next(r for r in wanted if r.protocol == "position")
    counted = sum(
        len(
            [1 for document, token, _ in by_hand(data, w.start, w.length) if document == w.document]
        )
        for w in request.windows
    )
    assert sum(row["n_values"] for row in found) == counted > 100
    with (tmp_path / "e" / "recall.csv").open() as file:
        assert [int(row["n_values"]) for row in csv.DictReader(file)] == [
            row["n_values"] for row in found
        ]
