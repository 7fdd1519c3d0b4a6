"""The example on the JavaScript client: it outlives a restart, and says how it stands."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from .conftest import OpenPage
from .pages import connection, enter, expect_lines, overflow, say
from .server import ChatServer

pytestmark = [pytest.mark.browser, pytest.mark.live]

COMING_BACK = re.compile(r"^Reconnecting in \d+ s$")


def waiting(page: Page) -> Locator:
    """The messages that have been written and are no lines yet."""
    return page.get_by_role("list", name="Your messages on their way").get_by_role("listitem")


def outbox(page: Page) -> Locator:
    return page.get_by_role("status", name="Outbox")


def stored(folder: Path) -> list[str]:
    """What has been said in the workshop, as the database has it."""
    with closing(sqlite3.connect(folder / "chat.sqlite3")) as database:
        select = "SELECT text FROM chat_chatline WHERE room_id = 'workshop' ORDER BY id"
        return [text for (text,) in database.execute(select)]


def test_what_is_written_during_a_restart_is_delivered_once_and_in_order(
    open_page: OpenPage, chat_server: ChatServer, tmp_path: Path
) -> None:
    """Issue: the state is visible, and queued messages are delivered once."""
    alice = enter(open_page(), "alice", "Workshop")
    bob = enter(open_page(), "bob", "Workshop")
    say(alice, "before")
    expect_lines(bob, ("alice", "before"))

    assert chat_server.stop() == 0
    expect(connection(alice)).to_have_text(COMING_BACK)
    texts = [f"written meanwhile, {number}" for number in range(5)]
    for text in texts:
        say(alice, text)
    expect(waiting(alice)).to_have_text(
        [re.compile(f"^\\s*Waiting for the connection\\s*{text}\\s*$") for text in texts]
    )
    expect(outbox(alice)).to_have_text("5 messages will be sent when the connection is back.")
    expect_lines(alice, ("You", "before"))
    chat_server.start()

    said = ["before", *texts]
    for page, name in ((alice, "You"), (bob, "alice")):
        expect(connection(page)).to_have_text("Connected")
        expect_lines(page, *((name, text) for text in said))
    expect(waiting(alice)).to_have_count(0)
    expect(outbox(alice)).to_be_empty()
    assert stored(tmp_path) == said


class Cut:
    """A wire to the server, which the first frame of one type cuts, until it is mended."""

    def __init__(self, page: Page, type_: str) -> None:
        self.type = type_
        self.happened = False
        self.mended = False
        page.route_web_socket("**/ws/", self._connect)

    def _connect(self, page: WebSocketRoute) -> None:
        if self.happened and not self.mended:
            page.close(code=1011)
            return
        server = page.connect_to_server()

        def forward(message: str | bytes, to: WebSocketRoute) -> None:
            if not self.happened and json.loads(message)["type"] == self.type:
                self.happened = True
                server.close()
                page.close(code=1011)
            else:
                to.send(message)

        page.on_message(lambda message: forward(message, server))
        server.on_message(lambda message: forward(message, page))


@pytest.mark.parametrize("lost", ["SEND_MESSAGE", "NEW_MESSAGE"])
def test_what_was_on_its_way_when_the_connection_broke_is_said_once(
    lost: str, open_page: OpenPage, tmp_path: Path
) -> None:
    """Whether it never arrived, or only the answer was lost, and also if it repeats a line."""
    page = open_page()
    enter(page, "alice", "Workshop")
    say(page, "hello")
    expect_lines(page, ("You", "hello"))
    cut = Cut(page, lost)
    page.reload()
    expect(connection(page)).to_have_text("Connected")

    say(page, "hello")

    expect(connection(page)).to_have_text(COMING_BACK)
    say(page, "and goodbye")
    expect(waiting(page)).to_have_count(2)
    cut.mended = True
    expect_lines(page, ("You", "hello"), ("You", "hello"), ("You", "and goodbye"))
    expect(waiting(page)).to_have_count(0)
    assert stored(tmp_path) == ["hello", "hello", "and goodbye"]


def test_what_waits_outlives_the_sleep_of_its_page(
    open_page: OpenPage, chat_server: ChatServer, tmp_path: Path
) -> None:
    """As when somebody leaves the page and comes back to it with the browser's button."""
    page = enter(open_page(), "alice", "Workshop")
    assert chat_server.stop() == 0
    expect(connection(page)).to_have_text(COMING_BACK)
    say(page, "one")
    say(page, "two")

    page.evaluate("dispatchEvent(new Event('pagehide'))")
    chat_server.start()
    page.evaluate("dispatchEvent(new Event('pageshow'))")

    expect(connection(page)).to_have_text("Connected")
    expect_lines(page, ("You", "one"), ("You", "two"))
    expect(waiting(page)).to_have_count(0)
    assert stored(tmp_path) == ["one", "two"]


def test_a_page_that_is_sent_away_says_why_and_gives_the_text_back(open_page: OpenPage) -> None:
    page = open_page()

    def refuse(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def forward(message: str | bytes) -> None:
            if json.loads(message)["type"] == "SEND_MESSAGE":
                socket.close(code=1008)
            else:
                server.send(message)

        socket.on_message(forward)

    page.route_web_socket("**/ws/", refuse)
    enter(page, "alice", "Workshop")

    say(page, "hello")

    expect(connection(page)).to_have_text("Disconnected")
    expect(page.get_by_role("alert")).to_contain_text("The server refused what this page sent.")
    expect(page.get_by_role("textbox")).to_have_value("hello")
    expect(waiting(page)).to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_disabled()


def test_a_message_that_is_refused_is_given_back(open_page: OpenPage) -> None:
    page = enter(open_page(), "alice", "Workshop")
    page.get_by_role("textbox").evaluate("box => box.removeAttribute('maxlength')")

    say(page, "x" * 2001)

    expect(page.get_by_role("alert")).to_contain_text("Your message was not sent:")
    expect(page.get_by_role("textbox")).to_have_value("x" * 2001)
    expect(waiting(page)).to_have_count(0)


def test_pages_lead_to_the_documentation(open_page: OpenPage) -> None:
    """Issue: the example links to the page of its contract; in DEBUG, for everybody."""
    page = enter(open_page(), "alice", "Lobby")

    page.get_by_role("link", name="API").click()

    page.wait_for_url("**/ws/docs/**")
    expect(page.get_by_role("heading", name="WebSocket API")).to_be_visible()
    for sent in ("HISTORY", "NEW_MESSAGE", "USER_JOINED", "USER_LEFT"):
        expect(page.get_by_role("link", name=sent, exact=True)).to_be_visible()


def test_waiting_messages_do_not_stick_out_of_a_narrow_phone(
    open_page: OpenPage, chat_server: ChatServer
) -> None:
    page = open_page()
    page.set_viewport_size({"width": 360, "height": 640})
    enter(page, "alice", "Workshop")
    assert overflow(page) == 0
    assert chat_server.stop() == 0
    expect(connection(page)).to_have_text(COMING_BACK)

    say(page, "https://example.org/" + "long" * 60)

    expect(waiting(page)).to_have_count(1)
    assert overflow(page) == 0
