"""What tests do with the chat's pages."""

from playwright.sync_api import Locator, Page, expect


def enter(page: Page, name: str, room: str) -> Page:
    """Sign in by the login page's demo button, and go into the room."""
    page.goto("/")
    page.get_by_role("button", name=f"Sign in as {name}").click()
    page.get_by_role("link", name=room).click()
    expect(connection(page)).to_have_text("Connected")
    return page


def connection(page: Page) -> Locator:
    """Where the page says how its connection is."""
    return page.get_by_role("status", name="Connection")


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox").fill(text)
    page.get_by_role("textbox").press("Enter")


def expect_lines(page: Page, *lines: tuple[str, str]) -> None:
    """The log holds these lines and no others, as (who, what)."""
    expect(page.locator(".line .author")).to_have_text([who for who, _ in lines])
    expect(page.locator(".line .text")).to_have_text([what for _, what in lines])


def overflow(page: Page) -> int:
    """By how many pixels the page, or its log of messages, is wider than what shows of it."""
    width: int = page.evaluate(
        """Math.max(...[document.documentElement, ...document.querySelectorAll("[role=log]")]
            .map((box) => box.scrollWidth - box.clientWidth))"""
    )
    return width
