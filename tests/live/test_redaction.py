"""What real servers print about a URL that carries a token."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.live.clients import receive, send
from tests.live.servers import Server, free_port, python

pytestmark = pytest.mark.live

APPLICATION = "tests.live.app:application"
TOKEN = "tok-3f9a81c2d4"
PATIENCE = 60.0


def arguments(server: str, port: int) -> list[str]:
    return {
        "daphne": ["-m", "daphne", "-v", "2", "-b", "127.0.0.1", "-p", str(port), APPLICATION],
        "uvicorn": ["-m", "uvicorn", "--port", str(port), APPLICATION],
        "uvicorn, trace": [
            *("-m", "uvicorn", "--port", str(port), "--log-level", "trace", APPLICATION)
        ],
    }[server]


async def visit(server: Server) -> None:
    """Connect with the token in each place that may carry one, and where nothing listens."""
    address = f"ws://127.0.0.1:{server.port}"
    plain: dict[str, Any] = {"compression": None, "proxy": None, "ping_interval": None}
    for query in (f"access_token={TOKEN}", f"a=1&access%5Ftoken={TOKEN}&b=2"):
        async with connect(f"{address}/?{query}", **plain) as socket:
            await send(socket, "PING", text="hello")
            assert (await receive(socket))["payload"] == {"text": "hello"}
    headers = {"Authorization": f"Bearer {TOKEN}", "Cookie": f"sessionid={TOKEN}"}
    async with connect(
        f"{address}/",
        subprotocols=[Subprotocol(f"bearer.{TOKEN}")],
        additional_headers=headers,
        **plain,
    ) as socket:
        await send(socket, "PING", text="hello")
        await receive(socket)
    with pytest.raises(InvalidStatus):
        await connect(f"{address}/nowhere?access_token={TOKEN}", **plain)


def printed(server: Server, enough: Callable[[str], object]) -> str:
    """What a server has printed once that is enough; it writes in its own time."""
    give_up = time.monotonic() + PATIENCE
    while not enough(text := server.log.read_text()) and time.monotonic() < give_up:
        time.sleep(0.05)
    return text


@pytest.mark.parametrize("name", ["daphne", "uvicorn", "uvicorn, trace"])
async def test_no_token_is_printed(name: str, tmp_path: Path) -> None:
    """PROTOCOL 9: tokens are never logged; nor by the server's own lines."""
    port = free_port()
    with python(arguments(name, port), port=port, log=tmp_path / "log") as server:
        await visit(server)
        text = printed(server, lambda text: "/nowhere" in text)

    assert "/nowhere" in text
    assert TOKEN not in text


def get(server: Server, path: str) -> int:
    """The status of a plain HTTP request."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{server.port}{path}", timeout=PATIENCE) as response:
            status: int = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    return status


@pytest.mark.parametrize(
    "argv",
    [
        ["-m", "daphne", "-p", "{port}", "example_project.asgi:application"],
        ["manage.py", "runserver", "--noreload", "{port}"],
        ["-m", "uvicorn", "--port", "{port}", "example_project.asgi:application"],
    ],
    ids=["daphne", "runserver", "uvicorn"],
)
def test_no_token_of_an_http_request_is_printed(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PROTOCOL 9: the socket's URL asked for by a page, or a proxy, that cannot upgrade."""
    monkeypatch.setenv("EXAMPLE_DB", str(tmp_path / "db.sqlite3"))
    port = free_port()
    argv = [argument.format(port=port) for argument in argv]
    with python(argv, port=port, log=tmp_path / "log") as server:
        assert get(server, f"/nowhere/?access_token={TOKEN}") == 404
        text = printed(server, lambda text: "access_token=[redacted]" in text)

    assert "/nowhere/?access_token=[redacted]" in text
    assert TOKEN not in text
