"""Checked shapes, options of the test session, and what several test files need of the machine."""

import os
import signal
import socket
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

# The contracts that are annotated with shapes. The hook checks them at every call in the tests; it
# has to be there before the first import of lengthgen. Users' runs check nothing.
CONTRACTS = (
    "lengthgen.attention.dispatch",
    "lengthgen.data.batches",
    "lengthgen.decoding.cache",
    "lengthgen.decoding.generation",
    "lengthgen.decoding.sampling",
    "lengthgen.evaluation.scoring",
    "lengthgen.model",
    "lengthgen.schemes.base",
    "lengthgen.statistics.losses",
    "lengthgen.statistics.paired",
)
jaxtyping.install_import_hook(CONTRACTS, "beartype.beartype")

# Before any test file: Triton decides at its first import whether it interprets.
from . import attention_cases  # noqa: E402, F401


def pytest_addoption(parser):
    parser.addoption(
        "--oracles",
        metavar="FILE",
        help="run only the tests that compare with independent implementations, and write the table"
        " of their differences to FILE",
    )


def pytest_collection_modifyitems(session, config, items):
    if config.getoption("--oracles"):
        chosen = [item for item in items if "compare" in item.function.__code__.co_names]
        config.hook.pytest_deselected(items=set(items) - set(chosen))
        items[:] = chosen


def pytest_sessionfinish(session):
    from . import oracle

    if (path := session.config.getoption("--oracles")) and oracle.MADE:
        Path(path).write_text(oracle.table())


@pytest.fixture
def refusing():
    """The address of a port that is taken and on which nobody listens: connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Forty small documents of made-up words."""
    folder = tmp_path_factory.mktemp("text")
    chance = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "(", ")", "\n"]
    for i in range(40):
        (folder / f"d{i:02d}.txt").write_text(" ".join(chance.choice(words, 120)))
    return folder


@pytest.fixture
def ask(text, tmp_path):
    """A configuration of a small run, with dotted changes; results in tmp_path."""
    from .test_config import given

    def configured(**changes):
        small = {
            "dataset": "files", "dataset__path": str(text), "dataset__validation_fraction": 0.3,
            "results": str(tmp_path / "results"), "cache": str(tmp_path.parent / "cache"),
            "train_length": 16, "steps": 6, "batch_size": 4, "log_every": 2,
            "checkpoint_every": 2, "checkpoint_seconds": 0, "validate_every": 3, "threads": 1,
            "model__n_layers": 1, "model__n_heads": 2, "model__width": 16,
            "evaluation__documents": 4, "evaluation__blocks": 2, "evaluation__resamples": 50,
        }  # fmt: skip
        return given(**{**small, **changes})

    return configured


# Under nohup, or in the background of a shell, signals are ignored, by every child as well.
for _number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(
            _number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL
        )

# pytest-xdist tells its workers a width of the terminal, which tables would follow.
os.environ.pop("COLUMNS", None)
