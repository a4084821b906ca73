"""process.py: what it sets in a process, and that a user's settings stay."""

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
for _ in range(20):  # the heap takes some rounds to hold a place for each tensor
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(10 * 2**20) for _ in range(4)]
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    del tensors
print(faults[-1])
"""


def _faults(mode: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", REUSED, mode]
    result = subprocess.run(command, env=clean, capture_output=True, text=True, check=True)
    return int(result.stdout)


@pytest.fixture
def nothing_set(monkeypatch):
    malloc = [name for name in os.environ if name.startswith("MALLOC_")]
    for name in (*malloc, "GLIBC_TUNABLES", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}),
    reason="only glibc's malloc has these settings",
)
def test_kept_memory_is_not_faulted_in_again():
    """glibc itself gives every block over 32 MiB back as soon as it is freed."""
    assert _faults("kept") < _faults("as it is") / 2


@pytest.mark.parametrize(
    "name", ["MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD"]
)
def test_a_users_malloc_settings_are_left_alone(name, nothing_set, monkeypatch):
    monkeypatch.setenv(name, "")
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: pytest.fail("malloc was set up"))
    assert not process.keep_memory()


def test_another_libc_is_left_alone(nothing_set, monkeypatch):
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: object())
    assert not process.keep_memory()


def test_every_setting_is_made(nothing_set, monkeypatch):
    settings = {}

    class Libc:
        @staticmethod
        def mallopt(parameter: int, value: int) -> int:
            settings[parameter] = value
            return 1

    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: Libc)
    assert process.keep_memory() and settings == {
        process.M_MMAP_MAX: 0,
        process.M_TRIM_THRESHOLD: 2**31 - 1,
        process.M_TOP_PAD: 2**26,
    }


WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.mark.parametrize("name", WAITING)
def test_a_users_waiting_policy_is_left_alone(name, monkeypatch):
    for variable in WAITING:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, "user")
    process.prepare_environment()
    assert {v: os.environ[v] for v in WAITING if os.environ.get(v)} == {name: "user"}


@pytest.mark.parametrize(
    "busy, expected", [(True, ("OMP_WAIT_POLICY", "PASSIVE")), (False, ("GOMP_SPINCOUNT", "10000"))]
)
def test_waiting_threads_spin_briefly_or_on_a_busy_machine_not_at_all(busy, expected, monkeypatch):
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(process, "_machine_is_busy", lambda: busy)
    process.prepare_environment()
    assert [(name, os.environ[name]) for name in WAITING if name in os.environ] == [expected]
