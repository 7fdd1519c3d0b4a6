"""A forged ``X-Forwarded-For``, where one address may have so many connections: real servers."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from tests.live.clients import receive
from tests.live.servers import PATIENT, Server, free_port, python

pytestmark = pytest.mark.live

PATIENCE = 120.0
TOO_MANY = (4429, "TOO_MANY_CONNECTIONS")
ARGUMENTS = {
    "daphne": ["-m", "daphne", *PATIENT, "-b", "127.0.0.1", "-p"],
    # uvicorn itself believes whoever connects from this machine, unless told not to.
    "uvicorn": ["-m", "uvicorn", "--no-proxy-headers", "--port"],
}
Serve = Callable[[list[str]], list[Server]]


@pytest.fixture
def serve(valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start both servers, which count two connections an address together."""
    monkeypatch.setenv("MEMBERS_DB", str(tmp_path / "members.sqlite3"))
    monkeypatch.setenv("MEMBERS_LAYER", valkey)
    with ExitStack() as stack:

        def serve(proxies: list[str]) -> list[Server]:
            wskit = {"MAX_CONNECTIONS_PER_IP": 2, "TRUSTED_PROXIES": proxies}
            monkeypatch.setenv("MEMBERS_WSKIT", json.dumps(wskit))
            started = []
            for name, argv in ARGUMENTS.items():
                port = free_port()
                served = [*argv, str(port), "tests.live.members:application"]
                server = python(served, port=port, log=tmp_path / name)
                started.append(stack.enter_context(server))
            return started

        yield serve


def knock(server: Server, forwarded_for: str) -> connect:
    return connect(
        server.url,
        additional_headers={"X-Forwarded-For": forwarded_for},
        origin=Origin(f"http://127.0.0.1:{server.port}"),
        ping_interval=None,
        proxy=None,
    )


async def address_of(socket: ClientConnection) -> str:
    """What the server takes a client's address for."""
    await socket.send('{"type": "WHO"}')
    address: str = (await receive(socket))["payload"]["client_ip"]
    return address


async def refusal(server: Server, forwarded_for: str) -> tuple[int | None, str | None]:
    """How a client is closed that asks for nothing."""
    async with knock(server, forwarded_for) as socket:
        await socket.wait_closed()
        return socket.close_code, socket.close_reason


async def test_a_forged_header_makes_nobody_another(serve: Serve) -> None:
    """Issue: where no proxy is trusted, the address is the one that the server sees."""
    servers = serve([])
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        inside = [
            await stack.enter_async_context(knock(server, f"203.0.113.{number}"))
            for number, server in enumerate(servers)
        ]
        addresses = [await address_of(socket) for socket in inside]
        refusals = [await refusal(server, "198.51.100.9") for server in servers]

    assert addresses == ["127.0.0.1"] * 2
    assert refusals == [TOO_MANY] * 2


async def test_behind_a_trusted_proxy_only_its_own_entry_counts(serve: Serve) -> None:
    """Issue: a client may write what it likes before the entry that the proxy adds."""
    servers = serve(["127.0.0.1"])
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        inside = [
            await stack.enter_async_context(knock(server, f"198.51.100.{number}, 203.0.113.5"))
            for number, server in enumerate(servers)
        ]
        addresses = [await address_of(socket) for socket in inside]
        refusals = [await refusal(server, "198.51.100.9, 203.0.113.5") for server in servers]
        for server in servers:
            async with knock(server, "203.0.113.5, 203.0.113.6") as neighbour:
                addresses.append(await address_of(neighbour))

    assert addresses == ["203.0.113.5", "203.0.113.5", "203.0.113.6", "203.0.113.6"]
    assert refusals == [TOO_MANY] * 2
