"""The bar of a terminal and the plain lines elsewhere show the same progress."""

import itertools
import logging
import sys
from types import SimpleNamespace

import pytest

from lengthgen.terminal import progress as module
from lengthgen.terminal.progress import Progress, clock


@pytest.fixture(autouse=True)
def logged(caplog):
    caplog.set_level(logging.INFO, logger="lengthgen")


def test_plain_lines_have_percent_text_and_time_left(caplog, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    progress = Progress("step", 4, done=1)
    progress.advance(2, "loss 1.5")
    assert "step 2/4 (50 %)  loss 1.5  " in caplog.text and " left" in caplog.text


def test_plain_lines_are_not_too_many_and_the_last_is_there(caplog, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    twenty_seconds_a_call = itertools.count(0.0, 20.0).__next__
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=twenty_seconds_a_call))
    progress = Progress("evaluation", 1, every_seconds=60.0)
    for done in range(1, 9):
        progress.advance(done, total=8)
    assert [record.getMessage() for record in caplog.records] == [
        "evaluation 3/8 (37 %)  1m40s left",
        "evaluation 6/8 (75 %)  40s left",
        "evaluation 8/8 (100 %)  0s left",
    ]


def test_the_bar_follows_a_total_that_is_known_only_on_the_way(monkeypatch, caplog):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = Progress("evaluation", 1)
    progress.advance(300, "so far", total=1200)
    assert (progress.bar.n, progress.bar.total, progress.bar.postfix) == (300, 1200, "so far")
    progress.close()
    assert not caplog.records


@pytest.mark.parametrize(("seconds", "text"), [(9.4, "9s"), (75, "1m15s"), (3700, "1h01m")])
def test_clock(seconds, text):
    assert clock(seconds) == text
