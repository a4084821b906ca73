"""The floor of competence is a table of the training text's pairs, scored on the scored tokens."""

import dataclasses
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from lengthgen.data.tokens import write_store
from lengthgen.evaluation import bigram, records
from lengthgen.reporting.tables import read_table

from .test_evaluation import VOCAB, make, requests, score, splits, store, targets, write_rows  # noqa: F401


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Other text than the validation's, with a token (12) that it never has."""
    chance = np.random.default_rng(5)
    documents = [
        (f"doc{i}", chance.integers(0, VOCAB - 1, size) ** 2 % (VOCAB - 1))
        for i, size in enumerate((90, 40))
    ]
    return write_store(
        tmp_path_factory.mktemp("store") / "s",
        documents,
        vocab_size=VOCAB,
        token_bytes=np.ones(VOCAB, int),
    )


def by_hand(train, wanted, m):
    """-ln p(b | a) of pairs (a, b), from plain counting within documents."""
    pairs, before, after = Counter(), Counter(), Counter()
    for d in range(train.n_documents):
        document = train.document(d).tolist()
        for a, b in pairwise(document):
            pairs[a, b] += 1
            before[a] += 1
            after[b] += 1
    total = sum(after.values())

    def loss(a, b):
        unigram = (after[b] + 1) / (total + VOCAB)
        return -np.log((pairs[a, b] + m * unigram) / (before[a] + m))

    return np.array([loss(a, b) for a, b in wanted])


def wanted_pairs(store, request):  # noqa: F811
    return [(int(store.document(d)[p - 1]), int(store.document(d)[p])) for d, p in targets(request)]


@pytest.mark.parametrize("dense", [2**22, 0])
@pytest.mark.parametrize("at_once", [2**22, 7])
def test_the_loss_by_hand_of_the_training_split_in_parts_and_whole(
    store,  # noqa: F811
    train,
    monkeypatch,
    dense,
    at_once,
):
    monkeypatch.setattr(bigram, "DENSE", dense)
    monkeypatch.setattr(bigram, "AT_ONCE", at_once)
    (request,) = requests(store, [16], protocols=["matched"])
    pairs = bigram.pairs_of(store, request)
    table = bigram.table(dataclasses.replace(splits(store), train=train), [pairs], pairs)
    wanted = wanted_pairs(store, request)
    assert any(12 in pair for pair in wanted)  # never seen in training
    expected = by_hand(train, wanted, table.m)
    assert table.losses(pairs).ravel() == pytest.approx(expected)
    means = [by_hand(train, wanted, m).mean() for m in bigram.WEIGHTS]
    assert table.m == bigram.WEIGHTS[int(np.argmin(means))]


def test_probabilities_after_any_token_add_up_to_one(store, train):  # noqa: F811
    everything = np.arange(VOCAB * VOCAB).reshape(VOCAB, VOCAB)
    table = bigram.table(dataclasses.replace(splits(store), train=train), [everything], everything)
    assert np.exp(-table.losses(everything)).sum(axis=1) == pytest.approx(np.ones(VOCAB))


def test_a_text_of_fixed_pairs_costs_nothing(tmp_path):
    cycle = np.tile(np.arange(8), 400)
    data = write_store(tmp_path / "s", [("a", cycle)], vocab_size=8, token_bytes=np.ones(8, int))
    (request,) = requests(data, [16], protocols=["matched"])
    pairs = bigram.pairs_of(data, request)
    own = dataclasses.replace(splits(data), vocab_size=8)
    assert bigram.table(own, [pairs], pairs).losses(pairs).mean() < 0.03


def test_documents_and_rows_have_it_beside_the_losses_of_the_same_tokens(store, train, tmp_path):  # noqa: F811
    scored = score(make("rope"), store, requests(store))
    data = dataclasses.replace(splits(store), train=train)
    written = write_rows(tmp_path / "e", scored, store, data=data)
    table = read_table(tmp_path / "e" / "documents.csv", records.DOCUMENTS)
    matched = table[table["protocol"] == "matched"]
    by_length = matched.groupby("eval_length")["bigram_sum"].sum()
    assert by_length.to_numpy() == pytest.approx(np.full(len(by_length), by_length.iloc[0]))
    rows = {(row["protocol"], row["eval_length"], row["metric"]): row["value"] for row in written}
    for (protocol, length), of_request in table.groupby(["protocol", "eval_length"]):
        mean = of_request["bigram_sum"].sum() / of_request["n_tokens"].sum()
        assert rows[protocol, length, "bigram"] == pytest.approx(mean)
        assert rows[protocol, length, "below_bigram"] == pytest.approx(
            mean - rows[protocol, length, "loss"], abs=1e-6
        )


def test_with_answers_the_table_is_of_answers_and_so_is_its_loss(store, train, tmp_path):  # noqa: F811
    (request,) = requests(store, [16], protocols=["matched"])

    def answers(symbols):
        return symbols % 2 == 0

    data = dataclasses.replace(splits(store), train=train, answers=answers)
    pairs = bigram.pairs_of(store, request)
    found = bigram.table(data, [pairs], pairs[answers(pairs % VOCAB)])
    assert found.before.sum() == sum(
        int(answers(train.document(d)[1:].numpy()).sum()) for d in range(train.n_documents)
    )
