"""On a terminal bars are redrawn and lines stand whole; in a pipe there are plain lines alone."""

import io
import re
import subprocess
import sys
import time

import pytest

from lengthgen.terminal import above, progress

from .screen import Terminal, environment, lines

TALKING = """
import logging, sys, warnings
from lengthgen.terminal.messages import messages_shown
from lengthgen.terminal.progress import Progress, each, waiting
warnings.simplefilter("always")
with messages_shown(), Progress("outer", 3) as outer:
    for i in range(3):
        with Progress("inner", 2) as inner:
            inner.advance(1, "loss 1.5")
            logging.getLogger("lengthgen.some").info("a message %d", i)
            print("printed,", end=" "); print("in two parts")
            logging.getLogger("another").warning("of a library")
            warnings.warn("a warning")
            sys.stderr.write("to standard error\\n")
            inner.advance(2, "loss 1.25")
        outer.advance(i + 1)
    for _ in each("items", "abc", 3):
        print("an item")
    with waiting("something"):
        print("no", end="")
print(" end")
"""
SAID = ["a message {}", "printed, in two parts", "of a library", "to standard error"]


def test_lines_stand_whole_above_bars_that_are_redrawn(tmp_path):
    terminal = Terminal("-c", TALKING, folder=tmp_path)
    assert terminal.end() == 0
    screen = [line for line in lines(terminal.raw) if "warn" not in line]
    expected = [said.format(i) for i in range(3) for said in SAID]
    assert screen == [*expected, *["an item"] * 3, "no end"]
    warned = [line for line in lines(terminal.raw) if "warn" in line]
    assert len(warned) == 3
    assert all(re.fullmatch(r"<string>:\d+: UserWarning: a warning", line) for line in warned)
    # The same bar again and again, each time from the beginning of its line.
    assert terminal.raw.count("\router:  33%") > 1 and terminal.raw.count("\rinner:   0%") > 1
    assert "loss 1.5" in terminal.raw


def test_in_a_pipe_there_are_plain_lines_alone(tmp_path):
    command = [sys.executable, "-c", TALKING]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0
    assert not any(mark in done.stdout + done.stderr for mark in ("\r", "\033", "\b"))
    inner = ["inner 1/2 (50 %)  loss 1.5  0s left", "inner 2/2 (100 %)  loss 1.25  0s left"]
    assert done.stdout.splitlines() == [
        *(
            line
            for i in range(3)
            for line in (
                inner[0], f"a message {i}", "printed, in two parts", inner[1],
                f"outer {i + 1}/3 ({100 * (i + 1) // 3} %)  0s left",
            )
        ),
        *["an item"] * 3,
        "no end",
    ]  # fmt: skip


def test_a_bar_is_gone_before_the_error_is_said(tmp_path):
    code = (
        "import sys\nfrom lengthgen.cli import main\nfrom lengthgen.errors import DataError\n"
        "from lengthgen.terminal.progress import each\n"
        "def failing(argv):\n    for _ in each('work', range(3), 3):\n"
        "        if _ == 1:\n            raise DataError('no text; give some')\n"
        "main._dispatch = failing\nsys.exit(main.main([]))"
    )
    terminal = Terminal("-c", code, folder=tmp_path)
    assert terminal.end() == 3
    assert "\rwork:" in terminal.raw
    assert lines(terminal.raw) == ["lengthgen: no text; give some"]


def test_a_process_that_shares_its_terminal_shows_no_bar(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert progress.shows_bars()
    monkeypatch.setenv(progress.OFF, "1")
    assert not progress.shows_bars()
    with progress.Progress("runs", 3) as shown:
        assert shown.bar is None


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_redrawn_while_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    monkeypatch.setattr(progress, "REDRAWN_EVERY", 0.01)
    end = time.monotonic() + 60
    with progress.waiting("thinking"):
        while screen.getvalue().count("\rthinking: ") < 5 and time.monotonic() < end:
            time.sleep(0.01)
    assert screen.getvalue().count("\rthinking: ") >= 5
    assert screen.getvalue().endswith("\r") and "it/s" not in screen.getvalue()


def test_streams_are_put_back_and_outlive_the_bars(monkeypatch):
    screen, other = Screen(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", other)
    with above.bars() as where, above.bars() as inner:
        assert where is inner is screen
        assert sys.stdout is other  # a file stays as it is
        kept = sys.stderr
        kept.write("begun, ")
        assert screen.getvalue() == ""
        kept.write("ended\nand begun")
        kept.write("\rof another bar")
        assert screen.getvalue() == "begun, ended\n\rof another bar"
    assert sys.stderr is screen and screen.getvalue().endswith("and begun")
    kept.write(" again")
    assert screen.getvalue().endswith("and begun again")


@pytest.mark.parametrize("unit", ["B", "it"])
def test_lines_where_nobody_knows_the_total(monkeypatch, caplog, unit):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    caplog.set_level("INFO", "lengthgen")
    reading = progress.Progress("reading", None, unit=unit)
    reading.advance(12_300_000, "documents: 7")
    amount = "12.3MB" if unit == "B" else "12300000"
    assert caplog.messages == [f"reading {amount}  documents: 7  0s so far"]


def test_short_work_has_no_line(monkeypatch, caplog):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    caplog.set_level("INFO", "lengthgen")
    assert list(progress.each("items", "ab", 2)) == ["a", "b"]
    assert list(progress.each("items", "", 0)) == []
    assert caplog.messages == []


@pytest.mark.slow
def test_a_training_on_a_terminal_hears_ctrl_c_and_resumes(tmp_path):
    (tmp_path / "text.txt").write_text("".join(f"{i} and {i * i}, " for i in range(9000)))
    command = [
        "-m", "lengthgen", "train", "+scheme=none", "dataset=files", "dataset.path=text.txt",
        "steps=5000", "threads=1", "train_length=16", "model.width=16", "model.n_heads=2",
        "model.n_layers=1", "tracking=none", "log_every=1",
    ]  # fmt: skip
    terminal = Terminal(*command, folder=tmp_path)
    terminal.read_until("tokens/s")
    terminal.press("\x03")
    assert terminal.end() == 130
    screen = lines(terminal.raw)
    assert not any("it/s" in line or "step/s" in line for line in screen)
    assert screen[-2] == "lengthgen: stopping after this step (again: at once)"
    assert screen[-1].startswith("lengthgen: stopped at step ")
    again = Terminal(*command, folder=tmp_path)
    again.read_until("resuming at step")
    again.process.terminate()
    assert again.end() == 143 and "resuming at step" in again.raw
