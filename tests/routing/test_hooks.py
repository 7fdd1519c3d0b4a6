"""``routing/hooks.py``: hooks, exception mappings, plugins and services."""

import logging
from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.http import Http404
from pydantic import BaseModel

from tests.helpers import connected
from tests.routing.messages import Answer, Ask, Note, Said, Third
from wskit_channels import (
    CallNext,
    CloseContext,
    ConnectionContext,
    Context,
    Limits,
    Router,
    RpcContext,
    WsKitError,
)

INTERNAL = {"code": "INTERNAL", "message": "Internal server error", "retryable": False}


def raising(error: Exception) -> Router[Any]:
    """A router with a handler that raises."""
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        raise error

    return router


async def answer(router: Router[Any], type_: str = "THIRD") -> Any:
    async with connected(router) as client:
        await client.send(type_)
        return (await client.receive())["payload"]


# -- exceptions


class Base(Exception):
    pass


class Nearer(Base):
    pass


class Nearest(Nearer):
    pass


@pytest.mark.parametrize(
    ("error", "message"),
    [(Base("secret"), "base"), (Nearer("secret"), "nearer"), (Nearest("secret"), "nearer")],
)
async def test_an_exception_is_mapped_by_its_nearest_class(error: Base, message: str) -> None:
    router = raising(error)
    router.exception(Nearer)(lambda error: WsKitError("NOT_FOUND", "nearer"))
    router.exception(Base)(lambda error: WsKitError("NOT_FOUND", "base"))

    assert await answer(router) == {"code": "NOT_FOUND", "message": message, "retryable": False}


async def test_a_mapping_is_given_the_exception() -> None:
    router = raising(Base("a full room"))

    @router.exception(Base)
    def mapped(error: Base) -> WsKitError:
        return WsKitError("ABORTED", str(error))

    assert (await answer(router))["message"] == "a full room"


async def test_a_mapping_that_raises_is_answered_as_a_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    router = raising(Base())

    @router.exception(Base)
    def broken(error: Base) -> WsKitError:
        raise RuntimeError("the mapping is broken")

    assert await answer(router) == INTERNAL
    assert "the mapping is broken" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Http404("secret"), "NOT_FOUND"),
        (ObjectDoesNotExist("secret"), "NOT_FOUND"),
        (PermissionDenied("secret"), "PERMISSION_DENIED"),
        (ValidationError("said on purpose"), "INVALID_ARGUMENT"),
    ],
)
async def test_djangos_exceptions_are_mapped(error: Exception, code: str) -> None:
    """The app maps Django's own exceptions, and never sends their text (DESIGN 2)."""
    payload = await answer(raising(error))

    assert payload["code"] == code
    assert "secret" not in str(payload)


async def test_djangos_validation_error_is_answered_with_issues() -> None:
    payload = await answer(raising(ValidationError({"name": ["Too rude"]})))

    assert payload["details"] == {
        "issues": [{"path": ["payload", "name"], "message": "Too rude", "type": "invalid"}]
    }


async def test_an_applications_mapping_comes_before_djangos() -> None:
    router = raising(Http404())
    router.exception(Http404)(lambda error: WsKitError("PERMISSION_DENIED"))

    assert (await answer(router))["code"] == "PERMISSION_DENIED"


async def test_a_pydantic_error_in_a_handler_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    """It is ours, not the client's (DESIGN 2)."""
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        class Model(BaseModel):
            count: int

        Model.model_validate({"count": "secret"})

    assert await answer(router) == INTERNAL
    assert "ValidationError" in caplog.text


# -- on_error


