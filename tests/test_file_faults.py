"""A sample of kills, failing calls, power cuts and damaged bytes.

All of them: python -m tests.file_faults, tests.crash_images and tests.byte_faults.
"""

import errno
import random
import shutil
import struct
import sys

import pytest

from lengthgen import files
from lengthgen.evaluation import seals

from . import byte_faults, crash_images, file_faults

needs_a_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="needs Linux and gcc"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with file_faults.server(tmp_path_factory.mktemp("shim")) as server:
        yield server


def sample(served, tmp_path, what, fault, cases):
    """The problems of about so many cases."""
    file_faults.write_inputs(tmp_path / "work")
    for before in file_faults.BEFORE[what]:
        assert served.work(tmp_path / "work", before)["code"] == 0
    calls = served.work(tmp_path / "work", what, fault)["calls"]
    assert calls > 20
    made = file_faults.found(served, tmp_path, what, fault, calls // cases, calls // (2 * cases))
    assert made.cases >= cases
    return made


@needs_a_compiler
def test_kills_in_the_phases_of_a_run(served, tmp_path):
    made = sample(served, tmp_path, "train", file_faults.FAULTS[0], 4)
    assert not made.problems and made.codes == {-9: made.cases}


@needs_a_compiler
@pytest.mark.parametrize("what", ["train", "study"])
def test_kills_at_any_time(served, tmp_path, what):
    chance = random.Random(1)
    made = file_faults.killed_at_random(served, tmp_path, what, "learned", 3, chance)
    assert not made.problems and made.codes[-9] == made.cases == 3


@needs_a_compiler
@pytest.mark.parametrize("fault", file_faults.FAULTS[1:], ids=lambda fault: fault.name)
def test_failing_calls_are_one_line_and_their_code(served, tmp_path, fault):
    cases = 2 if fault.number == errno.ENOSPC else 1
    made = sample(served, tmp_path, "train", fault, cases)
    assert not made.problems and set(made.codes) <= set(fault.codes)


@needs_a_compiler
@pytest.mark.slow
@pytest.mark.parametrize("what", list(file_faults.BEFORE))
@pytest.mark.parametrize("fault", file_faults.FAULTS, ids=lambda fault: fault.name)
def test_more_kills_and_failing_calls(served, tmp_path, what, fault):
    assert not sample(served, tmp_path, what, fault, 8).problems


@needs_a_compiler
def test_power_cuts_leave_old_or_new(served, tmp_path):
    made = crash_images.found(served, tmp_path, "train", every=10, rerun=80)
    assert made.points > 200 and made.images.total() > 120 and made.reruns >= 1
    assert not made.problems


@needs_a_compiler
def test_damaged_bytes_are_mended_or_said(served, tmp_path):
    counts = {"flip": 6, "cut": 3, "blank": 2}
    ended, problems = byte_faults.found(served, tmp_path, counts)
    assert not problems and ended.total() == sum(counts.values())


# That the checks can fail


def left(tmp_path, changes, way):
    """What halves() finds after these changes."""
    folder = tmp_path / "work"
    folder.mkdir()
    disk = crash_images.Disk(folder)
    for kind, name, offset, data in changes:
        disk.change(kind, str(folder / name), offset, data)
    folder.rmdir()
    disk.leave(way, folder)
    return crash_images.halves(folder)


WRITTEN = [("c", ".a.tmp", 1, b""), ("w", ".a.tmp", 0, b'{"a": 1}')]


@pytest.mark.parametrize("way", crash_images.WAYS)
def test_a_file_that_was_not_flushed_before_its_rename_may_be_half(tmp_path, way):
    renamed = ("r", ".a.tmp", 0, str(tmp_path / "work" / "done.json").encode())
    flushed = [*WRITTEN, ("s", ".a.tmp", 0, b""), renamed]
    broken = left(tmp_path, [*WRITTEN, renamed], way)
    assert bool(broken) == (way in ("no contents", "zeros", "half of the contents"))
    shutil.rmtree(tmp_path / "work")
    assert not left(tmp_path, flushed, way)


def test_names_that_were_not_flushed_are_the_old_ones(tmp_path):
    folder = tmp_path / "work"
    files.write_text(folder / "a.json", "1")
    disk = crash_images.Disk(folder)
    for kind, name, offset, data in [*WRITTEN, ("s", ".a.tmp", 0, b"")]:
        disk.change(kind, str(folder / name), offset, data)
    disk.change("r", str(folder / ".a.tmp"), 0, str(folder / "a.json").encode())
    for flushed, content in ((False, "1"), (True, '{"a": 1}')):
        if flushed:
            disk.change("s", str(folder), 0, b"")
        shutil.rmtree(folder)
        disk.leave("no names", folder)
        assert (folder / "a.json").read_text() == content


def test_what_is_damaged_is_found(tmp_path):
    evaluation = tmp_path / "runs" / "a" / "evaluation" / "0123abcd"
    files.write_text(evaluation / "lengths.csv", "x\n1\n")
    assert crash_images.halves(tmp_path) == ["runs/a/evaluation/0123abcd has no manifest"]
    seals.seal(evaluation, "a/0123abcd")
    assert crash_images.halves(tmp_path) == []
    (evaluation / "lengths.csv").write_text("x\n2\n")
    assert crash_images.halves(tmp_path) == ["runs/a/evaluation/0123abcd: lengths.csv is damaged"]


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = tmp_path / "record"
    record.write_bytes(
        struct.pack("4l", ord("w"), 2, 3, 7)
        + b"/a"
        + b"xyz"
        + struct.pack("4l", ord("s"), 2, 0, 0)
        + b"/a"
    )
    assert list(crash_images.changes(record)) == [("w", "/a", 7, b"xyz"), ("s", "/a", 0, b"")]


@needs_a_compiler
def test_what_fails_is_counted_and_another_outcome_is_a_problem(served, tmp_path, monkeypatch):
    """A fault that no code is right for, and a run that leaves other bytes."""
    strict = file_faults.Fault("none is right", 28, file_faults.MKDIR, codes=(0,))
    outcomes = iter(range(100))
    monkeypatch.setattr(file_faults, "outcome", lambda folder: {"a": str(next(outcomes))})
    made = file_faults.found(served, tmp_path, "train", strict, every=1000)
    assert [problem.split(": ")[1] for problem in made.problems] == ["exit 7", "other bytes in a"]
