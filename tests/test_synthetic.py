"""Synthetic datasets: the same documents everywhere, with the exact floor of every token."""

import numpy as np
import pytest

from lengthgen.data import datasets, tokenizers
from lengthgen.data.datasets.synthetic import Synthetic
from lengthgen.data.sources.lags import lag_copy
from lengthgen.data.splits import check_lengths, make_dataset, prepare_splits
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation import whole_documents
from lengthgen.runs import run

from .entropy_rate import entropy_rate_of
from .test_config import given

BYTES = {"name": "bytes"}
NAMES = [name for name in datasets.names() if issubclass(datasets.load(name), Synthetic)]
SIZES = {"train_documents": 6, "validation_documents": 4, "document_length": 60}
OWN = {
    "fractional_lag": {"lengths": [40, 60]},
    "keyed_recall": {"distances": [4, 16], "n_keys": 40},
}
every = pytest.mark.parametrize("name", NAMES)


def options(name, **changes):
    return {"name": name} | SIZES | OWN.get(name, {}) | changes


def fitted(options):
    """As a run of the default lengths asks for the dataset."""
    lengths = [256, 512, 640, 768, 1024, 1536, 2048]
    return datasets.load(options["name"]).fitted(options, 512, lengths)


def made(name, tmp_path, **changes):
    return prepare_splits(options(name, **changes), BYTES, tmp_path / "cache")


def documents(store):
    return [store.document(i).numpy() for i in range(store.n_documents)]


def test_all_are_found():
    assert {"lag_copy", "geometric_lags", "power_lags", "bucket_lags", "comb_lags"} <= set(NAMES)
    assert {"dirichlet", "fractional_lag", "keyed_recall"} <= set(NAMES)


@every
def test_documents_go_into_an_ordinary_store(name, tmp_path):
    splits, source = made(name, tmp_path), make_dataset(options(name)).source
    assert (
        splits.vocab_size == source.n_symbols + 1
        and splits.tokenizer == f"symbols-{source.n_symbols}"
        and splits.label == name
    )
    assert splits.train.n_documents == 6 and set(splits.train.lengths) == {61}
    for document in documents(splits.train) + documents(splits.validation):
        assert document[0] == source.n_symbols and (document[1:] < source.n_symbols).all()
        assert np.isfinite(source.losses(document[1:])).all()  # what the source says can come
    assert (splits.train.token_bytes[:-1] > 0).all() and splits.train.token_bytes[-1] == 0
    assert splits.notes == ()


@every
def test_floors_are_the_sources_losses_beside_each_token(name, tmp_path):
    splits, source = made(name, tmp_path), make_dataset(options(name)).source
    for index, document in enumerate(documents(splits.validation)):
        floors = splits.floors(index)
        assert floors.shape == document.shape and floors.dtype == np.float64
        assert np.isnan(floors[0])  # the token that begins a document is never predicted from it
        assert np.array_equal(floors[1:], source.losses(document[1:]))
        assert np.array_equal(
            splits.floors(index, start=0), floors, equal_nan=True
        )  # a window from the beginning


def test_floors_stand_beside_the_right_tokens(tmp_path):
    """Read off the store: behind the lag, a token that is a copy costs little, another one much."""
    splits = made("lag_copy", tmp_path, p=0.5, lag=7)
    document, floors = splits.validation.document(2).numpy(), splits.floors(2)
    copied = document[8:] == document[1:-7]
    assert 5 < copied.sum() < 45
    assert np.allclose(floors[8:][copied], -np.log(0.5 + 0.5 / 32)) and np.allclose(
        floors[8:][~copied], -np.log(0.5 / 32)
    )
    assert np.allclose(floors[1:8], np.log(32))


@pytest.mark.parametrize("name", ["lag_copy", "dirichlet"])
def test_floors_in_a_window(name, tmp_path):
    """For these sources, a window from token `start` on is a document without its begin token."""
    splits, source = made(name, tmp_path), make_dataset(options(name)).source
    for start in (1, 2, 33):
        tokens = splits.validation.document(1).numpy()[start:]
        inside = splits.floors(1, start=start)[start:]
        assert np.allclose(inside, source.losses(tokens))
    assert np.allclose(
        splits.floors(1, start=33)[1:33], np.log(source.n_symbols)
    )  # nothing is seen yet
    assert splits.floors(1, start=33)[33:].sum() > splits.floors(1)[33:].sum()


def test_floors_in_a_window_are_missing_where_nobody_knows_them(tmp_path):
    splits = made("comb_lags", tmp_path, period=3, teeth=3)
    known = np.isfinite(splits.floors(0, start=20))
    # token 20 begins the window, 3 tokens later the first lag is seen, after 9 all are
    assert known[1:23].all() and not known[23:29].any() and known[29:].all()
    assert np.array_equal(splits.floors(0, start=20)[29:], splits.floors(0)[29:])


