"""A server that goes down: nobody is cut off, and nobody keeps it from going."""

import asyncio
import signal
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from tests.live.clients import client, receive
from tests.live.crowd import (
    PATIENCE,
    DeafClient,
    ask,
    ask_until,
    gather_crowd,
    listen_to_the_end,
    request,
    serve,
)
from tests.live.servers import SERVERS, Server

pytestmark = pytest.mark.live

CROWD = 1000
CALLS = 50
WINDOW = 3.0
TIMEOUT = 60.0
"""Far more than it takes: calls end when a test has them end, and not by the clock."""

DRAIN: dict[str, Any] = {
    "DRAIN_ON_SIGTERM": True,
    "DRAIN_TIMEOUT": TIMEOUT,
    "DRAIN_WINDOW": WINDOW,
    "RPC_TIMEOUT": 300.0,
}
EXIT_CODES = {"daphne": 0, "uvicorn": -signal.SIGTERM}
AGE = 2.2
"""Seconds after which daphne, which looks after its connections once a second, knows one."""

REFUSALS = {"daphne": 403, "uvicorn": 503}

each_server = pytest.mark.parametrize("name", sorted(SERVERS))


async def wait_for_exit(server: Server) -> int:
    return await asyncio.to_thread(server.process.wait, PATIENCE)


async def refusal(server: Server) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await client(server.url)
    return refused.value.response.status_code


def is_bye(frame: dict[str, Any]) -> bool:
    return bool(frame["type"] == "$ws:bye")


Told = tuple[list[dict[str, Any]], int]


async def told_from(bye: dict[str, Any], connection: ClientConnection) -> Told:
    """All that a connection was told of which a frame was read already."""
    frames, code = await listen_to_the_end(connection)
    return [bye, *frames], code


def check_spread(delays: list[int]) -> None:
    """No tenth of the window holds more than a fifth of the reconnects."""
    tenths = Counter(int(delay / (WINDOW * 100)) for delay in delays)
    assert set(tenths) <= set(range(11))
    assert max(tenths.values()) <= len(delays) / 5


@each_server
async def test_sigterm_ends_a_thousand_connections_in_good_order(name: str, tmp_path: Path) -> None:
    """PROTOCOL 7 and 8: all are told and closed with 1012, calls are answered, hooks run."""
    closed = tmp_path / "closed"
    with serve(name, tmp_path / "log", closed=closed, **DRAIN) as server:
        crowd = await gather_crowd(server, CROWD - 1)
        for caller in crowd[:CALLS]:
            await request(caller, "HOLD", "call", seconds=0.5)
        await ask(server, "stats/")  # the calls have been read
        crowd.append(await client(server.url))
        await ask_until(server, {"connections": CROWD})
        listening = asyncio.gather(*map(listen_to_the_end, crowd[1:]))

        server.process.send_signal(signal.SIGTERM)
        bye = await receive(crowd[0])
        refused_with = await refusal(server)
        await ask(server, "release/")
        told = [await told_from(bye, crowd[0]), *await listening]
        exit_code = await wait_for_exit(server)

    assert refused_with == REFUSALS[name]
    assert Counter(code for _, code in told) == {1012: CROWD}
    for number, (frames, _) in enumerate(told):
        bye, *answers = frames
        assert is_bye(bye)
        expected = [("WAITED", "call")] if number < CALLS else []
        assert [(each["type"], each["meta"]["correlationId"]) for each in answers] == expected
    check_spread([frames[0]["data"]["retryAfterMs"] for frames, _ in told])
    lines = [line.split() for line in closed.read_text().splitlines()]
    assert len({client_id for client_id, _ in lines}) == len(lines) == CROWD
    assert {code for _, code in lines} == {"1012"}
    assert exit_code == EXIT_CODES[name]
    assert "Traceback" not in server.log.read_text()


@each_server
async def test_a_call_that_takes_too_long_does_not_hold_the_drain(
    name: str, tmp_path: Path
) -> None:
    """It is cut at ``drain_timeout``, and its connection closed like the others."""
    settings = {**DRAIN, "DRAIN_TIMEOUT": 1.0, "DRAIN_WINDOW": 0.5}
    with serve(name, tmp_path / "log", **settings) as server:
        async with client(server.url) as caller, client(server.url) as idle:
            await request(caller, "WAIT", "endless", seconds=300)
            await ask_until(server, {"connections": 2})
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)

            told = await asyncio.gather(listen_to_the_end(caller), listen_to_the_end(idle))
            exit_code = await wait_for_exit(server)
            took = time.monotonic() - began

    for frames, code in told:
        [bye] = frames
        assert is_bye(bye)
        assert code == 1012
    assert exit_code == EXIT_CODES[name]
    assert 1 <= took < 2 * PATIENCE  # the call would take five minutes


@each_server
async def test_a_second_sigterm_does_not_wait(name: str, tmp_path: Path) -> None:
    """For calls, that is: who is still there is closed in good order."""
    settings = {**DRAIN, "DRAIN_TIMEOUT": 300.0}
    with serve(name, tmp_path / "log", **settings) as server:
        async with asyncio.timeout(2 * PATIENCE), client(server.url) as caller:
            await request(caller, "WAIT", "endless", seconds=300)
            await ask_until(server, {"connections": 1})
            server.process.send_signal(signal.SIGTERM)
            assert is_bye(await receive(caller))

            server.process.send_signal(signal.SIGTERM)
            frames, code = await listen_to_the_end(caller)
            exit_code = await wait_for_exit(server)

    assert frames == []
    assert code == 1012
    assert exit_code == EXIT_CODES[name]


