"""The example chat in real browsers, over a real server."""

import pytest
from playwright.sync_api import expect

from .conftest import OpenPage
from .pages import connection, enter, expect_lines, overflow, say

pytestmark = [pytest.mark.browser, pytest.mark.live]


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