@every
def test_the_same_configuration_gives_the_same_tokens(name, tmp_path):
    first = made(name, tmp_path)
    again = prepare_splits(options(name, label="other"), BYTES, tmp_path / "elsewhere")
    assert (
        first.fingerprint == again.fingerprint
        and first.validation.names == again.validation.names
        and again.label == "other"
    )
    assert made(name, tmp_path, seed=1).fingerprint != first.fingerprint


@every
def test_documents_are_independent_and_more_of_them_leave_the_first_alone(name, tmp_path):
    few, more = made(name, tmp_path), made(name, tmp_path, train_documents=9)
    assert [d.tolist() for d in documents(more.train)[:6]] == [
        d.tolist() for d in documents(few.train)
    ]
    assert more.validation.fingerprint == few.validation.fingerprint
    together = {tuple(d.tolist()) for d in documents(few.train) + documents(few.validation)}
    assert len(together) == few.train.n_documents + few.validation.n_documents


PINNED = {
    "lag_copy": "aac650c9a977cbd1",
    "comb_lags": "6a1216209d42defc",
    "dirichlet": "d94c4fce43e696df",
    "fractional_lag": "a8177534b2e6d564",
    "keyed_recall": "64b478dcf4ff9d20",
}


def test_tokens_are_pinned(tmp_path):
    """On any machine: only exact arithmetic stands between the random numbers and these tokens."""
    assert {name: made(name, tmp_path).fingerprint for name in PINNED} == PINNED


def test_equal_documents_are_all_kept(tmp_path):
    """Documents are drawn: one that is drawn twice, or in both splits, belongs there."""
    splits = made(
        "dirichlet",
        tmp_path,
        n_symbols=14,
        beta=1e-4,
        document_length=5,
        train_documents=200,
        validation_documents=20,
    )
    kinds = {tuple(d.tolist()) for d in documents(splits.train)}
    assert len(kinds) < 40 and splits.train.n_documents == 200 and splits.notes == ()
    assert kinds & {tuple(d.tolist()) for d in documents(splits.validation)}
    assert {
        (14, *[symbol] * 5) for symbol in range(9, 14)
    } & kinds  # as bytes these would be white space


def test_default_sizes_are_for_a_laptop():
    for name in NAMES:
        found = make_dataset(fitted({"name": name}))
        n_tokens = sum(found.lengths("train"))
        assert 2e6 <= n_tokens <= 5e6
        assert max(found.lengths("validation")) >= 4 * 512  # the longest default evaluation length


def test_mean_floors_are_the_closed_forms(tmp_path):
    for name, changes in (
        ("lag_copy", {"lag": 23}),
        ("comb_lags", {"p": 0.8, "period": 13, "teeth": 4}),
    ):
        splits = made(name, tmp_path, document_length=4096, validation_documents=60, **changes)
        rate = entropy_rate_of(make_dataset(options(name, **changes)).source)
        means = [splits.floors(i)[600:].mean() for i in range(60)]
        assert abs(np.mean(means) - rate) < 3.5 * np.std(means) / 60**0.5 < 0.02


def test_text_has_no_floor(tmp_path):
    splits = prepare_splits(
        {"name": "python", "include": ["json", "email", "wsgiref"]}, BYTES, tmp_path
    )
    assert splits.floors is None and splits.whole_documents is False


def test_symbols_are_passed_through():
    for count, width in ((32, 1), (256, 1), (257, 2)):
        coder = tokenizers.Symbols(count).build(lambda: iter([]), None)
        assert (coder.key, coder.begin, coder.vocab_size) == (f"symbols-{count}", count, count + 1)
        assert set(coder.token_bytes[:-1]) == {width} and coder.token_bytes[-1] == 0
        assert coder.encode(np.array([0, count - 1])).tolist() == [0, count - 1]
        assert coder.decode([1, 0]) == (b"\1\0" if width == 1 else b"\1\0\0\0")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "lag_copy", "lag": 0}, "dataset.lag=0: expected a positive integer"),
        (
            {"name": "lag_copy", "n_symbols": 1},
            "dataset.n_symbols=1, p=0.9: expected at least 2 symbols",
        ),
        (
            {"name": "power_lags", "p": 1.0},
            "dataset.n_symbols=32, p=1.0: expected at least 2 symbols and 0 <= p < 1",
        ),
        (
            {"name": "lag_copy", "train_documents": 0},
            "dataset.train_documents=0: expected a positive integer",
        ),
        ({"name": "geometric_lags", "slope": 0}, "dataset.slope=0.0: expected a positive number"),
        (
            {"name": "power_lags", "exponent": -1},
            "dataset.exponent=-1.0: expected a positive number",
        ),
        ({"name": "bucket_lags", "num_buckets": 5}, "expected an even number"),
        ({"name": "bucket_lags", "max_distance": 16}, "expected more than num_buckets / 2 = 16"),
        ({"name": "bucket_lags", "levels": [1.0, 0.0]}, "expected positive numbers"),
        ({"name": "comb_lags", "teeth": 0}, "dataset.teeth=0: expected a positive integer"),
        (
            {"name": "dirichlet", "beta": 0},
            "dataset.n_symbols=256, beta=0.0: expected at least 2 symbols and beta > 0",
        ),
        (
            {"name": "keyed_recall", "distances": [3]},
            "dataset.distances=(3,): expected different even numbers >= 2 (a pair is two symbols)",
        ),
        (
            {"name": "keyed_recall", "n_keys": 10},
            "dataset.n_keys=10: expected at least document_length / 2 = 1024",
        ),
        (
            {"name": "fractional_lag", "lengths": [1]},
            "dataset.share=0.25 of 1 symbols is a lag of 0: expected 1 to 0",
        ),
        ({"name": "fractional_lag", "lengths": []}, "expected at least one length"),
        ({"name": "dirichlet", "n_symbols": 2**16}, "has 65536 symbols: expected below 65536"),
    ],
)
def test_impossible_options(changes, says):
    with pytest.raises(ConfigError) as caught:
        make_dataset(fitted(changes))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_chosen_tokenizer_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match="tokenizer=bpe: dataset lag_copy is no text and has its own symbols"
    ):
        prepare_splits(options("lag_copy"), {"name": "bpe"}, tmp_path)


