"""``routing/middleware.py``: what runs around a handler."""

import asyncio
import contextlib
import gc
import logging
from typing import Any

import pytest

from tests.helpers import Frame, connected
from tests.routing.messages import Answer, Ask, Note, Said
from wskit_channels import CallNext, ConnectionContext, Context, Message, Meta, Router, RpcContext
from wskit_channels.protocol.errors import WsKitError

INTERNAL = {"code": "INTERNAL", "message": "Internal server error", "retryable": False}


def app(*middleware: Any) -> tuple[Router[Any], list[str]]:
    """A router with middleware around an event and a call, and what its handlers saw."""
    router = Router()
    for one in middleware:
        router.use(one)
    seen: list[str] = []

    @router.on(Note)
    async def event(ctx: Context[Note]) -> None:
        seen.append(ctx.payload.text)

    @router.rpc(Ask)
    async def call(ctx: RpcContext[Ask]) -> Answer:
        seen.append(ctx.payload.text)
        return Answer(text=ctx.payload.text)

    return router, seen


async def frames(router: Router[Any], type_: str, payload: Any = None) -> list[Frame]:
    async with connected(router) as client:
        await client.call(type_, payload or {"text": "x"}, id="a")
        return await client.heard()


async def test_the_first_middleware_is_outermost() -> None:
    """Global middleware, then the route's, then the handler (DESIGN 2)."""
    order: list[str] = []

    def make(name: str) -> Any:
        async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
            order.append(f"{name} in")
            await call_next()
            order.append(f"{name} out")

        return middleware

    router = Router()
    router.use(make("one"))
    router.use(make("two"))

    @router.on(Note, use=[make("route")])
    async def event(ctx: Context[Note]) -> None:
        order.append("handler")

    assert await frames(router, "NOTE") == []
    assert order == [
        "one in",
        "two in",
        "route in",
        "handler",
        "route out",
        "two out",
        "one out",
    ]


async def test_a_plain_function_returns_call_next() -> None:
    """A plain ``def`` that returns ``call_next()`` or None, run in the loop (DESIGN 2)."""
    threads: list[bool] = []

    def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> Any:
        threads.append(asyncio.get_running_loop().is_running())
        return call_next()

    router, seen = app(middleware)

    assert await frames(router, "NOTE") == []
    assert (seen, threads) == (["x"], [True])


