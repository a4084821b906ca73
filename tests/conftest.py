"""Checked shapes, options of the test session, and what several test files need of the machine."""

import socket
from pathlib import Path

import jaxtyping
import pytest

# The contracts that are annotated with shapes. The hook checks them at every call in the tests; it
# has to be there before the first import of lengthgen. Users' runs check nothing.
CONTRACTS = (
    "lengthgen.attention.dispatch",
    "lengthgen.data.batches",
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
