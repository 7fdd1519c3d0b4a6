"""Connections that come and go, or only stay: what each leaves behind, and what it costs."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.live.clients import client, receive, send
from tests.live.crowd import (
    CONNECTING_AT_ONCE,
    ask,
    ask_for,
    ask_until,
    disperse,
    gather_crowd,
    request,
    serve,
)
from tests.live.servers import SERVERS, Server

pytestmark = pytest.mark.live

logger = logging.getLogger(__name__)

WAVE = 2000
ROOM = 10
"""Members of a topic."""

IDLE = 1000

each_server = pytest.mark.parametrize("name", sorted(SERVERS))


async def take_part(server: Server, number: int, gate: asyncio.Semaphore) -> ClientConnection:
    """Join a topic, publish to it, call, and leave; stay connected."""
    async with gate:
        connection = await client(server.url)
        topic = f"room:{number // ROOM}"
        await send(connection, "JOIN", topic=topic)
        await send(connection, "SAY", topic=topic, number=number)
        await request(connection, "WAIT", "call", seconds=0)
        if number % 2:  # the others are taken out by their disconnect
            await send(connection, "LEAVE", topic=topic)
        wanted = {"JOINED", "WAITED", ("TICK", number)}
        while wanted:
            frame = await receive(connection)
            is_tick = frame["type"] == "TICK"
            wanted -= {("TICK", frame["payload"]["number"]) if is_tick else frame["type"]}
    return connection


async def idle_tasks(server: Server) -> int:
    """How many tasks a server has without connections."""
    await ask(server, "stats/")  # the first request makes some
    tasks: int = (await ask(server, "stats/"))["tasks"]
    return tasks


async def wave(server: Server, idle: int) -> dict[str, Any]:
    """Have 2,000 clients take part, all connected at the end, and go; what is left then."""
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
    crowd = await asyncio.gather(*(take_part(server, number, gate) for number in range(WAVE)))
    there = await ask_until(server, {"connections": WAVE, "members": WAVE // 2})
    assert (there["connections"], there["members"]) == (WAVE, WAVE // 2)
    await disperse(crowd)
    await ask_until(server, {"connections": 0, "members": 0})
    return await ask_for(server, lambda figures: figures["tasks"] <= idle + 2)


async def test_a_second_wave_of_connections_leaves_no_more_than_the_first(
    tmp_path: Path,
) -> None:
    with serve("uvicorn", tmp_path / "log") as server:
        idle = await idle_tasks(server)
        first = await wave(server, idle)
        second = await wave(server, idle)

    for left in (first, second):
        assert (left["connections"], left["topics"], left["members"]) == (0, 0, 0)
    assert sum(second["closes"].values()) == 2 * WAVE
    assert second["tasks"] <= first["tasks"] + 2
    assert second["rss_kib"] <= first["rss_kib"] * 1.1


async def cost_of_idle(name: str, application: str, log: Path) -> tuple[float, float]:
    """KiB and tasks of each of a thousand connections that only stay."""
    with serve(name, log, application=application) as server:
        idle = await idle_tasks(server)
        await disperse(await gather_crowd(server, CONNECTING_AT_ONCE))
        await ask_for(server, lambda figures: figures["tasks"] <= idle + 2)
        await asyncio.sleep(2.2)  # daphne lets go of a connection within two seconds
        before = await ask(server, "stats/")
        crowd = await gather_crowd(server, IDLE)
        await asyncio.sleep(2.2)
        there = await ask(server, "stats/")
        await disperse(crowd)
    return (
        (there["rss_kib"] - before["rss_kib"]) / IDLE,
        (there["tasks"] - before["tasks"]) / IDLE,
    )


@each_server
async def test_an_idle_connection_costs_no_more_than_one_of_channels(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """DESIGN 6: one task, and Channels' memory at most."""
    stock, stock_tasks = await cost_of_idle(name, "stock", tmp_path / "stock")
    ours, tasks = await cost_of_idle(name, "application", tmp_path / "ours")
    figures = {"kib_ours": ours, "kib_channels": stock, "tasks": tasks, "tasks_ch": stock_tasks}
    logger.info("%s: %s", name, json.dumps(figures))
    record_property(name, figures)

    assert tasks == pytest.approx(1, abs=0.01)
    assert ours <= stock * 1.1
