"""The example chat in real browsers, over a real server."""

import pytest
from playwright.sync_api import Page, expect

from .conftest import OpenPage
from .pages import connection, enter, overflow, say
from .server import ChatServer

pytestmark = [pytest.mark.browser, pytest.mark.live]


def expect_lines(page: Page, *lines: tuple[str, str]) -> None:
    """The log holds these lines and no others, as (who, what)."""
    expect(page.locator(".line .author")).to_have_text([who for who, _ in lines])
    expect(page.locator(".line .text")).to_have_text([what for _, what in lines])


def test_two_people_talk(open_page: OpenPage) -> None:
    alice = enter(open_page(), "alice", "Lobby")
    bob = enter(open_page(), "bob", "Lobby")
    expect(alice.locator(".notice", has_text="bob joined")).to_be_visible()

    say(alice, "Hello Bob")
    expect_lines(bob, ("alice", "Hello Bob"))
    say(bob, "Hello <b>Alice</b>")

    expect_lines(alice, ("You", "Hello Bob"), ("bob", "Hello <b>Alice</b>"))
    expect_lines(bob, ("alice", "Hello Bob"), ("You", "Hello <b>Alice</b>"))


def test_who_comes_later_reads_what_was_said(open_page: OpenPage) -> None:
    alice = enter(open_page(), "alice", "Kitchen")
    say(alice, "What is for lunch?")
    expect_lines(alice, ("You", "What is for lunch?"))

    bob = enter(open_page(), "bob", "Kitchen")

    expect_lines(bob, ("alice", "What is for lunch?"))


def test_page_comes_back_after_a_restart_of_the_server(
    open_page: OpenPage, chat_server: ChatServer
) -> None:
    alice = enter(open_page(), "alice", "Workshop")
    say(alice, "before")
    expect_lines(alice, ("You", "before"))

    assert chat_server.stop() == 0
    expect(connection(alice)).to_have_text("Reconnecting…")
    say(alice, "typed meanwhile")
    expect(alice.get_by_role("alert")).to_contain_text("Your text is kept.")
    chat_server.start()
    expect(connection(alice)).to_have_text("Connected", timeout=30_000)

    # What could not be sent was kept, and is sent when its writer says so.
    expect_lines(alice, ("You", "before"))
    alice.get_by_role("textbox").press("Enter")
    expect_lines(alice, ("You", "before"), ("You", "typed meanwhile"))


def test_signed_out_page_stops_and_says_so(open_page: OpenPage) -> None:
    alice = enter(open_page(), "alice", "Lobby")
    alice.context.clear_cookies()

    # As when the browser puts a page to sleep and wakes it up.
    alice.evaluate("dispatchEvent(new Event('pagehide')); dispatchEvent(new Event('pageshow'))")

    expect(connection(alice)).to_have_text("Disconnected")
    expect(alice.get_by_role("alert")).to_contain_text("You are signed out.")
    expect(alice.get_by_role("link", name="Sign in again")).to_be_visible()


def test_nothing_sticks_out_of_a_narrow_phone(open_page: OpenPage) -> None:
    page = open_page()
    page.set_viewport_size({"width": 320, "height": 640})

    page.goto("/login/")
    assert overflow(page) == 0
    page.get_by_role("button", name="Sign in as alice").click()
    page.get_by_role("link", name="Kitchen").wait_for()
    assert overflow(page) == 0
    page.get_by_role("link", name="Kitchen").click()
    expect(connection(page)).to_have_text("Connected")
    say(page, "https://example.org/" + "long" * 60)
    page.get_by_text("longlong").wait_for()
    assert overflow(page) == 0
