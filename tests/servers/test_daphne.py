import asyncio
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wskit_channels.servers import daphne

NEEDS_HELP = [1008, 1009, 1011, 1012, 1013]
FREE = [1000, 3000, 4000, 4401, 4999]


class Protocol:
    """daphne's protocol object, as far as a close is concerned."""

    def __init__(self) -> None:
        self.closes: list[tuple[int, bytes, bool]] = []
        self.transport: Any = None

    def sendCloseFrame(self, *, code: int, reasonUtf8: bytes, isReply: bool) -> None:  # noqa: N802, N803
        self.closes.append((code, reasonUtf8, isReply))

    async def handle_reply(self, event: dict[str, Any]) -> None:
        raise NotImplementedError


def sending_to(events: list[dict[str, Any]]) -> Callable[[dict[str, Any]], Any]:
    async def send(event: dict[str, Any]) -> None:
        events.append(event)

    return send


def servers_send(protocol: Any) -> Any:
    """The ``send`` that daphne gives an application: a partial over its protocol object."""

    async def handle_reply(protocol: Any, message: dict[str, Any]) -> None:
        raise NotImplementedError

    return functools.partial(handle_reply, protocol)


@pytest.fixture
def daphne_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process look like a daphne server's."""
    reactor = types.ModuleType("twisted.internet.reactor")
    vars(reactor)["running"] = True
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", reactor)
    monkeypatch.setitem(sys.modules, "daphne.server", types.ModuleType("daphne.server"))


@pytest.mark.parametrize("code", [*NEEDS_HELP, *FREE])
async def test_behind_daphnes_own_send_code_and_reason_go_out_as_they_are(code: int) -> None:
    """PROTOCOL 8: by the protocol object behind it, which delivers all of them."""
    protocol = Protocol()
    send = servers_send(protocol)

    await daphne.close(send, send, code, "wärum")

    assert protocol.closes == [(code, "wärum".encode(), False)]


async def test_the_servers_send_is_enough_where_the_applications_is_wrapped() -> None:
    """DESIGN 6: ``websocket_application`` keeps it from before any wrapper."""
    protocol, events = Protocol(), list[dict[str, Any]]()

    await daphne.close(sending_to(events), servers_send(protocol), 1012, "RESTART")

    assert (protocol.closes, events) == ([(1012, b"RESTART", False)], [])


async def test_the_applications_send_is_enough_where_nothing_wraps_it() -> None:
    """PROTOCOL 8: a router served without ``websocket_application``."""
    protocol = Protocol()

    await daphne.close(servers_send(protocol), None, 1013, "SLOW_CONSUMER")

    assert protocol.closes == [(1013, b"SLOW_CONSUMER", False)]


@pytest.mark.usefixtures("daphne_runs")
@pytest.mark.parametrize("code", NEEDS_HELP)
async def test_out_of_reach_the_code_goes_out_3000_higher(code: int) -> None:
    """PROTOCOL 8: as 4008 to 4013, with the same meaning."""
    events: list[dict[str, Any]] = []

    await daphne.close(sending_to(events), sending_to(events), code, "why")

    assert events == [{"type": "websocket.close", "code": code + 3000, "reason": "why"}]


@pytest.mark.usefixtures("daphne_runs")
@pytest.mark.parametrize("code", FREE)
async def test_codes_that_daphne_sends_stay_what_they_are(code: int) -> None:
    """PROTOCOL 8: only those that it refuses are changed."""
    events: list[dict[str, Any]] = []

    await daphne.close(sending_to(events), None, code, "why")

    assert events == [{"type": "websocket.close", "code": code, "reason": "why"}]


@pytest.mark.parametrize("code", [*NEEDS_HELP, *FREE])
async def test_another_server_takes_any_code(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """BASELINES 3: also where daphne was merely imported."""
    monkeypatch.setitem(sys.modules, "daphne.server", types.ModuleType("daphne.server"))
    monkeypatch.delitem(sys.modules, "twisted.internet.reactor", raising=False)
    events: list[dict[str, Any]] = []

    await daphne.close(sending_to(events), None, code, "why")

    assert events == [{"type": "websocket.close", "code": code, "reason": "why"}]


@pytest.mark.parametrize(
    "send",
    [
        None,
        print,
        functools.partial(print),
        functools.partial(print, object()),
        types.SimpleNamespace(args=(Protocol(),)),
    ],
    ids=["none", "function", "empty partial", "other partial", "no partial"],
)
def test_other_sends_hide_no_protocol(send: Any) -> None:
    """PROTOCOL 8: what is not daphne's is left alone."""
    assert daphne.protocol_behind(send) is None


def test_the_protocol_is_the_one_behind_the_send() -> None:
    """BASELINES 3: ``send.args[0]``."""
    protocol = Protocol()

    assert daphne.protocol_behind(servers_send(protocol)) is protocol


# -- what its transport still holds


class Transport:
    """Twisted's, as far as a producer is concerned."""

    def __init__(self) -> None:
        self.producer: Any = "the HTTP channel"
        self.producerPaused = False

    def unregisterProducer(self) -> None:  # noqa: N802
        self.producer = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        if self.producer is not None:
            raise RuntimeError("Cannot register producer")
        assert streaming
        self.producer = producer


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    daphne._warn_of_unknown_buffer.cache_clear()
    yield lambda: [text for text in caplog.messages if "buffers for a client" in text]
    daphne._warn_of_unknown_buffer.cache_clear()


async def test_the_transport_says_when_it_is_full() -> None:
    """BASELINES 3: as its producer we are paused and resumed."""
    protocol, transport = Protocol(), Transport()
    protocol.transport = transport
    flow = daphne.flow_behind(sending_to([]), servers_send(protocol))
    assert flow is not None
    assert (transport.producer, flow.paused) == (flow, False)

    transport.producer.pauseProducing()
    waiting = asyncio.ensure_future(flow.resumed())
    await asyncio.sleep(0)
    assert (flow.paused, waiting.done()) == (True, False)
    transport.producer.resumeProducing()
    await waiting

    transport.producer.pauseProducing()
    transport.producer.stopProducing()
    assert not flow.paused


async def test_a_transport_that_is_full_already_is_known_to_be() -> None:
    """It was paused when the producer before us was told."""
    protocol, transport = Protocol(), Transport()
    protocol.transport = transport
    transport.producerPaused = True

    flow = daphne.flow_behind(servers_send(protocol), None)

    assert flow is not None
    assert flow.paused


@pytest.mark.usefixtures("daphne_runs")
async def test_an_unknown_buffer_is_warned_of_once(warned: Callable[[], list[str]]) -> None:
    """Issue: degrade to "unknown", logged once, where ``send`` is wrapped."""
    assert [daphne.flow_behind(sending_to([]), None) for _ in range(3)] == [None] * 3
    assert len(warned()) == 1


async def test_so_is_a_protocol_that_has_changed(warned: Callable[[], list[str]]) -> None:
    """Issue: or where the attributes are gone."""
    assert daphne.flow_behind(servers_send(Protocol()), None) is None
    assert len(warned()) == 1


async def test_other_servers_wait_by_themselves(warned: Callable[[], list[str]]) -> None:
    """BASELINES 3: uvicorn's ``send`` waits; nothing is unknown."""
    assert (daphne.flow_behind(sending_to([]), None), warned()) == (None, [])
