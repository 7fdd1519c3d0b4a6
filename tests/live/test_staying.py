"""
Who may stay, across processes: two daphne, one uvicorn, a Valkey between them, one
database, and another process that serves nothing and gives the orders.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from tests.live.clients import receive
from tests.live.office import Office
from tests.live.servers import Server, daphne, uvicorn

pytestmark = pytest.mark.live

APPLICATION = "tests.live.members:application"
PATIENCE = 120.0
BOUND = 3.0
"""Seconds within which an order is carried out: one, with room for a machine that is busy."""

ENDED = (4401, "SESSION_ENDED")


@dataclass(frozen=True)
class Site:
    servers: Sequence[Server]
    office: Office


@pytest.fixture(scope="module")
def site(valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("MEMBERS_DB", str(folder / "members.sqlite3"))
        patch.setenv("MEMBERS_LAYER", valkey)
        # Only what is told counts here: no round may come to its help.
        patch.setenv("MEMBERS_WSKIT", json.dumps({"REVALIDATE_INTERVAL": 0}))
        office = stack.enter_context(Office(folder / "office"))
        servers = [
            stack.enter_context(serve(APPLICATION, folder / name))
            for name, serve in (("one", daphne), ("two", daphne), ("three", uvicorn))
        ]
        yield Site(servers, office)


def tab(server: Server, session: str) -> connect:
    """A socket that a page of this site opens with a session's cookie."""
    return connect(
        server.url,
        additional_headers={"Cookie": f"sessionid={session}"},
        origin=Origin(f"http://127.0.0.1:{server.port}"),
        compression=None,
        ping_interval=None,
        proxy=None,
    )


async def who(socket: ClientConnection) -> dict[str, str]:
    """What the server knows the client as."""
    await socket.send('{"type": "WHO"}')
    me: dict[str, str] = (await receive(socket))["payload"]
    return me


async def end_of(socket: ClientConnection) -> tuple[int | None, str | None, float]:
    """Code, reason and time of the close."""
    await socket.wait_closed()
    return socket.close_code, socket.close_reason, time.time()


@asynccontextmanager
async def everywhere(
    site: Site, name: str, count: int
) -> AsyncIterator[tuple[str, list[ClientConnection]]]:
    """Tabs of a new user, so many in each process, and the session that they share."""
    session = await asyncio.to_thread(site.office.member, name)
    async with AsyncExitStack() as stack:
        tabs = [
            await stack.enter_async_context(tab(server, session))
            for server in site.servers
            for _ in range(count)
        ]
        yield session, tabs


@asynccontextmanager
async def bystander(site: Site, name: str) -> AsyncIterator[None]:
    """
    Somebody who is in every process and meant by no order, and must be there at the end.

    The processes listen for orders when the block begins, and go on as long as it lasts.
    """
    async with everywhere(site, f"bystander of {name}", 1) as (_, staying):
        async with everywhere(site, f"first of {name}", 1) as (_, going):
            first = f"first of {name}"
            await asyncio.to_thread(site.office.order, "new password", first, "")
            await asyncio.gather(*map(end_of, going))
        yield
        assert [(await who(one))["username"] for one in staying] == [f"bystander of {name}"] * 3


@pytest.mark.parametrize(
    "order",
    [
        "log out",
        "new password",
        "deactivate",
        "delete",
        "disconnect_user",
        "disconnect_session",
    ],
)
async def test_all_tabs_in_all_processes_are_closed(site: Site, order: str) -> None:
    """DESIGN 10: with 4401 within a second, by an order of a process without sockets."""
    name = f"alice of {order}"
    async with (
        asyncio.timeout(PATIENCE),
        bystander(site, order),
        everywhere(site, name, 2) as (session, tabs),
    ):
        assert [(await who(one))["username"] for one in tabs] == [name] * 6
        _, began = await asyncio.to_thread(site.office.order, order, name, session)
        ends = await asyncio.gather(*map(end_of, tabs))

    slowest = max(at for _, _, at in ends) - began
    print(f"{order}: the last of 6 was closed after {slowest:.3f} s")  # noqa: T201 - a measurement
    assert [end[:2] for end in ends] == [ENDED] * 6
    assert slowest < BOUND


async def test_one_client_of_another_process_is_closed(site: Site) -> None:
    """DESIGN 10: ``disconnect(client_id)`` closes that one, and no other tab."""
    async with (
        asyncio.timeout(PATIENCE),
        bystander(site, "disconnect"),
        everywhere(site, "dora", 2) as (_, tabs),
    ):
        ids = [(await who(one))["client_id"] for one in tabs]
        took = []
        for place in (0, 2, 4):  # one in each process
            _, began = await asyncio.to_thread(site.office.order, "disconnect", ids[place])
            *end, at = await end_of(tabs[place])
            assert tuple(end) == ENDED
            took.append(at - began)
        left = [(await who(tabs[place]))["client_id"] for place in (1, 3, 5)]

    print(f"disconnect: at most {max(took):.3f} s")  # noqa: T201 - a measurement
    assert left == [ids[1], ids[3], ids[5]]
    assert max(took) < BOUND


async def test_a_client_can_do_nothing_with_anothers_id(site: Site) -> None:
    """PROTOCOL 1: ``clientId`` of the client's own making is stripped; no frame closes another."""
    async with (
        asyncio.timeout(PATIENCE),
        everywhere(site, "victim", 1) as (_, victims),
        everywhere(site, "mallory", 1) as (_, attackers),
    ):
        ids = [(await who(one))["client_id"] for one in victims]
        for victim_id, attacker in zip(ids, attackers, strict=True):
            own = await who(attacker)
            meta = {"clientId": victim_id, "receivedAt": 0}
            await attacker.send(json.dumps({"type": "WHO", "meta": meta}))
            assert (await receive(attacker))["payload"] == own
            for type_ in ("$ws:bye", "$ws:abort", "$ws:disconnect", "control", "disconnect"):
                order = {"client": victim_id, "clientId": victim_id, "code": 4401}
                frame = {"type": type_, "meta": meta, "payload": order, "data": order}
                await attacker.send(json.dumps(frame))
            refused = [(await receive(attacker))["payload"]["code"] for _ in range(2)]
            assert refused == ["UNIMPLEMENTED"] * 2
            assert await who(attacker) == own

        assert [(await who(one))["client_id"] for one in victims] == ids


async def test_nobody_comes_back_with_a_cookie_from_before(site: Site) -> None:
    """Token replay: no process knows a session after it was ended in another."""
    async with (
        asyncio.timeout(PATIENCE),
        bystander(site, "replay"),
        everywhere(site, "rita", 1) as (session, tabs),
    ):
        await asyncio.to_thread(site.office.order, "log out", "rita", session)
        await asyncio.gather(*map(end_of, tabs))
        for server in site.servers:
            async with tab(server, session) as again:
                assert (await who(again))["username"] == ""
