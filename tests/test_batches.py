"""Batches: pure functions of seed and step, true windows of the stream."""

import hashlib

import numpy as np
import pytest
import torch

from lengthgen.data.batches import count_starts, crops
from lengthgen.data.tokens import write_store
from lengthgen.errors import DataError

from .effort import lines_run

LENGTHS = [1, 40, 9, 8, 300, 7, 90]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Seven documents; no id stands twice in the stream, so that a window tells its place."""
    stream = np.arange(sum(LENGTHS)) * 7919 % 50_000
    documents = [(str(i), part) for i, part in enumerate(np.split(stream, np.cumsum(LENGTHS)[:-1]))]
    return write_store(
        tmp_path_factory.mktemp("store") / "s",
        documents,
        vocab_size=50_000,
        token_bytes=np.ones(50_000),
    )


def draw(store, **changes):
    given = dict(seed=0, step=0, batch_size=8, length=8, cross_documents=True)
    return crops(store, **(given | changes))


def places(store, inputs, targets):
    """Slow reference: where in the stream each window begins; fails if it is no window of it."""
    stream = store.tokens(0, store.n_tokens).tolist()
    windows = torch.cat([inputs, targets[:, -1:]], dim=1).tolist()
    size = len(windows[0])
    index = {tuple(stream[i : i + size]): i for i in range(len(stream) - size + 1)}
    return [index[tuple(window)] for window in windows]


@pytest.mark.parametrize("cross_documents", [True, False])
def test_windows_are_of_the_stream_and_targets_follow_inputs(store, cross_documents):
    inputs, targets = draw(store, batch_size=64, cross_documents=cross_documents)
    assert inputs.shape == targets.shape == (64, 8) and inputs.dtype == targets.dtype == torch.int64
    assert inputs.is_contiguous() and targets.is_contiguous()
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    for start in places(store, inputs, targets):
        inside = np.searchsorted(store.offsets, start, "right") == np.searchsorted(
            store.offsets, start + 8, "right"
        )
        assert cross_documents or inside
    assert int(inputs.max()) >= 32_768  # ids above the sign bit of the storage


@pytest.mark.parametrize("cross_documents", [True, False])
@pytest.mark.parametrize("length", [1, 8, 39, 299])
def test_every_start_is_drawn_and_none_more_often(store, cross_documents, length):
    """All valid starts, by a loop over documents, appear; counts fit a uniform distribution."""
    if cross_documents:
        valid = list(range(store.n_tokens - length))
    else:
        valid = [
            int(o) + s
            for o, n in zip(store.offsets, LENGTHS, strict=False)
            for s in range(n - length)
        ]
    assert count_starts(store, length, cross_documents) == len(valid)
    inputs, targets = draw(
        store, batch_size=100 * len(valid), length=length, cross_documents=cross_documents
    )
    found, counts = np.unique(places(store, inputs, targets), return_counts=True)
    assert found.tolist() == valid
    chi_squared = ((counts - 100) ** 2 / 100).sum()
    assert chi_squared < len(valid) + 6 * np.sqrt(2 * len(valid)) + 6


def test_same_arguments_same_batch_other_arguments_other_batch(store):
    first = draw(store, seed=3, step=5)
    draw(store, seed=9, step=9)  # no state is carried over
    again = draw(store, seed=3, step=5)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    seen = {
        draw(store, seed=seed, step=step)[0].numpy().tobytes()
        for seed in range(10)
        for step in range(10)
    }
    assert len(seen) == 100


def test_global_generators_are_neither_read_nor_moved(store):
    torch.manual_seed(1)
    np.random.seed(1)
    first = draw(store)
    torch.manual_seed(2)
    np.random.seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first[0], draw(store)[0])
    assert torch.equal(state, torch.get_rng_state())


def test_batches_stay_the_same_over_versions(store):
    """A change of this value breaks the resumption of every run in the world."""
    drawn = [
        draw(store, seed=2**63, step=step, cross_documents=cross)[1]
        for step in (0, 1, 10**6)
        for cross in (True, False)
    ]
    joined = b"".join(targets.numpy().tobytes() for targets in drawn)
    assert hashlib.sha256(joined).hexdigest()[:16] == "7e13917d11edf4dc"


def test_the_longest_length_that_fits(store):
    inputs, targets = draw(store, length=299, cross_documents=False)
    assert places(store, inputs, targets) == [int(store.offsets[4])] * 8
    inputs, targets = draw(store, length=sum(LENGTHS) - 1)
    assert places(store, inputs, targets) == [0] * 8


@pytest.mark.parametrize(
    "length, cross_documents, says",
    [
        (
            300,
            False,
            "train_length=300 within documents needs one of 301 tokens; "
            "the longest of 7 has 300: choose",
        ),
        (455, True, "train_length=455 needs 456 tokens; the split has 455 in 7 documents: choose"),
        (10**9, True, "needs 1000000001 tokens"),
    ],
)
def test_a_length_that_fits_nowhere_is_one_line_with_counts(store, length, cross_documents, says):
    with pytest.raises(DataError) as caught:
        draw(store, length=length, cross_documents=cross_documents)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_many_documents_cost_no_loop(store, tmp_path):
    documents = ((str(i), np.zeros(20, dtype=np.uint16)) for i in range(20_000))
    many = write_store(tmp_path / "s", documents, vocab_size=257, token_bytes=np.ones(257))
    draw(store, cross_documents=False)  # what is imported at the first call is not the batch's work
    assert (
        max(
            lines_run(lambda step=step: draw(many, step=step, cross_documents=False))
            for step in range(3)
        )
        < 1000
    )
