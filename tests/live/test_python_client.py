"""The Python client against real servers: what an in-memory one cannot prove."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.clients import router as contract
from tests.helpers import settle
from tests.live.servers import Server, free_port, python
from wskit_channels.client import (
    Auth,
    Client,
    ConnectionClosed,
    Reconnect,
    ServerError,
    SyncClient,
)

pytestmark = pytest.mark.live

PATIENCE = 60.0
QUICK = Reconnect(initial_delay=0.05, max_delay=0.5)
SERVERS = ["daphne", "uvicorn"]


def serve(stack: ExitStack, kind: str, port: int, log: Path) -> Server:
    argv = ["-m", "tests.clients.server", "--port", str(port), "--server", kind]
    return stack.enter_context(python(argv, port=port, log=log))


@pytest.fixture(scope="module", params=SERVERS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The scenarios' server, once a module."""
    with ExitStack() as stack:
        log = tmp_path_factory.mktemp(request.param) / "server.log"
        yield f"{serve(stack, request.param, free_port(), log).url}ws/"


async def test_requests_and_progress(url: str) -> None:
    """PROTOCOL 5.3."""
    async with asyncio.timeout(PATIENCE), Client(url) as client:
        assert await client.request(contract.Add(a=2, b=3)) == contract.Sum(total=5)
        async with client.call(contract.Count(to=3, delay_ms=5)) as call:
            steps = [step async for step in call]

            assert (steps, await call) == ([{"n": 1}, {"n": 2}, {"n": 3}], contract.Counted(n=3))


async def test_cancelling_a_request_cancels_the_servers_handler(url: str) -> None:
    """PROTOCOL 5.5."""
    key = uuid4().hex
    async with asyncio.timeout(PATIENCE), Client(url) as client:
        task = asyncio.create_task(client.request(contract.Sleep(key=key, ms=60_000)))
        await settle()  # it goes first
        await client.request(contract.Ping())
        task.cancel()

        counted = await client.request(contract.Sleepers(key=key))
        assert counted == contract.SleepersResult(started=1, cancelled=1)
        assert task.cancelled()


async def test_a_timeout_is_kept_on_both_sides(url: str) -> None:
    """PROTOCOL 5.4."""
    key = uuid4().hex
    async with asyncio.timeout(PATIENCE), Client(url) as client:
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            # Long enough for the handler to begin: one that is aborted before is not counted.
            await client.request(contract.Sleep(key=key, ms=60_000), timeout=1)
        took = time.monotonic() - begun

        counted = await client.request(contract.Sleepers(key=key))
        assert counted == contract.SleepersResult(started=1, cancelled=1)
    assert 0.95 < took < 30


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_server_restart_is_survived_and_nothing_is_sent_twice(
    kind: str, tmp_path: Path
) -> None:
    """Messages that wait out the restart arrive once; an idempotent request is answered."""
    port, log, key = free_port(), tmp_path / "server.log", uuid4().hex
    with ExitStack() as first, ExitStack() as second:
        server = serve(first, kind, port, log)
        client = Client(f"{server.url}ws/", reconnect=QUICK)
        states: list[str] = []
        client.on_state(states.append)
        async with asyncio.timeout(2 * PATIENCE), client:
            before = asyncio.create_task(
                client.request(contract.Sleep(key=key, ms=60_000), timeout=120)
            )
            repeated = contract.Sleep(key=f"{key} again", ms=1500)
            again = asyncio.create_task(client.request(repeated, idempotency_key=key))
            await settle()  # they go first
            await client.request(contract.Ping())
            await asyncio.to_thread(first.close)
            with pytest.raises((ConnectionClosed, ServerError)):  # as the server goes about it
                await before
            while client.is_connected:  # the socket's end may come after the call's
                await asyncio.sleep(0.01)
            for text in "abc":
                assert client.send(contract.Note(key=key, text=text))
            waiting = asyncio.create_task(client.request(contract.Notes(key=key)))
            await asyncio.to_thread(serve, second, kind, port, log)

            assert await waiting == contract.NotesResult(texts=["a", "b", "c"])
            assert await client.request(contract.Notes(key=key)) == await waiting
            assert await again == contract.Slept(ms=1500)
    assert states[:2] == ["connecting", "open"]
    assert states[-3:] == ["open", "closing", "closed"]
    assert "reconnecting" in states


async def test_an_expired_token_is_replaced_and_nothing_is_lost(url: str) -> None:
    """PROTOCOL 8."""
    tokens = iter(["expired-1", "fresh-1"])
    client = Client(url, auth=Auth(lambda: next(tokens)))
    asked = asyncio.create_task(client.request(contract.WhoAmI()))
    async with asyncio.timeout(PATIENCE):
        await settle()  # it waits in the queue
        async with client:
            assert (await asked).name == "fresh-1"
            assert client.close_code == 4401


@pytest.mark.parametrize(("token", "code", "asked"), [("expired", 4401, 2), ("forbidden", 4403, 1)])
async def test_who_is_refused_for_good_stops(url: str, token: str, code: int, asked: int) -> None:
    """PROTOCOL 8."""
    given: list[str] = []

    def give() -> str:
        given.append(token)
        return token

    async with asyncio.timeout(PATIENCE):
        async with Client(url, auth=Auth(give, by="query")) as client:
            closed = await client.wait_closed()
    assert closed is not None
    assert (closed.code, len(given)) == (code, asked)


async def test_many_requests_at_once_find_their_replies(url: str) -> None:
    async with asyncio.timeout(PATIENCE), Client(url) as client:
        found = await asyncio.gather(*(client.request(contract.Add(a=n, b=n)) for n in range(300)))

    assert [each.total for each in found] == [2 * n for n in range(300)]


def test_a_script_without_asyncio(url: str) -> None:
    with SyncClient(url, messages=[contract.Echoed]) as client:
        assert client.request(contract.Add(a=1, b=2)) == contract.Sum(total=3)
        client.send(contract.Echo(value={"ä": None}))
        assert next(iter(client)) == contract.Echoed(value={"ä": None})
        with pytest.raises(ServerError, match="NOT_FOUND: nothing"):
            client.request(contract.Fail(code="NOT_FOUND", message="nothing"))
