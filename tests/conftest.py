"""Options of the test session, and what several test files need of the machine."""

import socket
from pathlib import Path

import pytest

from . import attention_cases  # noqa: F401  before any test file: Triton decides at its first import whether it interprets


def pytest_addoption(parser):
    told = "run only the tests that compare with independent implementations, and write the table of what they found to FILE"
    parser.addoption("--oracles", metavar="FILE", help=told)


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
    """The address of a port on which nobody listens, and which nobody can take: a connection is refused at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
