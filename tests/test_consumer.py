import asyncio
import json
import logging
import uuid
from typing import Any

import pytest
from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.testing import WebsocketCommunicator
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.shell_helpers import (
    PATIENCE,
    Client,
    Number,
    Ping,
    Pong,
    connect,
    disconnect,
    until,
)
from wskit_channels import (
    CloseConnection,
    Context,
    LimitExceeded,
    Limits,
    Message,
    Router,
    Rpc,
    RpcContext,
    WsKitError,
    rpc,
    transport,
)
from wskit_channels.consumer import WsKitConsumer
from wskit_channels.live import new_client_id


class Wait(Message, type="WAIT"):
    pass


class Close(Message, type="CLOSE"):
    code: int = 1000
    reason: str = ""


class Flood(Message, type="FLOOD"):
    frames: int


class Call(Rpc[Pong], type="CALL"):
    pass


class Ends:
    """How connections ended: what ``on_close`` saw, and handlers that were cancelled."""

    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []
        self.cancelled: list[str] = []
        self.waiting: list[str] = []


def served(**options: Any) -> tuple[Router[Any], Ends]:
    router, ends = Router(**options), Ends()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        ctx.send(Pong(text=ctx.payload.text))

    @router.on(Close)
    async def close(ctx: Context[Close]) -> None:
        ctx.send(Pong(text="before the close"))
        ctx.close(ctx.payload.code, ctx.payload.reason)
        ctx.close(4999, "too late")
        await asyncio.Event().wait()

    @router.on(Wait)
    async def wait(ctx: Context[Wait]) -> None:
        await wait_for_ever(ctx)

    @router.rpc(Call)
    async def call(ctx: RpcContext[Call]) -> Pong:
        await wait_for_ever(ctx)
        return Pong()

    async def wait_for_ever(ctx: Any) -> None:
        ends.waiting.append(ctx.type)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.cancelled.append(ctx.type)
            raise

    @router.on_close
    async def on_close(ctx: Any) -> None:
        ends.closed.append((ctx.code, ctx.reason))

    return router, ends


# -- as_asgi


@pytest.mark.parametrize("name", ["own_chanel", "Router", "_router", "__call__", "use"])
def test_misspelt_options_are_refused(name: str) -> None:
    """DESIGN 5: with the options' names."""
    with pytest.raises(TypeError, match=rf"unknown option '{name}'.*router and own_channel"):
        Router().as_asgi(**{name: 1})


def test_options_are_attributes_of_the_class() -> None:
    """DESIGN 5: ``router.as_asgi()`` is ``WsKitConsumer.as_asgi(router=router)``."""
    router = Router()
    application: Any = router.as_asgi(own_channel=False)

    assert application.consumer_class is WsKitConsumer
    assert application.consumer_initkwargs == {"router": router, "own_channel": False}


@pytest.mark.parametrize("options", [{}, {"router": None}, {"router": "chat.handlers.router"}])
def test_without_a_router_it_says_what_to_write(options: dict[str, Any]) -> None:
    """DESIGN 5, STYLE 5: what is wrong, and the way out."""
    with pytest.raises(
        ImproperlyConfigured, match=r"^WsKitConsumer has no router: write router\.as_asgi\(\)"
    ):
        WsKitConsumer.as_asgi(**options)


def test_a_router_may_be_the_classs() -> None:
    """DESIGN 5: subclassing works."""

    class Chat(WsKitConsumer):
        router = Router()

    assert callable(Chat.as_asgi())


async def test_it_serves_websockets_only() -> None:
    """DESIGN 5: a wrong entry in ``ProtocolTypeRouter`` is told at once."""
    client = Client(Router().as_asgi(), type="http")

    with pytest.raises(ValueError, match="serves WebSockets, not 'http'"):
        await client.ended()


# -- a conversation


