"""Triton's kernels compiled for an H100 on a machine without one: no spills, enough memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

ROOT = Path(__file__).parent.parent
SHARED = 232_448  # bytes of shared memory that a block may have on an H100


def compiled(module):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", module]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=True, env=environment
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_the_tiles_that_are_chosen_fit_an_h100():
    found = compiled("tests.compiled_kernels")
    assert len(found) == 90
    for row in found:
        assert row["stack"] == 0 and row["shared"] <= SHARED, row
        # 16 bits: products on tensor cores; float32: exact ones.
        assert (row["wgmma"] > 0) == (row["dtype"] != "fp32"), row


@pytest.mark.slow
@pytest.mark.skipif(torch.version.cuda is None, reason="this torch is not built for CUDA")
def test_flex_attention_fits_an_h100():
    found = compiled("tests.compiled_flex")
    assert len(found) == 144
    for row in found:
        assert row["shared"] <= SHARED, row
        assert (row["wgmma"] > 0) == (row["dtype"] != "fp32"), row
        # The backward kernel is torch's own: it spills for heads of more than 64.
        assert row["stack"] <= (200 if row["pass"] == "forward" else 500), row
        assert row["stack"] == 0 or row["pass"] == "backward" or row["size"] > 64, row
