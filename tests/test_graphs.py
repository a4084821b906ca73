"""torch.compile takes the training loss of every scheme whole: one graph, nothing outside it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lengthgen import schemes

ROOT = Path(__file__).parent.parent
GATES = {"cable", "fox"}  # flex has no form for them


@pytest.mark.parametrize("kernel", ["auto", "flex"])
def test_every_scheme_is_one_graph(kernel):
    command = [sys.executable, "-m", "tests.graphs", kernel]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    found = {row["scheme"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert set(found) == set(schemes.names())
    refused = GATES if kernel == "flex" else set()
    for name, row in found.items():
        if name in refused:
            assert "no form for gates" in row["error"]
            continue
        assert (row["error"], row["graphs"], row["complex"]) == ("", 1, False), name
        assert kernel == "flex" or row["difference"] < 1e-5, name
