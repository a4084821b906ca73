"""Context profiles: counts against loops, a distribution, known gains, the cache, the list."""

import numpy as np
import pytest

from lengthgen.cli import main
from lengthgen.data import profile
from lengthgen.data.splits import prepare_splits
from lengthgen.errors import ConfigError, DataError
from lengthgen.statistics import context_model as cm

BYTES = {"name": "bytes"}
DIRICHLET = {
    "name": "dirichlet", "n_symbols": 8, "document_length": 700,
    "train_documents": 120, "validation_documents": 40,
}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def tokens(n, v=3, seed=0):
    return np.random.default_rng(seed).integers(v, size=n)


def test_counts_in_a_text_are_those_of_a_loop():
    stream, text = tokens(400, seed=1), tokens(60, seed=2)
    places = np.arange(20, 60, 7)
    found = cm.in_text(stream, text, places)
    for row, place in enumerate(places):
        for column, order in enumerate(cm.ORDERS):
            context = text[place - order : place]
            at = [t for t in range(order, 400) if np.array_equal(stream[t - order : t], context)]
            assert found.after[row, column] == len(at)
            assert found.same[row, column] == sum(stream[t] == text[place] for t in at)


def test_counts_in_windows_are_those_of_a_loop():
    text, places, windows = tokens(300, v=2), np.array([128, 200, 299]), [16, 40, 128]
    found = cm.in_windows(text, places, windows)
    for row, place in enumerate(places):
        for index, size in enumerate(windows):
            window = text[place - size : place]
            for column, order in enumerate(cm.ORDERS):
                context = window[size - order :]
                at = [
                    t for t in range(order, size) if np.array_equal(window[t - order : t], context)
                ]
                assert found.after[row, column, index] == len(at)
                assert found.same[row, column, index] == sum(window[t] == text[place] for t in at)


def fitted(v, windows, seed=0):
    predictor = cm.Predictor(tokens(2000, v, seed), v)
    held = tokens(600, v, seed + 1)
    predictor.fit(held, np.arange(windows[-1], 600), windows)
    return predictor


def test_the_chances_of_all_tokens_add_up_to_one():
    predictor, text, place = fitted(4, [16, 64]), tokens(100, 4, seed=9), 90
    total = np.zeros(2)
    for token in range(4):
        text[place] = token
        total += np.exp(-predictor.losses(text, np.array([place]), [16, 64])[0])
    assert total == pytest.approx([1, 1], abs=1e-12)


def test_only_the_last_k_tokens_are_seen():
    predictor, text, places = fitted(4, [16, 64]), tokens(200, 4, seed=9), np.array([150])
    before = predictor.losses(text, places, [16, 64])[0]
    text[: 150 - 64] = 3 - text[: 150 - 64]
    assert np.array_equal(before, predictor.losses(text, places, [16, 64])[0])
    text[150 - 64 : 150 - 16] = text[150]
    after = predictor.losses(text, places, [16, 64])[0]
    assert after[0] == before[0] and after[1] != before[1]


def test_exchangeable_documents_come_to_their_exact_floor(cache):
    found = profile.profile(prepare_splits(DIRICHLET, BYTES, cache), 32, cache)
    assert found.windows == [16, 32, 64, 128, 256, 512]
    excess = np.array(found.losses) - found.floors
    assert (excess > -0.002).all() and (excess < 0.02).all() and (excess[2:] < 0.002).all()
    assert found.lows[1] > 0.005, "the gain of four times the context is there and surely found"


def repeated(folder, back):
    """Documents of random letters in which every string of 8 comes again `back` letters later."""
    generator = np.random.default_rng(3)
    for number in range(40):
        text = generator.integers(97, 123, size=1500)
        for start in range(back, 1492, 16):
            text[start : start + 8] = text[start - back : start - back + 8]
        (folder / f"{number}.txt").write_bytes(text.astype(np.uint8).tobytes())
    return {"name": "files", "path": str(folder), "validation_fraction": 0.3}


def test_a_gain_is_found_where_the_repeats_are_and_nowhere_else(tmp_path, cache):
    splits = prepare_splits(repeated(tmp_path, 200), BYTES, cache)
    made = profile.profile(splits, 64, cache)
    found = dict(zip(made.windows, made.losses, strict=True))
    assert found[16] == pytest.approx(np.log(26), abs=0.02)
    assert found[128] - found[16] == pytest.approx(0, abs=0.01)
    assert found[128] - found[256] > 0.3
    assert found[1024] > found[256] - 0.02


def test_it_is_kept_by_the_fingerprint(cache, monkeypatch):
    splits = prepare_splits(DIRICHLET, BYTES, cache)
    before = profile.profile(splits, 16, cache)
    monkeypatch.setattr(profile, "_measured", None)
    assert str(profile.profile(splits, 16, cache)) == str(before)
    with pytest.raises(TypeError):  # another length is another profile
        profile.profile(splits, 8, cache)


def test_documents_that_are_too_short_shorten_the_windows_or_are_refused(cache):
    short = DIRICHLET | {"document_length": 170}
    found = profile.profile(prepare_splits(short, BYTES, cache), 32, cache)
    assert found.windows == [16, 32, 64] and np.isnan(found.gains[1:]).all()
    with pytest.raises(DataError, match="documents of at least 80 tokens"):
        tiny = DIRICHLET | {"document_length": 50}
        profile.profile(prepare_splits(tiny, BYTES, cache), 32, cache)


def test_the_list_prints_it(capsys, cache):
    given = ["dataset.n_symbols=8", "dataset.document_length=700", "dataset.train_documents=120"]
    given += ["dataset.validation_documents=40", "train_length=32", f"cache={cache}"]
    assert main.main(["list", "datasets", "--profile", "dirichlet", *given]) == 0
    said = capsys.readouterr().out
    assert "dirichlet, symbols-8: exact floor" in said and "to 4 L" in said
    assert len([line for line in said.splitlines() if line.startswith("dirichlet")]) == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["schemes", "--profile", "python"], "expected list datasets --profile"),
        (["datasets", "--profile", "seed=1"], "expected at least one name"),
        (["datasets", "--profile", "pyhton"], "nearest: python"),
    ],
)
def test_what_cannot_be_profiled_is_one_line(words, says, capsys):
    assert main.main(["list", *words]) == ConfigError.exit_code
    assert says in capsys.readouterr().err
