"""torch.compile takes the training loss of every scheme whole: one graph, nothing outside it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lengthgen import schemes

from . import graphs

ROOT = Path(__file__).parent.parent
SCORES = graphs.SEQUENCES * graphs.SHAPE.n_heads * graphs.LONG**2  # of one layer
BIASED = ("alibi", "cable", "fire", "fox", "kerple_log", "t5_bias")


def captured(kernel, *names):
    command = [sys.executable, "-m", "tests.graphs", kernel, *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return {row["scheme"]: row for row in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("kernel", ["auto", "flex"])
def test_every_scheme_is_one_graph(kernel):
    found = captured(kernel)
    assert set(found) == set(schemes.names())
    for name, row in found.items():
        assert (row["error"], row["graphs"], row["complex"]) == ("", 1, False), name
        assert kernel == "flex" or row["difference"] < 1e-5, name


def test_on_a_gpu_a_bias_takes_flex_and_no_tensor_holds_every_score():
    plain = ("learned", "none", "rope")
    found = captured("gpu", *BIASED, *plain)
    assert set(found) == {*BIASED, *plain}
    for name, row in found.items():
        assert (row["error"], row["graphs"]) == ("", 1), name
        function = "flex_attention" if name in BIASED else "scaled_dot_product_attention"
        assert row["attention"] == [function], name
        # FIRE's own network is (T, T, 32), which no batch makes larger.
        assert row["largest"] <= SCORES // (2 if name == "fire" else 4), name


def test_with_masks_a_tensor_holds_every_score():
    """So the test above would see one."""
    for name, row in captured("sdpa", "fox", "t5_bias").items():
        assert row["error"] == "" and row["largest"] >= SCORES, name