async def test_with_channels_own_communicator() -> None:
    """DESIGN 5: ``WebsocketCommunicator`` works."""
    router, ends = served()
    communicator = WebsocketCommunicator(router.as_asgi(), "/")
    assert await communicator.connect(PATIENCE) == (True, None)

    await communicator.send_json_to({"type": "PING", "payload": {"text": "a"}})
    answer = await communicator.receive_json_from(PATIENCE)
    await communicator.disconnect(1001, PATIENCE)

    assert (answer["type"], answer["payload"]) == ("PONG", {"text": "a"})
    assert ends.closed == [(1001, "")]


async def test_text_and_binary_frames_are_the_same() -> None:
    """PROTOCOL 1: text frames out; text or UTF-8 in binary frames in."""
    router, _ = served()
    client = await connect(router.as_asgi())
    text = json.dumps({"type": "PING", "payload": {"text": "é"}}, ensure_ascii=False)
    for event in (
        {"text": text},
        {"text": text, "bytes": None},
        {"bytes": text.encode()},
        {"text": None, "bytes": text.encode()},
    ):
        client.inbox.put_nowait({"type": "websocket.receive", **event})
        assert await client.receive() == ("PONG", {"text": "é"})
    await client.disconnect()


async def test_a_burst_of_frames_starves_nobody() -> None:
    """DESIGN 3: the reader reads on, and lets others run meanwhile."""
    router, _ = served()
    busy, other = await connect(router.as_asgi()), await connect(router.as_asgi())
    for number in range(2000):
        busy.write("PING", {"text": str(number)})
    other.write("PING", {"text": "me too"})

    assert await other.receive() == ("PONG", {"text": "me too"})
    assert len(busy.sent) < 2000
    assert [(await busy.receive())[1]["text"] for _ in range(2000)] == [
        str(number) for number in range(2000)
    ]
    await disconnect(busy, other)


@pytest.mark.parametrize(
    ("offered", "supported", "selected"),
    [
        ([], ["v2"], None),
        (["v1", "v2"], ["v2"], "v2"),
        (["bearer.secret", "v1"], [], "v1"),
        (["bearer.secret"], [], "bearer.secret"),
    ],
)
async def test_a_subprotocol_is_selected(
    offered: list[str], supported: list[str], selected: str | None
) -> None:
    """PROTOCOL 9: else browsers fail the handshake."""
    router, _ = served(subprotocols=supported)
    client = Client(router.as_asgi(), subprotocols=offered)

    assert await client.event() == {"type": "websocket.accept", "subprotocol": selected}
    await client.disconnect()


async def test_limits_are_resolved_when_serving_starts() -> None:
    """DESIGN 9: what the router leaves unset comes from ``WSKIT``, one by one."""
    router, _ = served(limits=Limits(max_protocol_errors=1))
    with override_settings(WSKIT={"MAX_PAYLOAD_BYTES": 40, "MAX_PROTOCOL_ERRORS": 50}):
        client = await connect(router.as_asgi())
    client.write("PING", {"text": "x" * 40})
    client.write("PING", {"text": "x" * 40})

    _, payload = await client.receive()
    assert payload["details"] == {"observed": 81, "limit": 40}
    assert await client.closed() == (1008, "PROTOCOL_ERRORS")


# -- client ids


