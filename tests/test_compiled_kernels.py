"""Triton's kernels compiled for an H100 on a machine without one: no spills, enough memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

ROOT = Path(__file__).parent.parent
SHARED = 232_448  # bytes of shared memory that a block may have on an H100


@pytest.mark.slow
def test_the_tiles_that_are_chosen_fit_an_h100():
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.compiled_kernels"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=True, env=environment
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 90
    for row in found:
        assert row["stack"] == 0 and row["shared"] <= SHARED, row
        # 16 bits: products on tensor cores; float32: exact ones.
        assert (row["wgmma"] > 0) == (row["dtype"] != "fp32"), row
