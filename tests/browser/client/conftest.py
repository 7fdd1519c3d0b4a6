"""Chromium pages with the JavaScript client, and the server they talk to."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from .coverage import Recorder
from .pages import WATCHED, ClientServer, Tab, tab

OpenTab = Callable[[ClientServer], Tab]


@pytest.fixture(scope="session")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientServer]:
    """A daphne that all tests of a module share."""
    with ClientServer(tmp_path_factory.mktemp("server") / "server.log") as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ClientServer]:
    """A daphne that a test may stop and start."""
    with ClientServer(tmp_path / "server.log") as server:
        yield server


@pytest.fixture
def open_tab(browser: Browser, recorder: Recorder) -> Iterator[OpenTab]:
    """Open the page of a server in a new tab; all tabs are of one browser context."""
    with ExitStack() as stack:
        context = browser.new_context()
        stack.callback(context.close)
        yield lambda server: stack.enter_context(tab(context, server.page, recorder))


@pytest.fixture
def page(open_tab: OpenTab, server: ClientServer) -> Tab:
    return open_tab(server)


@pytest.fixture
def watched(page: Tab) -> Tab:
    """A tab of the module's server, where ``make`` makes a client whose states are kept."""
    page.run(WATCHED)
    return page


@pytest.fixture
def alone(open_tab: OpenTab, own_server: ClientServer) -> Tab:
    """A tab as ``watched``, whose server is the test's own."""
    tab = open_tab(own_server)
    tab.run(WATCHED)
    return tab