def test_a_client_id_is_a_uuid_of_version_7(monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN 2: ``client_id``; RFC 9562, 5.7: 48 bits of milliseconds, version, variant."""
    nanoseconds = 0x0123456789AB * 1_000_000
    monkeypatch.setattr("wskit_channels.live.time.time_ns", lambda: nanoseconds)

    found = uuid.UUID(new_client_id())

    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == 0x0123456789AB


def test_client_ids_sort_by_time_and_never_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN 2: that is what version 7 is for."""
    ids = []
    for millisecond in range(100):
        monkeypatch.setattr(
            "wskit_channels.live.time.time_ns", lambda at=millisecond: at * 1_000_000
        )
        ids.append(new_client_id())

    assert ids == sorted(ids)
    assert len({new_client_id() for _ in range(10_000)}) == 10_000


async def test_every_connection_has_its_own_and_keeps_it() -> None:
    """DESIGN 2: it names the connection."""
    router = Router()
    seen: list[str] = []

    @router.on_open
    async def opened(ctx: Any) -> None:
        seen.append(ctx.client_id)

    @router.on_close
    async def closed(ctx: Any) -> None:
        seen.append(ctx.client_id)

    for _ in range(2):
        await (await connect(router.as_asgi())).disconnect()

    first, still_first, second, still_second = seen
    assert (first, second) == (still_first, still_second)
    assert first != second


# -- ends


@pytest.mark.parametrize(
    ("event", "seen"),
    [
        ({"code": 1000, "reason": ""}, (1000, "")),
        ({"code": 4321, "reason": "why"}, (4321, "why")),
        ({"code": None}, (1005, "")),
        ({}, (1005, "")),
    ],
)
async def test_on_close_is_told_how_the_client_left(
    event: dict[str, Any], seen: tuple[int, str]
) -> None:
    """DESIGN 2: code and reason; 1005 where the client gave none."""
    router, ends = served()
    client = await connect(router.as_asgi())
    client.inbox.put_nowait({"type": "websocket.disconnect", **event})
    await client.ended()

    assert ends.closed == [seen]


async def test_close_goes_out_after_what_was_queued() -> None:
    """DESIGN 2: ``ctx.close(code, reason)``; the first close wins."""
    router, ends = served()
    client = await connect(router.as_asgi())
    client.write("CLOSE", {"code": 4001, "reason": "why"})

    assert await client.receive() == ("PONG", {"text": "before the close"})
    assert await client.closed() == (4001, "why")
    assert ends.closed == [(4001, "why")]


async def test_a_close_leaves_no_cancellation_to_the_server() -> None:
    """DESIGN 5: how the reader is interrupted is nobody else's business."""
    router, ends = served()
    left: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await router.as_asgi()(scope, receive, send)
        task = asyncio.current_task()
        assert task is not None
        left.append(task.cancelling())

    client = await connect(application)
    client.write("CLOSE", {"code": 4001})
    await client.receive()
    await client.closed()

    assert (left, ends.closed) == ([0], [(4001, "")])


async def test_nothing_is_sent_after_the_close() -> None:
    """DESIGN 1: after the connection has closed, sends do nothing."""
    router, _ = served()

    @router.on_close
    async def late(ctx: Any) -> None:
        ctx._peer.send(Pong(text="late"))

    client = await connect(router.as_asgi())
    client.write("CLOSE", {"code": 4001})
    assert (await client.receive())[0] == "PONG"
    assert await client.closed() == (4001, "")

    assert client.sent[-1]["type"] == "websocket.close"


async def test_a_disconnect_cancels_what_runs() -> None:
    """DESIGN 3: calls first, then events; nothing is sent (PROTOCOL 5.6)."""
    router, ends = served()
    client = await connect(router.as_asgi())
    client.write("WAIT")
    client.write("CALL", correlationId="1")
    await until(lambda: len(ends.waiting) == 2)
    await client.disconnect()

    assert ends.cancelled == ["CALL", "WAIT"]
    assert ends.closed == [(1000, "")]
    assert len(client.sent) == 1


async def test_a_server_that_cancels_says_goodbye() -> None:
    """PROTOCOL 7 and 8: ``$ws:bye``, then 1012; ``on_close`` once; the cancel goes on."""
    router, ends = served()
    client = await connect(router.as_asgi())
    client.write("WAIT")
    await until(lambda: ends.waiting)

    client.task.cancel()
    bye = await client.frame()

    assert set(bye) == {"type", "meta", "data"}
    assert bye["type"] == "$ws:bye"
    assert set(bye["meta"]) == {"timestamp"}
    retry_after = bye["data"].pop("retryAfterMs")
    assert bye["data"] == {"code": 1012, "reason": "RESTART", "reconnect": True}
    assert 500 <= retry_after <= 5000
    assert (await client.event())["code"] == 1012
    with pytest.raises(asyncio.CancelledError):
        await client.ended()
    assert (ends.cancelled, ends.closed) == (["WAIT"], [(1012, "RESTART")])


async def test_a_server_that_cancels_twice_cannot_cut_the_end_short() -> None:
    """BASELINES 3: a consumer finishes its close and ``on_close`` before it lets go."""
    router = Router()
    closing, may_close = asyncio.Event(), asyncio.Event()
    closed: list[int] = []

    @router.on_close
    async def on_close(ctx: Any) -> None:
        closing.set()
        await may_close.wait()
        closed.append(ctx.code)

    client = await connect(router.as_asgi())
    client.task.cancel()
    await closing.wait()
    client.task.cancel()
    await asyncio.sleep(0)
    assert not client.task.done()
    may_close.set()

    with pytest.raises(asyncio.CancelledError):
        await client.ended()
    assert closed == [1012]


async def test_only_a_restart_says_goodbye() -> None:
    """PROTOCOL 7: ``$ws:bye`` before a close with 1012, and only then."""
    router, _ = served()
    client = await connect(router.as_asgi())
    client.write("CLOSE", {"code": 1000})
    await client.receive()
    await client.closed()

    assert "$ws:bye" not in str(client.sent)


async def test_a_server_that_refuses_the_close_is_survived() -> None:
    """DESIGN 3: ``on_close`` runs, whatever becomes of the socket."""
    router, ends = served()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def refuses(event: Any) -> None:
            if event["type"] == "websocket.close":
                raise OSError("gone")
            await send(event)

        await router.as_asgi()(scope, receive, refuses)

    client = await connect(application)
    client.write("CLOSE", {"code": 4001})
    await client.ended()

    assert ends.closed == [(4001, "")]


@pytest.fixture
def patient_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow a test is, its client reads again before the close is given up."""
    monkeypatch.setattr(transport, "CLOSE_GRACE", PATIENCE)


@pytest.mark.usefixtures("patient_close")
async def test_a_client_that_reads_nothing_is_closed_and_reported_once() -> None:
    """DESIGN 6: over the limit the connection is closed with 1013."""
    router, ends = served(limits=Limits(socket_buffer_limit_bytes=1000, close_timeout=0.01))
    reports: list[LimitExceeded] = []

    @router.on(Flood)
    async def flood(ctx: Context[Flood]) -> None:
        for number in range(ctx.payload.frames):
            ctx.send(Number(value=number))

    @router.on_limit_exceeded
    async def report(info: LimitExceeded) -> None:
        reports.append(info)

    client, other = await connect(router.as_asgi()), await connect(router.as_asgi())
    client.may_send.clear()
    client.write("FLOOD", {"frames": 100})
    await until(lambda: reports)
    other.write("PING", {"text": "not me"})
    assert await other.receive() == ("PONG", {"text": "not me"})
    client.may_send.set()
    await client.ended()
    await other.disconnect()

    assert ends.closed == [(1013, "SLOW_CONSUMER"), (1000, "")]
    # What waited is not written any more: the one frame at most that was on its way.
    assert len([event for event in client.sent if event["type"] == "websocket.send"]) <= 1
    assert client.sent[-1] == {
        "type": "websocket.close",
        "code": 1013,
        "reason": "SLOW_CONSUMER",
    }
    assert [(one.type, one.limit, one.observed > 1000) for one in reports] == [
        ("socket_buffer_bytes", 1000, True)
    ]


Question = rpc("QUESTION", {"text": str}, "ANSWER", {"text": str})


def answering(**limits: Any) -> tuple[Router[Any], list[LimitExceeded]]:
    """A router whose call reports progress and answers with what it is asked, or fails."""
    router, reports = Router[Any](limits=Limits(**limits)), list[LimitExceeded]()

    @router.rpc(Question)
    async def question(ctx: RpcContext[Any]) -> None:
        text = ctx.payload.text
        if text == "fail":
            raise WsKitError("NOT_FOUND", "x" * 1000)
        ctx.progress("p" * len(text))
        ctx.reply(Question.response(text=text))

    @router.on_limit_exceeded
    async def report(info: LimitExceeded) -> None:
        reports.append(info)

    return router, reports


async def test_a_reply_that_does_not_fit_becomes_an_error() -> None:
    """DESIGN 6: progress is dropped first, and the call is answered all the same."""
    router, reports = answering(socket_buffer_limit_bytes=2000)
    client = await connect(router.as_asgi())
    client.may_send.clear()
    for number in range(3):
        client.write("QUESTION", {"text": "x" * 1500}, correlationId=str(number))
    await until(lambda: reports)
    client.may_send.set()

    frames = [await client.frame() for _ in range(4)]
    assert [(one["type"], one["meta"]["correlationId"]) for one in frames] == [
        ("$ws:rpc-progress", "0"),
        ("ANSWER", "0"),
        ("RPC_ERROR", "1"),
        ("RPC_ERROR", "2"),
    ]
    assert frames[2]["payload"] == {
        "code": "RESOURCE_EXHAUSTED",
        "message": "The reply did not fit",
        "retryable": True,
    }
    await client.disconnect()
    assert {one.type for one in reports} == {"socket_buffer_bytes"}
    assert sum(one.dropped for one in reports) == 4  # two progress frames, two replies


@pytest.mark.usefixtures("patient_close")
async def test_errors_that_nobody_reads_end_in_a_close() -> None:
    """DESIGN 6: their reserve is 64 KiB; what was queued is reported as lost."""
    router, reports = answering(
        socket_buffer_limit_bytes=2000, on_slow_consumer="drop", close_timeout=0.01
    )
    client = await connect(router.as_asgi())
    client.may_send.clear()
    for number in range(80):
        client.write("QUESTION", {"text": "fail"}, correlationId=str(number))
    await until(lambda: reports)
    client.may_send.set()
    await client.ended()

    (report,) = reports
    assert (report.type, report.limit) == ("socket_buffer_bytes", 2000)
    assert 2000 + 64 * 1024 < report.observed < 2000 + 66 * 1024
    assert report.dropped > 50
    assert client.sent[-1]["code"] == 1013


# -- on_open


@pytest.mark.parametrize(
    ("error", "close"),
    [
        (RuntimeError("secret"), (1011, "ON_OPEN_FAILED")),
        (CloseConnection(4000, "full"), (4000, "full")),
    ],
)
async def test_on_open_that_raises_closes(error: Exception, close: tuple[int, str]) -> None:
    """PROTOCOL 8; DESIGN 3: ``on_close`` runs, since ``on_open`` was begun."""
    router, ends = served()

    @router.on_open
    async def opened(ctx: Any) -> None:
        raise error

    client = await connect(router.as_asgi())
    client.write("PING", {})

    assert await client.closed() == close
    assert ends.closed == [close]


async def test_a_client_that_is_gone_before_on_open_began_needs_no_on_close() -> None:
    """DESIGN 3: ``on_close`` runs if and only if ``on_open`` was begun."""
    router, ends = served()
    begun: list[str] = []

    @router.on_open
    async def opened(ctx: Any) -> None:
        begun.append(ctx.client_id)

    client = Client(router.as_asgi())
    client.inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await client.ended()

    assert len(ends.closed) == len(begun)


async def test_a_connection_that_never_was_has_no_end() -> None:
    """DESIGN 3: a server may report a disconnect before anything else."""
    router, ends = served()
    client = Client(router.as_asgi())
    client.inbox.get_nowait()
    await client.disconnect()

    assert (client.sent, ends.closed) == ([], [])


# -- subclasses


class Own(WsKitConsumer):
    """Overrides everything that may be overridden."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[Any] = self.scope_log

    scope_log: list[Any] = []

    async def connect(self) -> None:
        self.seen.append(self.scope["path"])
        await super().connect()
        self.seen.append("connected")

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        if text_data == "break":
            raise RuntimeError("broken on purpose")
        if text_data == "close":
            await self.close(4002, "as it asked")
            return
        if text_data is not None:
            text_data = text_data.replace("PIGN", "PING")
        await super().receive(text_data, bytes_data, **kwargs)

    async def disconnect(self, code: int) -> None:
        self.seen.append(code)
        await super().disconnect(code)
        raise StopConsumer


def own(router: Router[Any]) -> tuple[Any, list[Any]]:
    log: list[Any] = []
    return Own.as_asgi(router=router, scope_log=log), log


async def test_a_subclass_may_see_and_change_everything() -> None:
    """DESIGN 5: it stays a real ``AsyncWebsocketConsumer``."""
    router, ends = served()
    application, log = own(router)
    client = await connect(application, path="/ws/")
    client.write("PIGN", {"text": "a"})
    assert await client.receive() == ("PONG", {"text": "a"})
    client.inbox.put_nowait({"type": "websocket.receive", "bytes": b"{"})
    assert (await client.receive())[0] == "ERROR"
    await client.disconnect(4321)

    assert log == ["/ws/", "connected", 4321]
    assert ends.closed == [(4321, "")]


async def test_a_subclass_may_close() -> None:
    """DESIGN 5: ``close(code, reason)`` as Channels has it, after what is queued."""
    router, ends = served()
    application, log = own(router)
    client = await connect(application)
    client.inbox.put_nowait({"type": "websocket.receive", "text": "close"})

    assert await client.closed() == (4002, "as it asked")
    assert (log[-1], ends.closed) == (4002, [(4002, "as it asked")])


async def test_a_subclass_that_raises_is_closed_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """PROTOCOL 8: a bug; logged, and with a complete end."""
    router, ends = served()
    application, log = own(router)
    client = await connect(application)
    with caplog.at_level(logging.ERROR, "wskit_channels"):
        client.inbox.put_nowait({"type": "websocket.receive", "text": "break"})
        assert await client.closed() == (1011, "INTERNAL")

    assert (log[-1], ends.closed, len(caplog.records)) == (1011, [(1011, "INTERNAL")], 1)


async def test_a_subclass_may_close_while_it_connects() -> None:
    """DESIGN 5: a close is a close, whatever ``connect`` does after it."""
    router, ends = served()
    after: list[str] = []

    class Refuses(WsKitConsumer):
        async def connect(self) -> None:
            await super().connect()
            await self.close(4003, "not today")
            await asyncio.sleep(0)
            after.append("connect went on")

        async def disconnect(self, code: int) -> None:
            after.append(f"disconnect {code}")

    client = await connect(Refuses.as_asgi(router=router))
    client.write("PING", {})

    assert await client.closed() == (4003, "not today")
    assert (after, ends.closed) == (["connect went on", "disconnect 4003"], [])
    assert [event["type"] for event in client.sent] == ["websocket.accept", "websocket.close"]


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (DenyConnection, [{"type": "websocket.close"}]),
    ],
)
async def test_channels_exceptions_in_connect(error: type[Exception], sent: list[Any]) -> None:
    """DESIGN 5: a subclass may deny as it does with Channels: before accept."""
    router, ends = served()

    class Denies(WsKitConsumer):
        async def connect(self) -> None:
            raise error

    client = Client(Denies.as_asgi(router=router))
    await client.disconnect()

    assert (client.sent, ends.closed) == (sent, [])


@pytest.mark.parametrize("how", ["accept", "exception"])
async def test_a_connect_that_admits_by_itself_serves_nobody(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """DESIGN 2: who was not authenticated reaches no handler; it is a bug, and logged."""
    router, ends = served()

    class Accepts(WsKitConsumer):
        async def connect(self) -> None:
            if how == "exception":
                raise AcceptConnection
            await self.accept()

    with caplog.at_level(logging.ERROR, "wskit_channels"):
        client = await connect(Accepts.as_asgi(router=router))
        client.write("PING", {})
        assert await client.closed() == (1011, "INTERNAL")

    assert ends.closed == []
    assert [record.getMessage() for record in caplog.records] == [
        "Accepts.connect() must call super().connect()"
    ]
