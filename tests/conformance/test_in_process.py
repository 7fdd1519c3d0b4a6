"""Every scenario, played through Channels' ``WebsocketCommunicator``: no server, no sockets."""

import asyncio
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.test import override_settings
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from tests.conformance.run import SCENARIOS, Scenario, Socket, client_names, load, run_steps
from tests.live.settings import channel_layers

CLOSE_TIMEOUT = 10.0  # seconds for the application to finish after a disconnect


class InProcessSocket:
    """
    A client's end of an application in this process.

    Behaves as a server does: answers the application's close with a
    disconnect, and delivers nothing after either.
    """

    def __init__(self, communicator: WebsocketCommunicator, subprotocol: str | None) -> None:
        self.subprotocol = subprotocol
        self._communicator = communicator
        self._open = True

    async def send(self, message: str | bytes, /) -> None:
        key = "text" if isinstance(message, str) else "bytes"
        await self._communicator.send_input({"type": "websocket.receive", key: message})

    async def recv(self) -> str | bytes:
        # Not receive_output(): its time-out would cancel the application.
        event: dict[str, Any] = await self._communicator.output_queue.get()
        if event["type"] == "websocket.close":
            close = Close(event.get("code", 1000), event.get("reason") or "")
            await self._disconnect(close.code)
            raise ConnectionClosedError(close, None)
        frame: str | bytes = event["text"] if event.get("text") is not None else event["bytes"]
        return frame

    async def close(self, code: int = 1000, /) -> None:
        await self._disconnect(code)
        # Raises what the application raised, if it did.
        await self._communicator.wait(CLOSE_TIMEOUT)

    async def _disconnect(self, code: int) -> None:
        if self._open:
            self._open = False
            await self._communicator.send_input({"type": "websocket.disconnect", "code": code})


async def open_socket(application: Any, scenario: Scenario) -> InProcessSocket:
    options = scenario.get("connect", {})
    communicator = WebsocketCommunicator(
        application, "/" + options.get("query", ""), subprotocols=options.get("subprotocols")
    )
    accepted, subprotocol = await communicator.connect(CLOSE_TIMEOUT)
    assert accepted, f"refused with {subprotocol}"
    assert not isinstance(subprotocol, int)
    return InProcessSocket(communicator, subprotocol)


async def play(application: Any, scenario: Scenario) -> None:
    sockets: dict[str, Socket] = {}
    try:
        for name in client_names(scenario):
            sockets[name] = await open_socket(application, scenario)
        await run_steps(scenario, sockets)
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets.values()))


@pytest.fixture(params=["memory", "valkey"])
def layer(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put a fresh channel layer of each kind into the settings."""
    name = request.param
    address = request.getfixturevalue("valkey") if name == "valkey" else name
    with override_settings(CHANNEL_LAYERS=channel_layers(address)):
        yield


each_scenario = pytest.mark.parametrize(
    "scenario", [pytest.param(scenario, id=name) for name, scenario in load([SCENARIOS])]
)


@pytest.mark.usefixtures("layer")
@each_scenario
async def test_scenario(scenario: Scenario) -> None:
    from tests.conformance.server import application

    await play(application, scenario)


@pytest.fixture
def struct_server() -> ModuleType:
    pytest.importorskip("msgspec")
    from tests.conformance import struct_server

    return struct_server


@override_settings(CHANNEL_LAYERS=channel_layers("memory"))
@each_scenario
async def test_scenario_with_structs(scenario: Scenario, struct_server: ModuleType) -> None:
    """Another validator serves the same wire (PROTOCOL 1 to 7)."""
    await play(struct_server.application, scenario)


def test_structs_are_routed_as_models_are(struct_server: ModuleType) -> None:
    """Or a scenario might pass because nobody serves it."""
    from tests.conformance.router import router

    routes = {(route.type, route.kind) for route in router.routes()}
    assert {(route.type, route.kind) for route in struct_server.router.routes()} == routes
    assert not {route.message for route in router.routes()} & {
        route.message for route in struct_server.router.routes()
    }
