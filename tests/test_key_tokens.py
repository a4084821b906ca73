"""Key tokens: which they are, the loss on them with its interval, and what is refused.

From files as evaluations write them.
"""

import math

import numpy as np
import pytest
from scipy import stats

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import key_tokens, stored

from .test_evaluation import make, requests, score, store, write_rows  # noqa: F401

LONG, SHORT, BLOCK = 64, 16, 8
DOCUMENTS = np.repeat(np.arange(25), 4)  # four windows each: 800 targets


def written(results, run, losses, protocol="matched", document=DOCUMENTS):
    """An evaluation folder with these losses {length: (W, P)}.

    Window w ends at token 100 (w + 1).
    """
    folder = results / "runs" / run / "evaluation" / "e"
    arrays = {}
    for length, values in losses.items():
        start = 100 * (np.arange(len(values)) + 1) - length
        about = {
            "losses": values.astype(np.float32),
            "document": document,
            "start": start,
            "first": np.full(len(values), length - BLOCK),
        }
        arrays |= {f"{protocol}/{length}/{name}": array for name, array in about.items()}
    files.write_npz(folder / "losses.npz", arrays)
    return folder


@pytest.fixture
def reference(tmp_path):
    """Three quarters are key tokens: 3 nats with short, 0.5 with long context; others 1, 1."""
    key = np.tile(np.arange(BLOCK) % 4 != 0, (len(DOCUMENTS), 1))
    short, long = np.where(key, 3.0, 1.0), np.where(key, 0.5, 1.0)
    return written(tmp_path, "reference", {SHORT: short, LONG: long}), key


def test_a_key_token_gains_more_than_two_nats_and_is_then_known():
    short = np.array([[4.0, 3.9, 5.0, 1.0, 2.1, np.nan]])
    long = np.array([[1.9, 1.9, 2.0, 3.5, 0.0, 0.0]])
    assert key_tokens.mask(short, long).tolist() == [[True, False, False, False, True, False]]
    assert key_tokens.mask(short, long, alpha=3.5).tolist() == [[False] * 6]


def test_the_loss_on_key_tokens_and_its_interval_over_documents(reference, tmp_path):
    folder, key = reference
    chance = np.random.default_rng(0)
    losses = {length: chance.gamma(2.0, 1.0, key.shape) for length in (SHORT, LONG)}
    for row, length in zip(
        key_tokens.table(folder, [written(tmp_path, "tested", losses)], LONG),
        (SHORT, LONG),
        strict=True,
    ):
        assert row.keys() == set(key_tokens.COLUMNS) and (
            row["run"],
            row["eval_length"],
            row["status"],
        ) == ("tested", length, "ok")
        assert (
            row["reference"],
            row["reference_length"],
            row["n_key_tokens"],
            row["n_tokens"],
        ) == ("reference", LONG, 600, 800)
        means = [
            losses[length][d : d + 4][key[d : d + 4]].mean() for d in range(0, 100, 4)
        ]  # as many in each document
        # Student's interval, longer on the side of the skew: Johnson's term, twice.
        critical, error = stats.t.ppf(0.975, 24), stats.sem(means)
        longer = 2 * stats.skew(means) / 5 / 6 * (1 + 2 * critical**2)
        expected = (
            np.mean(means) - error * (critical + max(-longer, 0)),
            np.mean(means) + error * (critical + max(longer, 0)),
        )
        assert [row["loss"], row["low"], row["high"]] == pytest.approx(
            [np.mean(means), *expected], rel=1e-5
        )
        assert row["n_documents"] == 25


