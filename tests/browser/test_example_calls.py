"""The example's calls in a real browser: profiles, and exports that can be watched and stopped."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from .conftest import OpenPage
from .pages import connection, enter, overflow, say
from .server import ChatServer

pytestmark = [pytest.mark.browser, pytest.mark.live]

CANCELLED = "export cancelled: room=archive done="


def export_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Export", exact=True)


def note(page: Page) -> Locator:
    """Where the page says what becomes of an export."""
    return page.get_by_role("status", name="Export")


def exported(page: Page) -> Locator:
    return page.get_by_role("progressbar", name="Messages exported")


class HeldReply:
    """Keeps an export's reply back until it is released: so long the page sees it run."""

    def __init__(self, page: Page) -> None:
        self._released = False
        self._kept: list[Callable[[], None]] = []
        page.route_web_socket("**/ws/", self._connect)

    def _connect(self, page: WebSocketRoute) -> None:
        server = page.connect_to_server()

        def forward(message: str | bytes) -> None:
            if json.loads(message)["type"] == "EXPORT_READY" and not self._released:
                self._kept.append(lambda: page.send(message))
            else:
                page.send(message)

        page.on_message(lambda message: server.send(message))
        server.on_message(forward)

    def release(self) -> None:
        self._released = True
        for send in self._kept:
            send()


NOTE_VALUES = """
() => {
  const bar = document.getElementById("export-bar");
  globalThis.values = [];
  const note = () => bar.hidden || globalThis.values.push(bar.value);
  new MutationObserver(note).observe(bar, { attributeFilter: ["value"] });
}
"""
"""Keep each value that the bar has while it is shown."""


