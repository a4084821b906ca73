"""process.py: what it sets in a process, and that a user's own settings stay."""

import os
import subprocess
import sys

import pytest

from lengthgen.runs import process

REUSED = """
import resource, sys
from lengthgen.runs import process
if sys.argv[1] == "kept":
    assert process.keep_memory()
import torch
torch.set_num_threads(1)
faults = []
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(10 * 2**20) for _ in range(4)]
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    del tensors
print(faults[-1])
"""


def _faults(mode: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return int(
        subprocess.run(
            [sys.executable, "-c", REUSED, mode],
            env=clean,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )


@pytest.fixture
def nothing_set(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MALLOC_")] + [
        "GLIBC_TUNABLES",
        "LD_PRELOAD",
    ]:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}),
    reason="glibc's malloc alone can be told",
)
def test_kept_memory_is_not_faulted_in_again():
    """glibc itself gives every block over 32 MiB back as soon as it is freed."""
    assert _faults("kept") < _faults("as it is") / 2


@pytest.mark.parametrize(
    "own", ["MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD"]
)
def test_a_users_own_malloc_is_left_alone(own, nothing_set, monkeypatch):
    monkeypatch.setenv(own, "")
    monkeypatch.setattr(
        process.ctypes, "CDLL", lambda _: pytest.fail("malloc was set up all the same")
    )
    assert not process.keep_memory()


def test_another_libc_is_left_alone(nothing_set, monkeypatch):
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: object())
    assert not process.keep_memory()


def test_every_setting_is_made(nothing_set, monkeypatch):
    made = {}

    class Libc:
        @staticmethod
        def mallopt(parameter: int, value: int) -> int:
            made[parameter] = value
            return 1

    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: Libc)
    assert process.keep_memory() and made == {
        process.M_MMAP_MAX: 0,
        process.M_TRIM_THRESHOLD: 2**31 - 1,
        process.M_TOP_PAD: 2**26,
    }


@pytest.mark.parametrize("own", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_a_users_own_waiting_is_left_alone(own, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(own, "own")
    process.prepare_environment()
    assert {
        name: os.environ.get(name)
        for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
        if os.environ.get(name)
    } == {own: "own"}


@pytest.mark.parametrize(
    "busy, expected", [(True, ("OMP_WAIT_POLICY", "PASSIVE")), (False, ("GOMP_SPINCOUNT", "10000"))]
)
def test_waiting_threads_spin_briefly_or_on_a_busy_machine_not_at_all(busy, expected, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(process, "_machine_is_busy", lambda: busy)
    process.prepare_environment()
    assert [
        (name, os.environ[name])
        for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
        if name in os.environ
    ] == [expected]
