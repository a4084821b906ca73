"""Options of the test session, and what several test files need of the machine."""

import socket
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--oracles", metavar="FILE", help="write the table of comparisons with independent implementations to FILE")


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
