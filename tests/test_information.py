"""Mutual information by lag: closed forms, and the two real texts that a study compares."""

import numpy as np
import pytest

from lengthgen.data.datasets import unicode_records
from lengthgen.data.splits import make_dataset
from lengthgen.statistics import information


def test_independent_tokens_have_none_and_the_bias_is_taken_off():
    tokens = np.random.default_rng(0).integers(20, size=50_000)
    found = information.by_lag(tokens, range(1, 9))
    assert np.abs(found).max() < 1e-3  # counting alone would say (19 * 19) / 2N = 0.0036


def test_a_copy_channel_has_its_closed_form_at_its_lag_alone():
    generator, v, p, lag = np.random.default_rng(1), 8, 0.6, 5
    tokens = generator.integers(v, size=200_000)
    for t in range(lag, len(tokens)):
        if generator.random() < p:
            tokens[t] = tokens[t - lag]
    found = information.by_lag(tokens, range(1, 11))
    same, other = p + (1 - p) / v, (1 - p) / v
    exact = np.log(v) + same * np.log(same) + (v - 1) * other * np.log(other)
    assert found[lag - 1] == pytest.approx(exact, abs=0.01)
    assert np.abs(np.delete(found, [4, 9])).max() < 1e-3


def test_records_are_periodic_and_prose_is_not():
    def curve(name: str) -> np.ndarray:
        text = b"".join(
            document.text for document in make_dataset({"name": name}).documents("validation")
        )
        return information.by_lag(np.frombuffer(text, np.uint8)[:60_000], range(1, 33))

    records, prose = curve("unicode_records"), curve("python_manual")
    assert (
        set(np.argsort(records)[-2:] + 1) == {16, 32}
        and records[15] > 2 * np.delete(records, [15, 31]).max()
    )
    assert prose[0] == prose.max() and (np.diff(prose[:4]) < 0).all()
    assert prose[15] < 0.5 * prose[1]


def test_a_record_is_16_bytes():
    lines = {
        unicode_records.record(character)
        for character in ("A", "é", "\u0301", "א", "😀", "\U0001e900")
    }
    assert {len(line.encode()) for line in lines} == {16} and unicode_records.record(
        "A"
    ) == "00041 Lu L    0\n"
