"""A thousand connections of fifty users at once, and what that asks of the database."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage
from websockets.typing import Origin

from tests.live.crowd import allow_many_files, ask, disperse
from tests.live.office import Office
from tests.live.servers import Server, free_port, python
from wskit_channels.identity import FRESH

pytestmark = pytest.mark.live

USERS = 50
TABS = 20
PATIENCE = 120.0


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The users' sessions, in the database that servers find in the environment."""
    allow_many_files()
    monkeypatch.setenv("MEMBERS_DB", str(tmp_path / "members.sqlite3"))
    monkeypatch.setenv("MEMBERS_LAYER", "memory")
    with Office(tmp_path / "office") as office:
        yield [office.member(f"user{number}") for number in range(USERS)]


def serve(name: str, log: Path) -> AbstractContextManager[Server]:
    """A daphne that gives up no handshake that has to wait for its turn."""
    port = free_port()
    argv = ["-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port)]
    patient = ["--websocket_connect_timeout", str(int(PATIENCE))]
    return python([*argv, *patient, f"tests.live.members:{name}"], port=port, log=log)


def tab(server: Server, session: str) -> connect:
    return connect(
        server.url,
        additional_headers={"Cookie": f"sessionid={session}"},
        origin=Origin(f"http://127.0.0.1:{server.port}"),
        compression=None,
        open_timeout=PATIENCE,
        ping_interval=None,
        proxy=None,
    )


async def come_back(server: Server, session: str) -> ClientConnection:
    """Connect, and again where the server had no room for one more handshake."""
    while True:
        try:
            return await tab(server, session)
        except (OSError, InvalidMessage):  # its listening socket has a short queue
            await asyncio.sleep(0.2)


async def storm(server: Server, sessions: Sequence[str]) -> tuple[list[ClientConnection], float]:
    """Every user's tabs connect, none waiting for another; the sockets, and the seconds."""
    began = time.monotonic()
    sockets = await asyncio.gather(*(come_back(server, one) for one in list(sessions) * TABS))
    return list(sockets), time.monotonic() - began


async def name_of(socket: ClientConnection) -> str:
    """Whom the server takes a client for."""
    await socket.send('{"type": "WHO"}')
    name: str = json.loads(await socket.recv())["payload"]["username"]
    return name


async def measure(server: Server, sessions: Sequence[str]) -> dict[str, Any]:
    """Have everybody come back to a server that was started anew; what that cost."""
    await ask(server, "queries/")
    sockets, seconds = await storm(server, sessions)
    queries = (await ask(server, "queries/"))["queries"]
    names = await asyncio.gather(*map(name_of, sockets))
    await disperse(sockets)
    return {"queries": queries, "seconds": seconds, "names": names}


async def test_a_reconnect_storm_is_no_database_storm(sessions: list[str], tmp_path: Path) -> None:
    """Issue: at most two queries a user; Channels' own stack beside it takes two a connection."""
    found = {}
    for name in ("application", "stock"):
        with serve(name, tmp_path / name) as server:
            async with asyncio.timeout(PATIENCE):
                found[name] = await measure(server, sessions)
    for name, one in found.items():
        print(  # noqa: T201 - the comparison
            f"{name}: {len(one['queries'])} queries, "
            f"{len(one['names']) / one['seconds']:.0f} connections a second"
        )

    expected = [f"user{number}" for number in range(USERS)] * TABS
    assert [one["names"] for one in found.values()] == [expected, expected]
    # What was loaded is shared for some seconds: on a slow machine this may take longer.
    rounds = 1 + int(found["application"]["seconds"] // FRESH)
    assert 0 < len(found["application"]["queries"]) <= 2 * USERS * rounds
    assert len(found["stock"]["queries"]) >= 2 * USERS * TABS
