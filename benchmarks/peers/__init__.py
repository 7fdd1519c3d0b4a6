"""
The peers: what each is called, where its application is, and what its clients say.

Imports none of them: the orchestrator and the load generator need only the frames. All
carry the same message, a room and a text, in the envelope that each asks for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CHANNELS", "CHANX", "MSGSPEC", "OURS", "PEERS", "PYDANTIC", "Peer", "Step"]

Step = tuple[str | None, int]
"""Something to say, or None, and how many messages to wait for then."""

BOTH = ("daphne", "uvicorn", "uvloop")
UVICORN = ("uvicorn", "uvloop")

BODY = {"room": "lobby", "text": "as long as what people write in a chat"}
CHANNELS, CHANX, OURS = "channels", "chanx", "wskit_channels"
PYDANTIC, MSGSPEC = "pydantic's validator", "msgspec's validator"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One peer; a frame that is empty means that it has no part in that benchmark."""

    name: str
    title: str
    module: str
    servers: Sequence[str] = BOTH
    path: str = "/echo/"
    greeting: Sequence[Step] = ()
    echo: str = ""
    room_path: str = ""
    join: str = ""
    shout: str = ""
    """Publishes once to all who joined."""

    burst: str = ""
    """Publishes 500 times, as fast as the peer can."""

    @property
    def application(self) -> str:
        return f"benchmarks.peers.{self.module}:application"


BURST = 500

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(name="bare", title="bare ASGI", module="bare", echo=_json(BODY)),
        Peer(
            name="starlette",
            title="Starlette, text",
            module="starlette_app",
            servers=UVICORN,
            echo=_json(BODY),
        ),
        Peer(
            name="starlette-json",
            title="Starlette, untyped JSON",
            module="starlette_app",
            servers=UVICORN,
            path="/json/",
            echo=_json(BODY),
        ),
        Peer(
            name=CHANNELS,
            title="Channels, AsyncWebsocketConsumer",
            module="raw",
            echo=_json(BODY),
            room_path="/room/",
            join="join",
            shout="1",
            burst=str(BURST),
        ),
        Peer(
            name="channels-json",
            title="Channels, AsyncJsonWebsocketConsumer",
            module="json_consumer",
            echo=_json(BODY),
        ),
        Peer(
            name=CHANX,
            title="chanx",
            module="chanx_app",
            echo=_json({"action": "say", "payload": BODY}),
            room_path="/echo/",
            join=_json({"action": "join", "payload": {"room": "lobby"}}),
            shout=_json({"action": "shout", "payload": {**BODY, "times": 1}}),
            burst=_json({"action": "shout", "payload": {**BODY, "times": BURST}}),
        ),
        Peer(
            name="socketio",
            title="python-socketio",
            module="socketio_app",
            servers=UVICORN,
            path="/socket.io/?EIO=4&transport=websocket",
            greeting=((None, 1), ("40", 1)),
            echo="42" + _json(["say", BODY]),
            room_path="/socket.io/?EIO=4&transport=websocket",
            join="42" + _json(["join", {"room": "lobby"}]),
            shout="42" + _json(["shout", {**BODY, "times": 1}]),
            burst="42" + _json(["shout", {**BODY, "times": BURST}]),
        ),
        Peer(
            name=OURS,
            title="wskit_channels",
            module="wskit",
            echo=_json({"type": "SAY", "meta": {"timestamp": 1767225600000}, "payload": BODY}),
            room_path="/echo/",
            join=_json({"type": "JOIN", "payload": {"room": "lobby"}}),
            shout=_json({"type": "SHOUT", "payload": {**BODY, "times": 1}}),
            burst=_json({"type": "SHOUT", "payload": {**BODY, "times": BURST}}),
        ),
    )
}

CALL = _json(
    {
        "type": "ASK",
        "meta": {"timestamp": 1767225600000, "correlationId": "3f1c"},
        "payload": BODY,
    }
)
"""The same message to ``wskit_channels`` as a call."""
REFUSED = _json({"type": "SAY", "payload": {"room": "lobby", "text": 1}})
"""A message to ``wskit_channels`` that it refuses."""
