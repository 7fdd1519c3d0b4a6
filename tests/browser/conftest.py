"""
A real Chromium, and the example served by a real daphne, each stopped when done.

Without Chromium these tests are skipped and say so; with ``WSKIT_REQUIRE_BROWSER=1``
they fail instead, so that a CI job cannot lose them unnoticed. ``CHROMIUM`` names the
executable where it is not on the path.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from .server import ChatServer

# As long as its other waits: five seconds, its default, are few on a machine that is busy.
expect.set_options(timeout=60_000)

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def demo_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's database as the demo makes it, once for all tests of this process."""
    path = tmp_path_factory.mktemp("demo") / "chat.sqlite3"
    script = (
        "from django.core.management import call_command; from example_project.chat import demo;"
        "call_command('migrate', interactive=False, verbosity=0); demo.make_data()"
    )
    env = {**os.environ, "EXAMPLE_DB": str(path), "EXAMPLE_DEBUG": "1"}
    subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", script],
        cwd=Path(__file__).parents[2],
        env=env,
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
def chat_server(
    demo_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ChatServer]:
    shutil.copy(demo_database, tmp_path / "chat.sqlite3")
    monkeypatch.setenv("EXAMPLE_DB", str(tmp_path / "chat.sqlite3"))
    monkeypatch.setenv("EXAMPLE_DEBUG", "1")
    with ChatServer(tmp_path / "server.log") as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> str:
    asked = os.environ.get("CHROMIUM")
    found = shutil.which(asked) if asked else next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    reason = f"no Chromium: {asked or ', '.join(NAMES)} not found; CHROMIUM may name one"
    if os.environ.get("WSKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


# Not for the session: while Playwright runs, this thread counts as running an event
# loop, and the async tests of other modules could not have theirs.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=ARGUMENTS, timeout=120_000
        )
        yield browser
        browser.close()


OpenPage = Callable[[], Page]


@pytest.fixture
def open_page(browser: Browser, chat_server: ChatServer) -> Iterator[OpenPage]:
    """Open a page as another person would: in a browser context of its own."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def open_page() -> Page:
        context = browser.new_context(base_url=chat_server.address)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", note)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # A connection refused while the server restarts is what the page is there to bear.
    assert [text for text in complaints if "ERR_CONNECTION_REFUSED" not in text] == []