def test_losses_off_the_key_tokens_change_nothing(reference, tmp_path):
    folder, key = reference
    plain = written(tmp_path, "plain", {LONG: np.full(key.shape, 0.7)})
    wild = written(tmp_path, "wild", {LONG: np.where(key, 0.7, np.inf)})
    values = [row["loss"] for row in key_tokens.table(folder, [plain, wild], LONG)]
    assert values == pytest.approx([0.7, 0.7])


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("reference", {}, "the reference itself"),
        ("tested", {"losses": np.full((100, BLOCK), np.inf)}, "not finite"),
        ("tested", {"document": DOCUMENTS + 1}, "other tokens than the reference"),
        (
            "tested",
            {"losses": np.zeros((99, BLOCK)), "document": DOCUMENTS[:99]},
            "other tokens than the reference",
        ),
    ],
)
def test_what_cannot_be_said_is_a_row_that_says_why(reference, tmp_path, name, change, words):
    folder, key = reference
    if name == "tested":
        losses = change.get("losses", np.zeros(key.shape))
        tested = written(tmp_path, name, {LONG: losses}, document=change.get("document", DOCUMENTS))
    row = key_tokens.table(folder, [tested if name == "tested" else folder], LONG)[-1]
    assert (
        row["status"] == "refused"
        and words in row["reason"]
        and row["loss"] is None
        and row["n_key_tokens"] == 600
    )


def test_fewer_than_500_key_tokens_are_refused(reference, tmp_path):
    folder, key = reference
    losses = {LONG: np.zeros(key.shape)}
    short, long = (stored.read(folder, "matched", length).losses for length in (SHORT, LONG))
    for count, status in ((500, "ok"), (499, "refused")):
        there = np.cumsum(key).reshape(key.shape) <= count
        fewer = written(
            tmp_path / str(count), "reference", {SHORT: np.where(there, short, 0.0), LONG: long}
        )
        (row,) = key_tokens.table(fewer, [written(tmp_path, "tested", losses)], LONG)
        assert (row["n_key_tokens"], row["status"]) == (count, status)
    assert row["reason"].startswith("499 key tokens of 800; expected at least 500")


def test_a_reference_that_lacks_a_length_is_one_line(reference, tmp_path):
    folder, key = reference
    for eval_length in (128, SHORT):  # without itself, without a quarter of it
        with pytest.raises(
            DataError, match=r"has no losses of matched at (128|4); it has matched/16, matched/64$"
        ):
            key_tokens.table(folder, [], eval_length)
    with pytest.raises(DataError, match=r"quarter of that; expected a multiple of 4"):
        key_tokens.of_reference(written(tmp_path, "odd", {SHORT + 2: key}), SHORT + 2)
    with pytest.raises(DataError, match="evaluate the run again"):
        key_tokens.table(tmp_path / "nowhere", [], LONG)


def test_a_reference_whose_lengths_score_other_tokens_is_refused(tmp_path):
    folder = written(
        tmp_path,
        "reference",
        {SHORT: np.zeros((4, BLOCK)), LONG: np.zeros((5, BLOCK))},
        document=np.arange(5),
    )
    with pytest.raises(DataError, match="not scored on the same targets"):
        key_tokens.of_reference(folder, LONG)


def test_files_of_evaluations_are_read(store, tmp_path, monkeypatch):  # noqa: F811
    """Two scored models: the loss on the reference's key tokens, token by token."""
    folders, losses = [], {}
    for scheme in ("alibi", "none"):
        scored = score(make(scheme), store, requests(store, protocols=["matched"]))
        folders.append(tmp_path / "runs" / scheme / "evaluation" / "e")
        write_rows(folders[-1], scored, store)
        losses[scheme] = {one.request.eval_length: one.losses for one in scored}
    monkeypatch.setattr(key_tokens, "FEWEST", 1)
    alpha = 0.1
    expected = (losses["alibi"][16] - losses["alibi"][64] > alpha) & (
        losses["alibi"][64] < alpha + 2
    )
    monkeypatch.setattr(
        key_tokens, "mask", lambda short, long, alpha: (short - long > alpha) & (long < alpha + 2)
    )
    rows = {
        row["eval_length"]: row for row in key_tokens.table(folders[0], [folders[1]], 64, alpha)
    }
    assert 0 < rows[64]["n_key_tokens"] == expected.sum() < expected.size
    for length, row in rows.items():
        assert (
            row["loss"] == pytest.approx(losses["none"][length][expected].mean(), rel=1e-5)
            and row["low"] < row["loss"] < row["high"]
        )
    assert math.isfinite(rows[8]["loss"])
