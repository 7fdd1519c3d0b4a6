"""Clients that do not read: what is pushed at them costs neither the server nor the others."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.live.clients import receive, send
from tests.live.crowd import (
    PATIENCE,
    DeafClient,
    ask,
    ask_until,
    disperse,
    gather_crowd,
    serve,
)
from tests.live.servers import SERVERS, Server
from wskit_channels.outbox import REPORT_EVERY

pytestmark = pytest.mark.live

READERS = 99
CHUNKS = 3000
CHUNK_BYTES = 100_000
TICKS_EVERY = 30
MOST_GROWTH_KIB = 10 * 1024

each_server = pytest.mark.parametrize("name", sorted(SERVERS))


async def join(connection: ClientConnection, topic: str) -> None:
    await send(connection, "JOIN", topic=topic)
    assert (await receive(connection))["type"] == "JOINED"


async def hear_ticks(connection: ClientConnection) -> list[int]:
    return [(await receive(connection))["payload"]["number"] for _ in range(CHUNKS // TICKS_EVERY)]


async def push(server: Server) -> int:
    """Flood who is in "flood"; the most KiB by which the server grew, with 99 others served."""
    readers = await gather_crowd(server, READERS)
    await asyncio.gather(*(join(reader, "ticks") for reader in readers))
    before = await ask(server, "stats/")
    flood = f"flood/?count={CHUNKS}&size={CHUNK_BYTES}&ticks_every={TICKS_EVERY}"

    flooded, *heard = await asyncio.gather(ask(server, flood), *map(hear_ticks, readers))

    assert heard == [list(range(0, CHUNKS, TICKS_EVERY))] * READERS
    await disperse(readers)
    growth: int = flooded["most_rss_kib"] - before["rss_kib"]
    return growth


@each_server
async def test_a_client_that_never_reads_is_closed_and_nobody_else_notices(
    name: str, tmp_path: Path
) -> None:
    """PROTOCOL 8, DESIGN 6: 300 MB leave the server as it was."""
    with serve(name, tmp_path / "log") as server, DeafClient(server) as deaf:
        deaf.send("JOIN", topic="flood")
        [joined] = deaf.read(1)

        growth = await push(server)
        figures = await ask_until(server, {"connections": 0})

    assert growth < MOST_GROWTH_KIB
    assert figures["closes"]["1013"] == 1
    assert list(figures["dropped"]) == [joined["payload"]["client_id"]]


@each_server
async def test_a_client_that_reads_too_late_finds_the_reason(name: str, tmp_path: Path) -> None:
    """PROTOCOL 8: 1013 after what was on its way; daphne cuts who does not answer within 1 s."""
    with serve(name, tmp_path / "log") as server, DeafClient(server) as deaf:
        deaf.send("JOIN", topic="flood")
        deaf.read(1)
        await ask(server, "flood/?count=100&size=100000&ticks_every=10")

        chunks, code = await asyncio.to_thread(deaf.read_to_the_end)

    assert numbers_of(chunks) == list(range(len(chunks)))
    assert code in {"daphne": (1013, 1006), "uvicorn": (1013,)}[name]


@each_server
async def test_frames_of_a_client_that_never_reads_are_dropped_and_all_of_them_counted(
    name: str, tmp_path: Path
) -> None:
    """DESIGN 6: the oldest first, by option; what arrived and what was reported is the whole."""
    with (
        serve(name, tmp_path / "log", ON_SLOW_CONSUMER="drop") as server,
        DeafClient(server) as deaf,
    ):
        deaf.send("JOIN", topic="flood")
        [joined] = deaf.read(1)
        client_id = joined["payload"]["client_id"]

        growth = await push(server)
        await asyncio.sleep(2 * REPORT_EVERY)
        await ask(server, f"flood/?first={CHUNKS}&count=1&size={CHUNK_BYTES}&ticks_every=2")
        reported = (await ask(server, "stats/"))["dropped"][client_id]
        chunks = await asyncio.to_thread(deaf.read_until, last_chunk)
        lost = CHUNKS + 1 - len(chunks)
        figures = await ask_until(server, {"dropped": {client_id: lost}})

    assert growth < MOST_GROWTH_KIB
    assert figures["dropped"] == {client_id: lost}
    assert reported > CHUNKS / 2, "drops are reported while they go on"
    numbers = numbers_of(chunks)
    assert numbers == sorted(set(numbers))
    newest = 1024 * 1024 // CHUNK_BYTES
    assert numbers[-newest:] == list(range(CHUNKS + 1 - newest, CHUNKS + 1)), (
        "the oldest were dropped"
    )


def numbers_of(chunks: list[dict[str, Any]]) -> list[int]:
    return [chunk["payload"]["number"] for chunk in chunks]


def last_chunk(frame: dict[str, Any]) -> bool:
    return bool(frame["payload"]["number"] == CHUNKS)


FAILURES = 3000
FAILURE_BYTES = 10_000


@each_server
async def test_a_client_that_reads_no_errors_is_closed_beyond_their_reserve(
    name: str, tmp_path: Path
) -> None:
    """DESIGN 6: requests that fail are no way around the limit."""
    with serve(name, tmp_path / "log") as server, DeafClient(server) as deaf:
        before = await ask(server, "stats/")

        sent = await asyncio.to_thread(fail_often, deaf)
        figures = await ask_until(server, {"connections": 0})
        answers, _ = await asyncio.to_thread(deaf.read_to_the_end)

    assert figures["closes"] == {"1013": 1}
    assert figures["rss_kib"] - before["rss_kib"] < MOST_GROWTH_KIB
    ids = [answer["meta"]["correlationId"] for answer in answers]
    assert ids == [str(number) for number in range(len(ids))]
    assert len(ids) < sent
    [dropped] = figures["dropped"].values()
    limit = 1024 * 1024 + 64 * 1024
    # The last of them did not fit; one more may have been on its way out.
    assert (dropped - 2) * FAILURE_BYTES < limit < (dropped + 1) * (FAILURE_BYTES + 300)


def fail_often(deaf: DeafClient) -> int:
    """Send requests that fail until the server hangs up; how many that were."""
    for number in range(FAILURES):
        try:
            deaf.send("FAIL", id_=str(number), size=FAILURE_BYTES)
        except OSError:
            return number
    return FAILURES


@each_server
async def test_a_client_that_hangs_up_before_it_reads_is_let_go(name: str, tmp_path: Path) -> None:
    """What the server's own buffers hold for it goes out first, and then the socket closes."""
    with (
        serve(name, tmp_path / "log", ON_SLOW_CONSUMER="drop") as server,
        DeafClient(server) as deaf,
    ):
        deaf.send("JOIN", topic="flood")
        deaf.read(1)
        await ask(server, "flood/?count=100&size=100000&ticks_every=10")
        deaf.hang_up()

        chunks, code = await asyncio.to_thread(deaf.read_to_the_end)
        figures = await ask_until(server, {"connections": 0})

    numbers = numbers_of(chunks)
    assert numbers
    assert numbers == sorted(set(numbers))
    assert code == 1000
    assert figures["closes"] == {"1000": 1}


async def test_uvicorn_cuts_the_socket_of_a_closed_client_that_goes_on_not_reading(
    tmp_path: Path,
) -> None:
    """Else it would keep the socket for good, and its shutdown waiting; daphne cuts by itself."""
    with serve("uvicorn", tmp_path / "log") as server, DeafClient(server) as deaf:
        deaf.send("JOIN", topic="flood")
        deaf.read(1)
        await ask(server, "flood/?count=100&size=100000&ticks_every=10")
        await ask_until(server, {"connections": 0})
        server.process.terminate()

        assert await asyncio.to_thread(server.process.wait, PATIENCE) == -signal.SIGTERM