@pytest.fixture
def long_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of the server, which starts after this, do not end while a test runs."""
    monkeypatch.setenv("EXAMPLE_EXPORT_PAUSE", "60")


def start_export(page: Page) -> None:
    """Start one, and come back when some of it has been done."""
    export_button(page).click()
    expect(page.locator("#export-count")).to_have_text(re.compile(r"^[1-9]\d* of 600$"))


def wait_for_log(page: Page, server: ChatServer, words: str) -> None:
    give_up = time.monotonic() + 30
    while words not in server.log:
        assert time.monotonic() < give_up, server.log
        page.wait_for_timeout(50)


def test_profile_opens_and_closes_by_keyboard(open_page: OpenPage) -> None:
    page = enter(open_page(), "alice", "Archive")
    name = page.get_by_role("button", name="bob").last
    card = page.get_by_role("dialog", name="bob")
    page.get_by_role("textbox").focus()

    page.keyboard.press("Shift+Tab")
    expect(name).to_be_focused()
    page.keyboard.press("Enter")
    expect(card).to_contain_text("Messages written 300")
    expect(card.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")

    expect(card).to_be_hidden()
    expect(name).to_be_focused()


def test_profile_of_a_deleted_account_is_politely_refused(open_page: OpenPage) -> None:
    page = enter(open_page(), "alice", "Lobby")
    say(page, "hello")
    page.locator(".line").evaluate("line => { line.dataset.author = 0 }")

    page.locator(".line").get_by_role("button").click()

    expect(page.get_by_role("dialog")).to_contain_text("This account no longer exists.")


def test_export_moves_its_bar_and_saves_a_file(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    reply = HeldReply(page)
    enter(page, "alice", "Archive")
    page.evaluate(NOTE_VALUES)
    with page.expect_download() as downloading:
        start_export(page)
        expect(exported(page)).to_be_visible()
        expect(exported(page)).to_have_js_property("value", 600)
        reply.release()

    values = page.evaluate("values")
    assert values == sorted(values)
    assert len(set(values)) > 3
    download = downloading.value
    download.save_as(tmp_path / "export.txt")
    lines = (tmp_path / "export.txt").read_text().splitlines()
    assert download.suggested_filename == "chat-archive.txt"
    assert [line.split(": ")[1] for line in lines] == [f"Note {n}" for n in range(1, 601)]
    assert lines[0].endswith(" alice: Note 1: 8 °C, clear.")
    expect(note(page)).to_have_text("Exported 600 messages.")
    expect(exported(page)).to_be_hidden()
    expect(page.get_by_role("link", name="Save chat-archive.txt")).to_be_visible()


@pytest.mark.usefixtures("long_exports")
def test_cancel_stops_an_export_here_and_on_the_server(
    open_page: OpenPage, chat_server: ChatServer
) -> None:
    page = enter(open_page(), "alice", "Archive")
    start_export(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Cancel the export")).to_be_focused()

    page.keyboard.press("Enter")

    expect(note(page)).to_have_text("The export was cancelled.")
    expect(exported(page)).to_be_hidden()
    expect(export_button(page)).to_be_focused()
    wait_for_log(page, chat_server, CANCELLED)
    start_export(page)  # and another may follow


@pytest.mark.usefixtures("long_exports")
def test_closing_the_page_stops_its_export(open_page: OpenPage, chat_server: ChatServer) -> None:
    witness = enter(open_page(), "bob", "Lobby")
    page = enter(open_page(), "alice", "Archive")
    start_export(page)

    page.close()

    wait_for_log(witness, chat_server, CANCELLED)
    assert not witness.is_closed()


@pytest.mark.usefixtures("long_exports")
def test_page_says_that_an_export_was_lost_with_the_connection(
    open_page: OpenPage, chat_server: ChatServer
) -> None:
    page = enter(open_page(), "alice", "Archive")
    start_export(page)

    assert chat_server.stop() == 0

    expect(note(page)).to_have_text("The export failed: The connection was lost.")
    export_button(page).click()
    expect(note(page)).to_have_text("The export failed: There is no connection at the moment.")
    chat_server.start()
    expect(connection(page)).to_have_text("Connected")
    start_export(page)


def test_page_says_why_an_export_failed(open_page: OpenPage) -> None:
    page = open_page()

    def answer_too_late(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def forward(message: str | bytes) -> None:
            frame = json.loads(message)
            if frame["type"] != "EXPORT_ROOM":
                server.send(message)
                return
            late = {"code": "DEADLINE_EXCEEDED", "message": "Deadline exceeded"}
            answer = {"type": "RPC_ERROR", "meta": frame["meta"], "payload": late}
            socket.send(json.dumps(answer))

        socket.on_message(forward)

    page.route_web_socket("**/ws/", answer_too_late)
    enter(page, "alice", "Archive")

    export_button(page).click()

    expect(note(page)).to_have_text("The export took too long and was stopped.")
    page.get_by_role("button", name="Close the note on the export").click()
    expect(note(page)).to_be_empty()
    expect(export_button(page)).to_be_focused()


def test_double_click_exports_once(open_page: OpenPage) -> None:
    page = enter(open_page(), "alice", "Lobby")
    say(page, "hello")
    expect(page.locator(".line")).to_have_count(1)
    requests: list[str] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda frame: requests.append(str(frame))),
    )
    page.reload()
    expect(connection(page)).to_have_text("Connected")

    export_button(page).dblclick(delay=300)  # long enough for the first to have ended

    expect(note(page)).to_have_text("Exported 1 message.")
    page.wait_for_timeout(300)
    assert len([frame for frame in requests if "EXPORT_ROOM" in frame]) == 1


def test_calls_do_not_stick_out_of_a_narrow_phone(open_page: OpenPage) -> None:
    page = open_page()
    page.set_viewport_size({"width": 320, "height": 640})
    reply = HeldReply(page)
    enter(page, "alice", "Archive")

    start_export(page)
    assert overflow(page) == 0
    reply.release()
    expect(note(page)).to_have_text("Exported 600 messages.")
    assert overflow(page) == 0
    page.get_by_role("button", name="bob").last.click()
    card = page.get_by_role("dialog")
    expect(card).to_contain_text("Member since")
    box = card.bounding_box()
    assert box is not None
    assert (box["x"] >= 0, box["x"] + box["width"] <= 320) == (True, True)
    assert overflow(page) == 0
