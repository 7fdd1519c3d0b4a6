"""
Speak to a running demo as a browser would: sign in, enter the lobby, say something, hear it.

    python -m tests.live.demo http://127.0.0.1:8000/
"""

# ruff: noqa: T201 - a command: it prints

import asyncio
import re
import sys
from http.cookiejar import CookieJar
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, OpenerDirector, ProxyHandler, build_opener

from websockets.asyncio.client import connect
from websockets.typing import Origin

from tests.live.clients import RECEIVE_TIMEOUT, receive, send


def sign_in(url: str) -> str:
    """Follow ``url`` to the login page and sign in there; return the session as a Cookie header."""
    cookies = CookieJar()
    browser = build_opener(HTTPCookieProcessor(cookies), ProxyHandler({}))
    login_url, page = fetch(browser, url)
    if "login" not in login_url:
        raise RuntimeError(f"{url} led to {login_url}, not to a login page")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    if token is None:
        raise RuntimeError(f"the login page has no CSRF token:\n{page}")
    form = {"csrfmiddlewaretoken": token[1], "username": "alice", "password": "demo"}
    landed, _ = fetch(browser, login_url, form)
    if "login" in landed:
        raise RuntimeError("signing in as alice led back to the login page")
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies)


def fetch(browser: OpenerDirector, url: str, form: dict[str, str] | None = None) -> tuple[str, str]:
    """GET, or POST a form; return where it led and the page there."""
    data = None if form is None else urlencode(form).encode()
    with browser.open(url, data, timeout=RECEIVE_TIMEOUT) as response:
        return response.url, response.read().decode()


async def talk(url: str, cookie: str) -> str:
    """Say something in the lobby; return what the lobby heard."""
    said = "Is anybody there?"
    async with (
        asyncio.timeout(RECEIVE_TIMEOUT),
        connect(
            urljoin(url, "/ws/").replace("http", "ws", 1),
            additional_headers={"Cookie": cookie},
            origin=Origin(url.rstrip("/")),
            proxy=None,
        ) as socket,
    ):
        await send(socket, "JOIN_ROOM", room="lobby")
        await send(socket, "SEND_MESSAGE", room="lobby", text=said)
        while (frame := await receive(socket))["type"] != "NEW_MESSAGE":
            if frame["type"] == "ERROR":
                raise RuntimeError(f"the demo answered {frame['payload']}")
    heard: str = frame["payload"]["line"]["text"]
    return heard


if __name__ == "__main__":
    url = sys.argv[1]
    print(f"The lobby heard: {asyncio.run(talk(url, sign_in(url)))}")
