"""Struct messages in routers, contexts and topics; the scenarios of conformance do the rest."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tests.helpers import connected
from tests.routing.calls import failure, internal, progress
from wskit_channels import ConnectionContext, Context, Router, RpcContext, Topic, WsKitError
from wskit_channels import Message as PydanticMessage
from wskit_channels.contrib.msgspec import Message, Meta, Rpc


class Note(Message, type="NOTE"):
    text: str


class Number(Message, type="NUMBER"):
    value: int


class Model(PydanticMessage, type="MODEL"):
    text: str


class Said(Message, type="SAID"):
    text: str


class Step(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    is_done: bool


class Ask(Rpc[Said], type="ASK"):
    text: str = ""


class Work(Rpc[Said, Step], type="WORK"):
    pass


class NotesTopic(Topic[Said | Note], pattern="notes:{id}"):
    id: int


async def test_structs_and_models_share_a_handler() -> None:
    """A union payload, of both libraries."""
    router: Router[Any] = Router()

    @router.on(Note, Number, Model)
    async def handle(ctx: Context[Note | Number | Model]) -> None:
        match ctx.payload:
            case Note():
                ctx.send(Said(text=f"note {ctx.payload.text}"))
            case Number():
                ctx.send(Said(text=f"number {ctx.payload.value}"))
            case Model():
                ctx.send(Model(text=ctx.payload.text))

    async with connected(router) as client:
        await client.send("NOTE", {"text": "a"})
        await client.send("NUMBER", {"value": 1})
        await client.send("MODEL", {"text": "b"})
        assert await client.received(3) == [
            {"type": "SAID", "payload": {"text": "note a"}},
            {"type": "SAID", "payload": {"text": "number 1"}},
            {"type": "MODEL", "payload": {"text": "b"}},
        ]


async def test_middleware_sees_class_and_meta_before_the_payload_is_judged() -> None:
    """PROTOCOL 3."""
    router: Router[Any] = Router()
    seen: list[Any] = []

    @router.use
    async def look(ctx: ConnectionContext, call_next: Callable[[], Awaitable[None]]) -> None:
        seen.append((ctx.message_class, ctx.meta.correlation_id))
        await call_next()

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        seen.append(ctx.meta_as(Meta))

    async with connected(router) as client:
        await client.send("NOTE", {"text": 1}, correlationId="a")
        refused = await client.receive()
        await client.send("NOTE", {"text": "x"}, correlationId="b")
        await client.ping()

    issue = {"path": ["payload", "text"], "message": "Expected a string", "type": "string_type"}
    assert refused["payload"]["details"] == {"issues": [issue]}
    assert seen == [(Note, "a"), (Note, "b"), Meta(correlation_id="b")]


async def test_a_typed_topic_takes_its_structs_and_no_others() -> None:
    """PROTOCOL 6."""
    router: Router[Any] = Router()
    results: list[Any] = []

    @router.on(Note)
    async def handle(ctx: Context[Note]) -> None:
        topic = NotesTopic(id=1)
        await ctx.topics.subscribe(topic)
        results.append(await ctx.publish(topic, Said(text=ctx.payload.text)))
        other: Any = Number(value=1)
        results.append(await ctx.publish(topic, other))
        wrong: Any = Said(text=1)  # type: ignore[arg-type]  # what is tested
        results.append(await ctx.publish(topic, wrong))

    async with connected(router) as client:
        await client.send("NOTE", {"text": "a"})
        assert await client.receive() == {"type": "SAID", "payload": {"text": "a"}}
        await client.ping()

    assert [(result.ok, result.error) for result in results] == [
        (True, None),
        (False, "VALIDATION"),
        (False, "VALIDATION"),
    ]


async def test_sending_an_undeclared_struct_warns(caplog: pytest.LogCaptureFixture) -> None:
    """DESIGN 2: where a router declares any."""
    router: Router[Any] = Router()
    router.sends(Said)

    @router.rpc(Ask)
    async def ask(ctx: RpcContext[Ask]) -> Said:
        ctx.send(Said(text="declared"))
        ctx.send(Number(value=1))
        return Said(text="")

    with caplog.at_level(logging.WARNING):
        async with connected(router) as client:
            await client.call("ASK", {}, id="1")
            assert [frame["type"] for frame in await client.received(3)] == [
                "SAID",
                "NUMBER",
                "SAID",
            ]


def calls(act: Callable[[RpcContext[Any]], Any], message: type[Any] = Ask) -> Router[Any]:
    router: Router[Any] = Router()

    async def handle(ctx: RpcContext[Any]) -> Any:
        return act(ctx)

    register: Any = router.rpc(message)
    register(handle)
    return router


@pytest.mark.parametrize(
    "answer",
    [Said(text=1), Number(value=1), Model(text="a")],  # type: ignore[arg-type]  # what is tested
    ids=["wrong value", "wrong struct", "a model"],
)
async def test_a_wrong_answer_is_our_bug(answer: Any) -> None:
    """PROTOCOL 5.1: the call ends all the same."""
    async with connected(calls(lambda ctx: answer)) as client:
        await client.call("ASK", {}, id="1")
        assert await client.receive() == internal("1")


async def test_progress_is_encoded_and_typed_progress_validated() -> None:
    """PROTOCOL 5.3."""

    def act(ctx: RpcContext[Any]) -> Said:
        for value in ({"isDone": True}, Step(is_done="yes"), Step(is_done=float("nan"))):  # type: ignore[arg-type]  # what is tested
            try:
                ctx.progress(value)
            except ValueError as error:
                ctx.progress(Step(is_done=str(error).startswith("progress does not fit")))
        return Said(text="")

    answer = {"type": "SAID", "meta": {"correlationId": "1"}, "payload": {"text": ""}}
    async with connected(calls(act, Work)) as client:
        await client.call("WORK", id="1")
        assert await client.received(4) == [
            progress("1", {"isDone": True}),
            progress("1", {"isDone": True}),
            progress("1", {"isDone": True}),
            answer,
        ]


@pytest.mark.parametrize("value", [{"n": 1}, [1, None], Step(is_done=True), "a", None])
async def test_untyped_progress_is_any_json(value: Any) -> None:
    def act(ctx: RpcContext[Any]) -> Said:
        ctx.progress(value)
        with pytest.raises(ValueError, match=r"^progress holds a number that is not finite$"):
            ctx.progress({"n": float("inf")})
        return Said(text="")

    async with connected(calls(act)) as client:
        await client.call("ASK", {}, id="1")
        told, _ = await client.received(2)
    assert told == progress("1", {"isDone": True} if isinstance(value, Step) else value)


async def test_an_error_of_a_struct_call_is_answered() -> None:
    def act(ctx: RpcContext[Any]) -> Said:
        raise WsKitError("NOT_FOUND", ctx.payload.text)

    async with connected(calls(act)) as client:
        await client.call("ASK", {"text": "gone"}, id="1")
        assert await client.receive() == failure("1", "NOT_FOUND", "gone")


def test_requests_are_registered_as_such() -> None:
    router: Router[Any] = Router()

    with pytest.raises(TypeError, match=r"^Ask is a request: register it with rpc\(\)\.$"):
        router.on(Ask)
    with pytest.raises(TypeError, match="names no response"):
        router.rpc(Note)  # type: ignore[type-var]  # what is tested