async def test_on_error_is_told_of_bugs(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a fixed sentence, the operator the traceback, once (STYLE 5)."""
    router = raising(RuntimeError("secret"))
    told: list[tuple[str, str]] = []

    @router.on_error
    def look(error: Exception, ctx: ConnectionContext[Any]) -> None:
        told.append((repr(error), ctx.type))

    assert await answer(router) == INTERNAL
    assert told == [("RuntimeError('secret')", "THIRD")]
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= 40] == [
        True
    ]


@pytest.mark.parametrize("error", [WsKitError("NOT_FOUND"), Http404(), Base()])
async def test_on_error_is_not_told_of_answers(error: Exception) -> None:
    """``on_error`` gets what is not mapped (PROTOCOL 3)."""
    router = raising(error)
    router.exception(Base)(lambda error: WsKitError("NOT_FOUND"))
    told: list[Exception] = []
    router.on_error(lambda error, ctx: told.append(error))

    assert (await answer(router))["code"] == "NOT_FOUND"
    assert told == []


async def test_on_error_may_replace_the_answer() -> None:
    router = raising(RuntimeError())

    @router.on_error
    async def replace(error: Exception, ctx: ConnectionContext[Any]) -> WsKitError:
        return WsKitError("UNAVAILABLE", "Try again", retry_after=2.0)

    assert await answer(router) == {
        "code": "UNAVAILABLE",
        "message": "Try again",
        "retryable": True,
        "retryAfterMs": 2000,
    }


async def test_the_first_replacement_wins_and_every_hook_is_told() -> None:
    router = raising(RuntimeError())
    told: list[str] = []

    @router.on_error
    def first(error: Exception, ctx: ConnectionContext[Any]) -> WsKitError | None:
        told.append("first")
        return None

    @router.on_error
    def second(error: Exception, ctx: ConnectionContext[Any]) -> WsKitError | None:
        told.append("second")
        return WsKitError("UNAVAILABLE")

    @router.on_error
    def third(error: Exception, ctx: ConnectionContext[Any]) -> WsKitError | None:
        told.append("third")
        return WsKitError("ABORTED")

    assert (await answer(router))["code"] == "UNAVAILABLE"
    assert told == ["first", "second", "third"]


async def test_an_on_error_hook_that_raises_is_logged_and_a_call_still_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A hook that raises is suppressed; a call is always answered (DESIGN 2)."""
    router = Router()

    @router.rpc(Ask)
    async def handle(ctx: RpcContext[Ask]) -> Answer:
        raise RuntimeError

    @router.on_error
    def broken(error: Exception, ctx: ConnectionContext[Any]) -> None:
        raise LookupError("the hook is broken")

    async with connected(router) as client:
        await client.call("ASK", {}, id="a")
        assert await client.receive() == {
            "type": "RPC_ERROR",
            "meta": {"correlationId": "a"},
            "payload": INTERNAL,
        }
    assert "the hook is broken" in caplog.text


# -- authenticate


def test_one_function_authenticates() -> None:
    router = Router()
    router.authenticate(lambda request: True)

    with pytest.raises(TypeError, match="authenticates already"):
        router.authenticate(lambda request: True)


# -- hooks that look on


async def test_a_hook_that_raises_is_logged_and_the_next_one_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    router = Router()
    ran: list[str] = []

    @router.on_close
    async def broken(ctx: CloseContext[Any]) -> None:
        raise RuntimeError("the hook is broken")

    @router.on_close
    def next_one(ctx: CloseContext[Any]) -> None:
        ran.append("next")

    async with connected(router):
        pass
    assert ran == ["next"]
    assert "the hook is broken" in caplog.text


async def test_on_publish_sees_message_and_topic() -> None:
    router = Router()
    seen: list[tuple[Any, str]] = []

    @router.on_publish
    async def look(message: Any, topic: str) -> None:
        seen.append((message, topic))

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        await ctx.publish("room:1", Said(text=ctx.payload.text))

    async with connected(router) as client:
        await client.send("NOTE", {"text": "x"})
        await client.heard()
    assert seen == [(Said(text="x"), "room:1")]


async def test_on_limit_exceeded_is_told_what_was_crossed() -> None:
    router = Router(limits=Limits(max_payload_bytes=100))
    seen: list[Any] = []

    @router.on_limit_exceeded
    def look(info: Any) -> None:
        seen.append((info.type, info.observed, info.limit, info.retry_after))

    async with connected(router) as client:
        await client.send_text("x" * 101)
        assert (await client.receive())["payload"]["code"] == "RESOURCE_EXHAUSTED"
    assert seen == [("payload_bytes", 101, 100, None)]


# -- plugins and services


class Clock:
    def __init__(self, time: int) -> None:
        self.time = time


class SlowClock(Clock):
    pass


async def test_a_plugin_adds_routes_hooks_middleware_and_services() -> None:
    """``p(router)`` (DESIGN 2)."""
    seen: list[str] = []

    def plugin(router: Router[Any]) -> None:
        router.provide(Clock(12))

        @router.use
        async def middleware(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
            seen.append("middleware")
            await call_next()

        @router.on_open
        async def opened(ctx: ConnectionContext[Any]) -> None:
            seen.append("open")

        @router.on(Third)
        async def handle(ctx: Context[Third]) -> None:
            ctx.send(Said(text=str(ctx.get(Clock).time)))

    router = Router()
    assert router.plugin(plugin) is router
    async with connected(router) as client:
        await client.send("THIRD")
        assert await client.receive() == {"type": "SAID", "payload": {"text": "12"}}
    assert seen == ["open", "middleware"]


async def test_a_service_may_be_provided_as_another_type() -> None:
    router = Router().provide(SlowClock(6), as_=Clock)

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        ctx.send(Said(text=type(ctx.get(Clock)).__name__))

    async with connected(router) as client:
        await client.send("THIRD")
        assert (await client.receive())["payload"] == {"text": "SlowClock"}


async def test_a_service_that_nobody_provides_is_named() -> None:
    router = Router()

    @router.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        with pytest.raises(LookupError, match=r"^No Clock is provided: call router.provide\(\)"):
            ctx.get(Clock)
        ctx.send(Said(text="raised"))

    async with connected(router) as client:
        await client.send("THIRD")
        assert (await client.receive())["payload"] == {"text": "raised"}


async def test_a_merged_routers_services_are_the_hosts() -> None:
    host, guest = Router().provide(Clock(1)), Router().provide(Clock(2)).provide(SlowClock(3))

    @guest.on(Third)
    async def handle(ctx: Context[Third]) -> None:
        ctx.send(Said(text=f"{ctx.get(Clock).time} {ctx.get(SlowClock).time}"))

    host.merge(guest)
    async with connected(host) as client:
        await client.send("THIRD")
        assert (await client.receive())["payload"] == {"text": "1 3"}


# -- declared messages


async def test_sending_what_is_not_declared_warns_once(
    caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    """Where a router declares any, an undeclared one warns once under DEBUG (DESIGN 2)."""
    settings.DEBUG = True
    router = Router().sends(Note)
    router.on(Third)(_sends_two)

    with caplog.at_level(logging.WARNING):
        async with connected(router) as client:
            await client.send("THIRD")
            await client.received(3)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= 30]
    assert warnings == ["Said is sent but not declared: add it to sends= or router.sends()"]


async def _sends_two(ctx: Context[Third]) -> None:
    ctx.send(Note(text="declared"))
    ctx.send(Said(text="not declared"))
    ctx.send(Said(text="again"))