@pytest.mark.parametrize("name", ["daphne"])  # whose shutdown it breaks
async def test_an_http_connection_kept_alive_does_not_spoil_it(name: str, tmp_path: Path) -> None:
    """daphne's shutdown stumbles over one that has no request."""
    closed = tmp_path / "closed"
    settings = {**DRAIN, "DRAIN_WINDOW": 0.5}
    with serve(name, tmp_path / "log", closed=closed, **settings) as server:
        kept = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        kept.request("GET", "/stats/")
        assert kept.getresponse().read()
        crowd = await gather_crowd(server, 20)
        await asyncio.sleep(AGE)
        listening = asyncio.gather(*map(listen_to_the_end, crowd))

        server.process.send_signal(signal.SIGTERM)
        told = await listening
        exit_code = await wait_for_exit(server)
        kept.close()

    assert [code for _, code in told] == [1012] * 20
    assert len(closed.read_text().splitlines()) == 20
    assert exit_code == EXIT_CODES[name]


@pytest.mark.parametrize("name", ["uvicorn"])  # whose shutdown would wait for it
async def test_a_client_that_does_not_read_does_not_hold_it(name: str, tmp_path: Path) -> None:
    settings = {**DRAIN, "DRAIN_WINDOW": 0.5, "ON_SLOW_CONSUMER": "drop"}
    with serve(name, tmp_path / "log", **settings) as server, DeafClient(server) as deaf:
        deaf.send("JOIN", topic="flood")
        deaf.read(1)
        await ask(server, "flood/?count=100&size=100000&ticks_every=10")
        server.process.send_signal(signal.SIGTERM)

        assert await wait_for_exit(server) == EXIT_CODES[name]


@each_server
async def test_a_view_drains_before_the_process_is_stopped(name: str, tmp_path: Path) -> None:
    """What Kubernetes' preStop asks for: when it is answered, every client has gone."""
    closed = tmp_path / "closed"
    settings = {**DRAIN, "DRAIN_ON_SIGTERM": False, "DRAIN_WINDOW": 1.0}
    with serve(name, tmp_path / "log", closed=closed, **settings) as server:
        crowd = await gather_crowd(server, 100)
        await request(crowd[0], "HOLD", "call", seconds=0.5)
        await ask_until(server, {"connections": 100})
        listening = asyncio.gather(*map(listen_to_the_end, crowd[1:]))

        draining = asyncio.create_task(ask(server, "drain/"))
        bye = await receive(crowd[0])
        await ask(server, "release/")
        assert await draining == {"drained": True}
        figures = await ask(server, "stats/")
        told = [await told_from(bye, crowd[0]), *await listening]
        refused_with = await refusal(server)
        server.process.send_signal(signal.SIGTERM)
        exit_code = await wait_for_exit(server)

    assert (figures["connections"], figures["closes"]) == (0, {"1012": 100})
    assert [code for _, code in told] == [1012] * 100
    assert [[is_bye(frame) for frame in frames] for frames, _ in told[1:]] == [[True]] * 99
    assert [frame["type"] for frame in told[0][0]] == ["$ws:bye", "WAITED"]
    assert refused_with == REFUSALS[name]
    assert exit_code == EXIT_CODES[name]


async def test_the_lifespan_may_take_the_signal_over(tmp_path: Path) -> None:
    """docs/drain.md: at its start; also without the setting."""
    settings = {**DRAIN, "DRAIN_ON_SIGTERM": False, "DRAIN_WINDOW": 0.5}
    with serve("uvicorn", tmp_path / "log", application="spanning", **settings) as server:
        crowd = await gather_crowd(server, 20)
        await ask_until(server, {"connections": 20})
        server.process.send_signal(signal.SIGTERM)
        told = await asyncio.gather(*map(listen_to_the_end, crowd))
        exit_code = await wait_for_exit(server)

    assert [code for _, code in told] == [1012] * 20
    assert [[is_bye(frame) for frame in frames] for frames, _ in told] == [[True]] * 20
    assert exit_code == EXIT_CODES["uvicorn"]


async def test_sigterm_drains_under_uvloop(tmp_path: Path) -> None:
    pytest.importorskip("uvloop")
    options = ["--loop", "uvloop"]
    settings = {**DRAIN, "DRAIN_WINDOW": 0.5}
    with serve("uvicorn", tmp_path / "log", options=options, **settings) as server:
        crowd = await gather_crowd(server, 100)
        await request(crowd[0], "HOLD", "call", seconds=0.5)
        await ask_until(server, {"connections": 100})
        listening = asyncio.gather(*map(listen_to_the_end, crowd[1:]))
        server.process.send_signal(signal.SIGTERM)
        bye = await receive(crowd[0])
        await ask(server, "release/")
        told = [await told_from(bye, crowd[0]), *await listening]
        exit_code = await wait_for_exit(server)

    assert [code for _, code in told] == [1012] * 100
    assert [frame["type"] for frame in told[0][0]] == ["$ws:bye", "WAITED"]
    assert exit_code == EXIT_CODES["uvicorn"]


@each_server
async def test_without_the_setting_sigterm_is_the_servers_own(name: str, tmp_path: Path) -> None:
    """The hooks run all the same: daphne cancels its applications, uvicorn closes them."""
    closed = tmp_path / "closed"
    with serve(name, tmp_path / "log", closed=closed) as server:
        async with client(server.url) as idle:
            await ask_until(server, {"connections": 1})
            await asyncio.sleep(AGE)
            server.process.send_signal(signal.SIGTERM)
            _, code = await listen_to_the_end(idle)
            exit_code = await wait_for_exit(server)

    assert code == 1012
    assert len(closed.read_text().splitlines()) == 1
    assert exit_code == EXIT_CODES[name]
