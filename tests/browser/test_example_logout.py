"""Signing out in one tab of the example, and what the other tab makes of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import Page, expect

from tests.live.servers import daphne

from .conftest import OpenPage
from .pages import connection, enter
from .server import ChatServer

pytestmark = [pytest.mark.browser, pytest.mark.live]

BOUND = 20_000.0
"""
Milliseconds: a second, with much room for a machine that is busy.

And a third of ``revalidate_interval``, after which a signal that was lost is made up for.
"""

NOTE_CLOSES = """
(() => {
  const Native = WebSocket;
  globalThis.closes = [];
  globalThis.WebSocket = class extends Native {
    constructor(...given) {
      super(...given);
      this.addEventListener("close", ({ code, reason }) => {
        globalThis.closes.push({ code, reason, at: Date.now() });
      });
    }
  };
})();
"""


def sign_out(page: Page) -> float:
    """When the request went out, in milliseconds since the epoch."""
    with page.expect_request(lambda request: request.method == "POST") as leaving:
        page.get_by_role("button", name="Sign out").click()
    assert leaving.value.url.endswith("/logout/")
    page.wait_for_url("**/login/")
    return leaving.value.timing["startTime"]


def expect_signed_out(page: Page, room: str) -> None:
    """The page says that it is over, and how to come back."""
    expect(page.get_by_role("alert")).to_contain_text("You are signed out.")
    again = page.get_by_role("link", name="Sign in again")
    expect(again).to_have_attribute("href", f"/login/?next=/rooms/{room}/")


def end_of(page: Page, since: float) -> tuple[int, str]:
    """How the page's only socket was closed; in time."""
    expect(connection(page)).to_have_text("Disconnected")
    (close,) = page.evaluate("closes")
    took = close["at"] - since
    print(f"closed {took:.0f} ms after the request to sign out")  # noqa: T201 - a measurement
    assert took < BOUND
    return close["code"], close["reason"]


def test_signing_out_in_one_tab_ends_the_other(open_page: OpenPage) -> None:
    """Issue: with 4401 within a second, and the page says so; another person's stays."""
    first = open_page()
    second = first.context.new_page()
    second.add_init_script(NOTE_CLOSES)
    bob = enter(open_page(), "bob", "Lobby")
    enter(first, "alice", "Lobby")
    second.goto("/rooms/lobby/")
    expect(connection(second)).to_have_text("Connected")

    left_at = sign_out(first)

    assert end_of(second, left_at) == (4401, "SESSION_ENDED")
    expect_signed_out(second, "lobby")
    expect(connection(bob)).to_have_text("Connected")
    second.get_by_role("link", name="Sign in again").click()
    second.get_by_role("button", name="Sign in as alice").click()
    expect(connection(second)).to_have_text("Connected")


@pytest.fixture
def second_process(valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of another daphne that serves the example, with a layer that both share."""
    monkeypatch.setenv("REDIS_URL", valkey)
    monkeypatch.setenv("EXAMPLE_DB", str(tmp_path / "chat.sqlite3"))
    monkeypatch.setenv("EXAMPLE_DEBUG", "1")
    with daphne("example_project.asgi:application", tmp_path / "second.log") as server:
        yield f"http://127.0.0.1:{server.port}"


def test_a_tab_on_another_process_ends_as_well(
    second_process: str, chat_server: ChatServer, open_page: OpenPage
) -> None:
    """Issue: across two daphne processes. Cookies know no ports: both have the session."""
    first = open_page()
    second = first.context.new_page()
    second.add_init_script(NOTE_CLOSES)
    enter(first, "alice", "Lobby")
    second.goto(f"{second_process}/rooms/lobby/")
    expect(connection(second)).to_have_text("Connected")
    # Both processes hear each other: what is said on the one is read on the other.
    first.get_by_role("textbox").fill("Are you there?")
    first.get_by_role("textbox").press("Enter")
    expect(second.locator(".line .text")).to_have_text(["Are you there?"])

    left_at = sign_out(first)

    assert end_of(second, left_at) == (4401, "SESSION_ENDED")
    expect_signed_out(second, "lobby")


CLOSE_OF_A_SOCKET = """
() => new Promise((resolve) => {
  const socket = new WebSocket(`ws://${location.host}/ws/`);
  socket.onclose = ({ code, reason }) => resolve([code, reason]);
})
"""


def test_a_planted_session_is_not_the_one_that_signs_in(
    open_page: OpenPage, tmp_path: Path
) -> None:
    """Session fixation: the login view changes the key, and the planted one stays nobody's."""
    planted = "k" * 32
    row = (planted, SessionStore().encode({"planted": True}), "2999-01-01 00:00:00")
    with closing(sqlite3.connect(tmp_path / "chat.sqlite3")) as database, database:
        columns = "session_key, session_data, expire_date"
        database.execute(f"INSERT INTO django_session ({columns}) VALUES (?, ?, ?)", row)
    victim, attacker = open_page(), open_page()
    attacker.goto("/login/")
    for page in (victim, attacker):
        page.context.add_cookies(
            [{"name": "sessionid", "value": planted, "domain": "127.0.0.1", "path": "/"}]
        )

    enter(victim, "alice", "Lobby")

    (key,) = [one["value"] for one in victim.context.cookies() if one["name"] == "sessionid"]
    assert key != planted
    assert attacker.evaluate(CLOSE_OF_A_SOCKET) == [4401, "UNAUTHENTICATED"]
    expect(connection(victim)).to_have_text("Connected")
