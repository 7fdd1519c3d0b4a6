"""python-socketio: its own protocol over engine.io, which ends each frame's life in an ``emit``."""

from __future__ import annotations

import os
from typing import Any

import socketio

ROOM = "lobby"
REDIS = os.environ.get("BENCH_REDIS", "") if "redis" in os.environ.get("BENCH_LAYER", "") else ""

# Pings would be answered by the load generator, which does not speak engine.io beyond echoes.
server = socketio.AsyncServer(
    async_mode="asgi",
    ping_interval=3600,
    client_manager=socketio.AsyncRedisManager(REDIS) if REDIS else None,
)


@server.event
async def say(sid: str, data: dict[str, Any]) -> None:
    await server.emit("said", {"room": data["room"], "text": data["text"]}, to=sid)


@server.event
async def join(sid: str, data: dict[str, Any]) -> None:
    await server.enter_room(sid, ROOM)
    await server.emit("joined", {"room": data["room"]}, to=sid)


@server.event
async def shout(sid: str, data: dict[str, Any]) -> None:
    line = {"room": data["room"], "text": data["text"]}
    for _ in range(data["times"]):
        await server.emit("said", line, room=ROOM)


application = socketio.ASGIApp(server)


async def publish(times: int) -> None:
    """Publish from a process that serves no sockets."""
    from benchmarks.peers import BODY

    manager = socketio.AsyncRedisManager(REDIS, write_only=True)
    for _ in range(times):
        await manager.emit("said", BODY, room=ROOM)
