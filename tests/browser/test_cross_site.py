"""A page of another origin, in the browser of somebody who is signed in to the example."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page

from .pages import enter
from .server import ChatServer

pytestmark = [pytest.mark.browser, pytest.mark.live]

TRY = """
(url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  const join = { type: "JOIN_ROOM", payload: { room: "lobby" } };
  socket.onopen = () => socket.send(JSON.stringify(join));
  socket.onmessage = ({ data }) => { socket.close(); resolve(JSON.parse(data).type); };
  socket.onclose = ({ code }) => resolve(code);
})
"""
"""Enter the lobby; the type of what is heard there, or the code of the close."""


class OtherSite:
    """Serves one empty page, at all its names, and keeps the cookies that came with requests."""

    def __init__(self) -> None:
        self.cookies: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.cookies.append(self.headers.get("Cookie", ""))
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>Hi</title>")

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test run's own output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def other_site() -> Iterator[OtherSite]:
    site = OtherSite()
    yield site
    site.stop()


@pytest.fixture
def alice(browser: Browser, chat_server: ChatServer) -> Iterator[Page]:
    """Her browser, where she is signed in."""
    context = browser.new_context(base_url=chat_server.address)
    yield enter(context.new_page(), "alice", "Lobby")
    context.close()


def test_another_origins_page_cannot_open_a_socket(
    alice: Page, chat_server: ChatServer, other_site: OtherSite
) -> None:
    """
    Issue: with the user's cookies, which know no ports: another port has them all.

    Between ``localhost`` and ``127.0.0.1`` the browser holds them back as well.
    """
    socket = f"{chat_server.address}/ws/".replace("http", "ws")
    page = alice.context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    tried = []
    for name in ("127.0.0.1", "localhost"):
        page.goto(f"http://{name}:{other_site.port}/")
        with page.expect_console_message():  # it may come a moment after the close
            tried.append(page.evaluate(TRY, socket))

    assert tried == [1006, 1006]
    assert ["Unexpected response code: 403" in text for text in said] == [True, True]
    assert ["sessionid=" in cookie for cookie in other_site.cookies] == [True, False]
    assert alice.evaluate(TRY, socket) == "HISTORY"