async def test_a_plain_function_that_returns_none_drops_an_event(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither calling nor answering drops an event, with a debug line (DESIGN 2)."""

    def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        return None

    router, seen = app(middleware)
    with caplog.at_level(logging.DEBUG, "wskit_channels"):
        assert await frames(router, "NOTE") == []
    assert seen == []
    assert [
        record.levelname for record in caplog.records if "dropped by middleware" in record.message
    ] == ["DEBUG"]


async def test_a_call_that_is_neither_passed_on_nor_answered_is_internal() -> None:
    """Every accepted call gets a terminal frame (PROTOCOL 5.1)."""

    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        pass

    router, seen = app(middleware)

    (frame,) = await frames(router, "ASK")
    assert (frame["type"], frame["meta"]) == ("RPC_ERROR", {"correlationId": "a"})
    assert frame["payload"]["code"] == "INTERNAL"
    assert seen == []


@pytest.mark.parametrize(
    ("type_", "error"), [("NOTE", "ERROR"), ("ASK", "RPC_ERROR")], ids=["event", "call"]
)
class TestRefusing:
    """A refusal before ``call_next()``, of an event and of a call."""

    PAYLOAD = {"code": "PERMISSION_DENIED", "message": "Permission denied", "retryable": False}

    async def test_raising(self, type_: str, error: str) -> None:
        async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
            raise WsKitError("PERMISSION_DENIED")

        router, seen = app(middleware)

        assert await frames(router, type_) == [
            {"type": error, "meta": {"correlationId": "a"}, "payload": self.PAYLOAD}
        ]
        assert seen == []

    async def test_raising_in_a_plain_function(self, type_: str, error: str) -> None:
        def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
            raise WsKitError("PERMISSION_DENIED")

        router, seen = app(middleware)

        assert await frames(router, type_) == [
            {"type": error, "meta": {"correlationId": "a"}, "payload": self.PAYLOAD}
        ]
        assert seen == []

    async def test_answering(self, type_: str, error: str) -> None:
        async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
            ctx.error("PERMISSION_DENIED")

        router, seen = app(middleware)

        assert await frames(router, type_) == [
            {"type": error, "meta": {"correlationId": "a"}, "payload": self.PAYLOAD}
        ]
        assert seen == []

    async def test_a_refusal_comes_before_validation(self, type_: str, error: str) -> None:
        """What middleware refuses is answered so, also when invalid (PROTOCOL 3)."""

        async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
            raise WsKitError("PERMISSION_DENIED")

        router, _ = app(middleware)

        assert await frames(router, type_, {"nonsense": 1}) == [
            {"type": error, "meta": {"correlationId": "a"}, "payload": self.PAYLOAD}
        ]

    async def test_what_is_let_through_is_validated(self, type_: str, error: str) -> None:
        async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
            await call_next()

        router, seen = app(middleware)

        (frame,) = await frames(router, type_, {"text": 1})
        assert (frame["type"], frame["payload"]["code"]) == (error, "INVALID_ARGUMENT")
        assert seen == []

    async def test_dropping_what_call_next_gave_is_a_bug(
        self, type_: str, error: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A forgotten ``await`` is reported, not silent."""

        async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
            _ = call_next()

        router, seen = app(middleware)

        assert await frames(router, type_) == [
            {"type": error, "meta": {"correlationId": "a"}, "payload": INTERNAL}
        ]
        assert seen == []
        assert "called call_next() and dropped what it gave" in caplog.text


@pytest.mark.parametrize("type_", ["NOTE", "ASK"])
async def test_calling_next_twice_is_a_bug(type_: str, caplog: pytest.LogCaptureFixture) -> None:
    """``call_next()`` twice raises, and the handler runs once (DESIGN 2)."""

    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        first, second = call_next, call_next
        first_result = first()
        _ = second()
        await first_result

    router, seen = app(middleware)

    (frame,) = await frames(router, type_)
    assert frame["payload"] == INTERNAL
    assert seen == []
    assert "called call_next() twice" in caplog.text


async def test_calling_next_again_after_the_handler_does_not_run_it_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        await call_next()
        await call_next()

    router, seen = app(middleware)

    (frame,) = await frames(router, "NOTE")
    assert frame["payload"] == INTERNAL
    assert seen == ["x"]
    assert "called call_next() twice" in caplog.text


async def test_awaiting_twice_what_call_next_gave_is_a_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        following = call_next()
        await following
        await following

    router, seen = app(middleware)

    (frame,) = await frames(router, "NOTE")
    assert frame["payload"] == INTERNAL
    assert seen == ["x"]
    assert "cannot reuse already awaited coroutine" in caplog.text


async def test_calling_next_twice_cannot_be_hushed_up(caplog: pytest.LogCaptureFixture) -> None:
    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        _ = call_next()
        with contextlib.suppress(RuntimeError):
            await call_next()

    router, seen = app(middleware)

    (frame,) = await frames(router, "NOTE")
    assert frame["payload"] == INTERNAL
    assert seen == []
    assert "called call_next() twice" in caplog.text


@pytest.mark.filterwarnings("error")
async def test_what_was_called_and_not_awaited_leaves_no_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """A middleware may fail, or be cancelled, between the two."""

    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        _ = call_next()
        raise WsKitError("NOT_FOUND")

    router, seen = app(middleware)

    (frame,) = await frames(router, "NOTE")
    gc.collect()
    assert frame["payload"]["code"] == "NOT_FOUND"
    assert seen == []
    assert not recwarn.list


async def test_what_follows_may_run_in_a_task_of_its_own() -> None:
    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        await asyncio.ensure_future(call_next())

    router, seen = app(middleware)

    assert [frame["payload"] for frame in await frames(router, "ASK")] == [{"text": "x"}]
    assert seen == ["x"]


async def test_an_exception_passes_through_middleware() -> None:
    """Middleware may catch, translate and let through."""
    seen: list[str] = []

    async def outer(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        try:
            await call_next()
        except LookupError as error:
            seen.append(repr(error))
            raise WsKitError("NOT_FOUND") from error

    async def inner(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        try:
            await call_next()
        finally:
            seen.append("finally")

    router = Router()
    router.use(outer)
    router.use(inner)

    @router.on(Note)
    async def event(ctx: Context[Note]) -> None:
        raise LookupError("x")

    (frame,) = await frames(router, "NOTE")
    assert frame["payload"]["code"] == "NOT_FOUND"
    assert seen == ["finally", "LookupError('x')"]


async def test_middleware_may_run_the_rest_within_a_time_limit() -> None:
    """What ``call_next()`` gives is awaitable like any other."""

    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        await asyncio.wait_for(call_next(), 5)

    router, seen = app(middleware)

    (frame,) = await frames(router, "ASK")
    assert frame["payload"] == {"text": "x"}
    assert seen == ["x"]


class TraceMeta(Meta):
    trace: str


class Traced(Message, type="TRACED", meta=TraceMeta):
    pass


async def test_middleware_sees_type_class_and_meta() -> None:
    """Middleware sees all but the payload (PROTOCOL 3)."""
    seen: list[Any] = []

    async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        seen.append((ctx.type, ctx.message_class, ctx.meta.correlation_id))
        seen.append((ctx.meta_as(TraceMeta).trace, ctx.received_at > 1e9))
        await call_next()

    router = Router()
    router.use(middleware)

    @router.on(Traced)
    async def handle(ctx: Context[Traced]) -> None:
        ctx.send(Said(text="handled"))

    async with connected(router) as client:
        await client.send("TRACED", correlationId="c", trace="t", clientId="forged")
        assert (await client.receive())["payload"] == {"text": "handled"}
    assert seen == [("TRACED", Traced, "c"), ("t", True)]


def test_the_context_of_middleware_has_no_payload() -> None:
    """There is no payload to misuse before validation (DESIGN 2)."""
    assert not hasattr(ConnectionContext, "payload")
    assert hasattr(Context, "payload")


async def test_middleware_may_change_the_connections_data() -> None:
    def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> Any:
        ctx.data.count = getattr(ctx.data, "count", 0) + 1
        return call_next()

    router = Router()
    router.use(middleware)

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        ctx.send(Said(text=str(ctx.data.count)))

    async with connected(router) as client:
        await client.send("NOTE", {"text": ""})
        await client.send("NOTE", {"text": ""})
        texts = [frame["payload"]["text"] for frame in await client.heard()]
    assert texts == ["1", "2"]