# whole documents


def test_whole_documents_are_planned_by_their_length(tmp_path):
    splits = made("fractional_lag", tmp_path)
    assert splits.whole_documents and splits.validation.lengths.tolist() == [41] * 4 + [61] * 4
    short, long = whole_documents.plan(splits.validation.lengths, [40, 60], documents=3)
    assert (short.protocol, short.eval_length, long.eval_length) == ("whole", 40, 60)
    assert [w.document for w in short.windows] == [0, 1, 2] and [
        w.document for w in long.windows
    ] == [4, 5, 6]
    for request in (short, long):
        assert all(
            (w.start, w.length, w.first) == (0, request.eval_length, 0) for w in request.windows
        )
        for window in request.windows:  # each document has the lag of its own length
            document = splits.validation.document(window.document)[1:].numpy()
            expected = lag_copy(32, 0.9, request.eval_length // 4).losses(document)
            assert np.array_equal(splits.floors(window.document)[1:], expected)
    with pytest.raises(
        DataError,
        match="evaluation length 50 needs validation documents of exactly 51 tokens; "
        "there are some for 40, 60",
    ):
        whole_documents.plan(splits.validation.lengths, [40, 50], documents=3)


@pytest.mark.parametrize(
    ("train_length", "cross_documents"), [(60, True), (59, False), (30, False)]
)
def test_training_windows_must_be_whole_too(tmp_path, train_length, cross_documents):
    splits = made("fractional_lag", tmp_path)
    check_lengths(splits, train_length=60, eval_length=60, cross_documents=False)
    with pytest.raises(
        DataError,
        match=r"give train_length=60 \(or dataset.document_length\) and cross_documents=false",
    ):
        check_lengths(
            splits, train_length=train_length, eval_length=60, cross_documents=cross_documents
        )


# runs


@pytest.mark.parametrize("name", ["lag_copy", "keyed_recall", "fractional_lag"])
def test_a_run_trains_and_is_scored_beside_the_floor(name, tmp_path):
    asked = {
        "dataset": name,
        "results": str(tmp_path / "results"),
        "cache": str(tmp_path / "cache"),
        "train_length": 60,
        "steps": 2,
        "batch_size": 2,
        "cross_documents": False,
        "validate_every": 0,
        "threads": 1,
        "model__n_layers": 1,
        "model__n_heads": 2,
        "model__width": 16,
        "evaluation__lengths": [40, 60],
        "evaluation__blocks": 1,
        "evaluation__resamples": 20,
    }
    asked |= {f"dataset__{key}": value for key, value in (SIZES | OWN.get(name, {})).items()}
    outcome = run.train(given(**asked), [])
    assert outcome.status == "trained" and outcome.run_id.startswith(f"t5_bias-{name}-")
    (folder,) = (path for path in (outcome.folder / "evaluation").iterdir() if path.is_dir())
    splits = made(name, tmp_path)
    protocol = "whole" if name == "fractional_lag" else "matched"
    with np.load(folder / "losses.npz") as stored:
        for length in (40, 60):
            losses, document, start, first = (
                stored[f"{protocol}/{length}/{key}"]
                for key in ("losses", "document", "start", "first")
            )
            floors = [
                splits.floors(d)[s + f + 1 : s + length + 1]
                for d, s, f in zip(document, start, first, strict=True)
            ]
            excess = losses - np.array(floors)
            assert np.isfinite(excess).all()
            # two steps from a random start: about ln(V + 1), and so above the floor
            assert excess.mean() > 0 and abs(losses.mean() - np.log(splits.vocab_size)) < 0.3
