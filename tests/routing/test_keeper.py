"""``routing/keeper.py``: a call that carries a key runs once (DESIGN 8, PROTOCOL 5.10)."""

import asyncio
import logging
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fake_clock import clock, fake_time
from tests.helpers import TIMEOUT, Client, Frame, connected, settle, soon
from tests.routing.calls import answer, cancelled, failure, internal, progress, too_late
from tests.routing.messages import Answer, Ask, AskMore
from wskit_channels import (
    CallNext,
    ConnectionContext,
    Limits,
    Message,
    Meta,
    Router,
    Rpc,
    RpcContext,
    WsKitError,
)
from wskit_channels.routing import keeper
from wskit_channels.routing.idempotency import MemoryIdempotencyStore

Act = Callable[[RpcContext[Ask]], Any]


class Serving:
    """A router whose idempotent ``ASK`` is handled by ``act``, counting how often it ran."""

    def __init__(
        self, act: Act, *, store: Any = None, cancellable: bool = True, **options: Any
    ) -> None:
        self.ran = 0
        self.store = MemoryIdempotencyStore(clock=_loop_time) if store is None else store
        self.router: Router[Any] = Router(idempotency=self.store, **options)
        self._act = act
        register: Any = self.router.rpc(Ask, idempotent=True, cancellable=cancellable)
        register(self._run if asyncio.iscoroutinefunction(act) else self._run_plain)

    async def _run(self, ctx: RpcContext[Ask]) -> Any:
        self.ran += 1
        return await self._act(ctx)

    def _run_plain(self, ctx: RpcContext[Ask]) -> Any:
        self.ran += 1
        return self._act(ctx)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class Gate:
    """A handler that waits to be let go, and then answers with the number of its run."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = 0
        self.left: list[str] = []

    async def __call__(self, ctx: RpcContext[Ask]) -> Answer:
        self.entered += 1
        number = self.entered
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.left.append(f"{number} cancelled")
            raise
        return Answer(text=str(number))


def gated(**options: Any) -> tuple[Serving, Gate]:
    gate = Gate()

    async def act(ctx: RpcContext[Ask]) -> Answer:
        return await gate(ctx)

    return Serving(act, **options), gate


async def echo(ctx: RpcContext[Ask]) -> Answer:
    return Answer(text=ctx.payload.text)


async def ask(client: Client, id: str, text: str = "", key: str = "key", **meta: Any) -> None:
    await client.call("ASK", {"text": text}, id=id, idempotencyKey=key, **meta)


class Somebody:
    is_authenticated = True

    def __init__(self, pk: Any) -> None:
        self.pk = pk


class Session:
    def __init__(self, session_key: str | None) -> None:
        self.session_key = session_key


def scoped(router: Router[Any], **scope: Any) -> Any:
    """A router's application, with a scope as middleware before it makes it."""
    application = router.as_asgi()

    async def serve(received: Any, receive: Any, send: Any) -> None:
        await application({**received, **scope}, receive, send)

    return serve


# -- replays


async def test_a_repeated_call_is_answered_as_the_first_without_running_again() -> None:
    """PROTOCOL 5.10: the first answer's payload under the new correlationId."""
    serving = Serving(echo)

    async with connected(serving.router) as client:
        await ask(client, "1", "hé")
        assert await client.receive() == answer("1", "hé")
        await ask(client, "2", "hé")
        assert await client.receive() == answer("2", "hé")
    assert serving.ran == 1


@pytest.mark.parametrize("meta", [{}, {"idempotencyKey": "other"}])
async def test_without_the_key_it_runs_again(meta: dict[str, str]) -> None:
    serving = Serving(echo)

    async with connected(serving.router) as client:
        await ask(client, "1", "x")
        await client.call("ASK", {"text": "x"}, id="2", **meta)
        assert await client.received(2) == [answer("1", "x"), answer("2", "x")]
    assert serving.ran == 2


async def test_a_route_that_is_not_idempotent_takes_no_notice_of_keys() -> None:
    ran: list[str] = []
    router: Router[Any] = Router(idempotency=MemoryIdempotencyStore())

    @router.rpc(Ask)
    async def handle(ctx: RpcContext[Ask]) -> Answer:
        ran.append(ctx.payload.text)
        return Answer(text="")

    async with connected(router) as client:
        await ask(client, "1")
        await ask(client, "2")
        await client.received(2)
    assert ran == ["", ""]


async def test_the_same_key_with_another_payload_is_refused() -> None:
    serving = Serving(echo)

    async with connected(serving.router) as client:
        await ask(client, "1", "x")
        await ask(client, "2", "y")
        assert await client.received(2) == [
            answer("1", "x"),
            failure("2", "INVALID_ARGUMENT", "This key was used for another payload"),
        ]
        await ask(client, "3", "x")
        assert await client.receive() == answer("3", "x")
    assert serving.ran == 1


async def test_a_payload_that_is_refused_uses_no_key_up() -> None:
    """DESIGN 8: after validation."""
    serving = Serving(echo)

    async with connected(serving.router) as client:
        await client.call("ASK", {"text": 1}, id="1", idempotencyKey="key")
        assert (await client.receive())["payload"]["code"] == "INVALID_ARGUMENT"
        await ask(client, "2", "x")
        assert await client.receive() == answer("2", "x")


@pytest.mark.parametrize(
    ("key", "sentence", "kind"),
    [
        ("", "Too short", "string_too_short"),
        ("  ", "Too short", "string_too_short"),
        ("k" * 257, "Too long", "string_too_long"),
    ],
)
async def test_a_key_is_neither_blank_nor_longer_than_256(
    key: str, sentence: str, kind: str
) -> None:
    serving = Serving(echo)
    issue = {"path": ["meta", "idempotencyKey"], "message": sentence, "type": kind}

    async with connected(serving.router) as client:
        await ask(client, "1", key=key)
        assert await client.receive() == failure(
            "1", "INVALID_ARGUMENT", "Invalid message", details={"issues": [issue]}
        )
        await ask(client, "2", key="k" * 256)
        assert await client.receive() == answer("2")
    assert serving.ran == 1


async def test_middleware_sees_every_repetition_and_its_refusals_are_not_kept() -> None:
    seen: list[str | None] = []
    serving = Serving(echo)

    @serving.router.use
    async def gatekeeper(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        seen.append(ctx.meta.correlation_id)
        if len(seen) == 1:
            raise WsKitError("PERMISSION_DENIED")
        await call_next()

    async with connected(serving.router) as client:
        for id_ in ("1", "2", "3"):
            await ask(client, id_)
        assert await client.received(3) == [
            failure("1", "PERMISSION_DENIED", "Permission denied"),
            answer("2"),
            answer("3"),
        ]
    assert (seen, serving.ran) == (["1", "2", "3"], 1)


async def test_progress_is_not_repeated() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        ctx.progress(1)
        return Answer(text="")

    async with connected(Serving(act).router) as client:
        await ask(client, "1")
        await ask(client, "2")
        assert await client.heard() == [progress("1", 1), answer("1"), answer("2")]


async def test_extended_meta_is_repeated() -> None:
    class Traced(Meta):
        trace: str

    class Found(Message, type="FOUND", meta=Traced):
        pass

    class Find(Rpc[Found], type="FIND"):
        pass

    router: Router[Any] = Router(idempotency=MemoryIdempotencyStore())

    @router.rpc(Find, idempotent=True)
    async def find(ctx: RpcContext[Find]) -> None:
        ctx.reply(Found(), meta={"trace": "t"})

    async with connected(router) as client:
        for id_ in ("1", "2"):
            await client.call("FIND", id=id_, idempotencyKey="key")
        assert await client.received(2) == [
            {"type": "FOUND", "meta": {"correlationId": id_, "trace": "t"}} for id_ in ("1", "2")
        ]


# -- whose key it is


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ({"user": Somebody(1)}, {"user": Somebody(1)}, True),
        ({"user": Somebody(1)}, {"user": Somebody(2)}, False),
        ({"user": Somebody(1), "session": Session("a")}, {"user": Somebody(1)}, True),
        ({"session": Session("a")}, {"session": Session("a")}, True),
        ({"session": Session("a")}, {"session": Session("b")}, False),
        ({"session": Session(None)}, {"session": Session(None)}, False),
        ({"session": Session("1")}, {"user": Somebody(1)}, False),
        ({}, {}, False),
    ],
)
async def test_a_key_is_its_users_or_sessions_or_connections_own(
    one: Any, other: Any, shared: bool
) -> None:
    """DESIGN 8: nobody is answered with what somebody else was told."""
    serving = Serving(echo)

    async with (
        connected(scoped(serving.router, **one)) as first,
        connected(scoped(serving.router, **other)) as second,
    ):
        await ask(first, "1", "x")
        await first.receive()
        await ask(second, "1", "x")
        assert await second.receive() == answer("1", "x")
    assert serving.ran == (1 if shared else 2)


async def test_a_key_is_of_one_type() -> None:
    serving = Serving(echo)

    @serving.router.rpc(AskMore, idempotent=True)
    async def more(ctx: RpcContext[AskMore]) -> Answer:
        return Answer(text="more")

    async with connected(serving.router) as client:
        await ask(client, "1")
        await client.call("ASK_MORE", {}, id="2", idempotencyKey="key")
        assert await client.received(2) == [answer("1"), answer("2", "more")]


# -- errors


async def outcomes(act: Act, **options: Any) -> tuple[list[Frame], int]:
    """The answers to a call and its repetition, and how often it ran."""
    serving = Serving(act, **options)
    async with connected(serving.router) as client:
        await ask(client, "1")
        frames = [await client.receive()]
        await settle()
        await ask(client, "2")
        frames.append(await client.receive())
    return frames, serving.ran


@pytest.mark.parametrize("code", ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED"])
async def test_an_error_that_may_be_retried_is_not_kept(code: Any) -> None:
    async def act(ctx: RpcContext[Ask]) -> None:
        raise WsKitError(code, "Later")

    frames, ran = await outcomes(act)
    assert frames == [failure(id_, code, "Later", retryable=True) for id_ in ("1", "2")]
    assert ran == 2


async def test_nor_is_one_that_says_the_call_was_given_up() -> None:
    async def act(ctx: RpcContext[Ask]) -> None:
        raise WsKitError("CANCELLED")

    assert await outcomes(act) == ([cancelled("1"), cancelled("2")], 2)


class RoomFull(WsKitError, code="ROOM_FULL"):
    pass


@pytest.mark.parametrize(
    ("error", "payload"),
    [
        (
            WsKitError("NOT_FOUND", "No such", details={"id": 7, "token": "secret"}),
            {"code": "NOT_FOUND", "message": "No such", "details": {"id": 7}, "retryable": False},
        ),
        (
            WsKitError("RESOURCE_EXHAUSTED", retry_after=None),
            {
                "code": "RESOURCE_EXHAUSTED",
                "message": "Too much at once",
                "retryable": False,
                "retryAfterMs": None,
            },
        ),
        (RoomFull(message="Full"), {"code": "ROOM_FULL", "message": "Full"}),
        (
            WsKitError("UNAVAILABLE", retryable=False),
            {"code": "UNAVAILABLE", "message": "Temporarily unavailable", "retryable": False},
        ),
    ],
)
async def test_any_other_error_is_kept_as_the_client_saw_it(
    error: WsKitError, payload: Any
) -> None:
    """DESIGN 8; and nothing is kept that must not leave."""

    async def act(ctx: RpcContext[Ask]) -> None:
        raise error

    store = MemoryIdempotencyStore()
    frames, ran = await outcomes(act, store=store)
    assert frames == [
        {"type": "RPC_ERROR", "meta": {"correlationId": id_}, "payload": payload}
        for id_ in ("1", "2")
    ]
    assert ran == 1
    assert "secret" not in repr(vars(store))


async def test_a_bug_is_kept_too() -> None:
    """What it did before it failed, nobody knows."""

    async def act(ctx: RpcContext[Ask]) -> None:
        raise RuntimeError("a bug")

    assert await outcomes(act) == ([internal("1"), internal("2")], 1)


async def test_an_answer_that_was_forgotten_is_a_bug_like_others() -> None:
    async def act(ctx: RpcContext[Ask]) -> None:
        return None

    message = "The handler finished without a reply"
    frames = [failure(id_, "INTERNAL", message) for id_ in ("1", "2")]
    assert await outcomes(act) == (frames, 1)


async def test_what_was_answered_first_counts() -> None:
    """PROTOCOL 5.2: the client was told to try again, so it may."""

    async def act(ctx: RpcContext[Ask]) -> Answer:
        ctx.error("UNAVAILABLE")
        return Answer(text="too late")

    frames, ran = await outcomes(act)
    assert [frame["payload"]["code"] for frame in frames] == ["UNAVAILABLE"] * 2
    assert ran == 2


async def test_an_answer_too_large_to_be_kept_still_runs_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        return Answer(text="x" * 1000)

    frames, ran = await outcomes(act, store=MemoryIdempotencyStore(max_answer_bytes=1000))
    message = "This call was answered before; the answer was too large to be kept"
    assert frames == [answer("1", "x" * 1000), failure("2", "FAILED_PRECONDITION", message)]
    assert ran == 1
    assert any("too large to be kept: type=ASK" in one for one in caplog.messages)


async def test_a_repetition_without_an_id_gets_one_in_its_answer() -> None:
    """PROTOCOL 5: as the first one did, also where the answer is an error."""

    async def act(ctx: RpcContext[Ask]) -> None:
        raise WsKitError("NOT_FOUND")

    async with connected(Serving(act).router) as client:
        for _ in range(2):
            await client.send("ASK", {}, idempotencyKey="key")
            frame = await client.receive()
            assert (frame["type"], list(frame["meta"])) == ("RPC_ERROR", ["correlationId"])


# -- duplicates while the first one runs


async def test_a_duplicate_waits_for_the_first() -> None:
    serving, gate = gated()

    async with connected(serving.router) as client:
        await ask(client, "1")
        await ask(client, "2")
        assert await client.heard() == []
        gate.open.set()
        assert await client.heard() == [answer("1", "1"), answer("2", "1")]
    assert serving.ran == 1


async def test_a_duplicate_with_another_payload_is_refused_at_once() -> None:
    serving, gate = gated()

    async with connected(serving.router) as client:
        await ask(client, "1", "x")
        await ask(client, "2", "y")
        assert await client.heard() == [
            failure("2", "INVALID_ARGUMENT", "This key was used for another payload")
        ]
        gate.open.set()
        assert await client.heard() == [answer("1", "1")]


async def test_a_duplicate_that_waits_can_be_aborted() -> None:
    serving, gate = gated()

    async with connected(serving.router) as client:
        await ask(client, "1")
        await ask(client, "2")
        await client.abort("2")
        assert await client.heard() == [cancelled("2")]
        gate.open.set()
        assert await client.heard() == [answer("1", "1")]
    assert serving.ran == 1


@fake_time
async def test_a_duplicate_that_waits_has_a_deadline_of_its_own() -> None:
    serving, gate = gated(cancellable=False)

    async with connected(serving.router) as client:
        await ask(client, "1", timeoutMs=100_000)
        await ask(client, "2", timeoutMs=10_000)
        await clock().advance(10.0)
        assert await client.heard() == [too_late("2")]
        await clock().advance(1.0)
        gate.open.set()
        assert await client.heard() == [answer("1", "1")]
    assert serving.ran == 1


@fake_time
async def test_a_duplicate_that_is_not_cancellable_frees_its_slot_all_the_same() -> None:
    """PROTOCOL 5.7: nothing of it runs any more."""
    serving, gate = gated(cancellable=False, limits=Limits(max_inflight_rpcs=2))

    async with connected(serving.router) as client:
        await ask(client, "1")
        await ask(client, "2")
        await client.abort("2")
        await clock().advance(1.0)
        assert await client.heard() == [cancelled("2")]
        await ask(client, "3", key="another")
        gate.open.set()
        assert await client.heard() == [answer("1", "1"), answer("3", "2")]


@pytest.mark.parametrize("end", ["abort", "deadline", "disconnect"])
@fake_time
async def test_where_the_first_is_given_up_a_duplicate_runs(end: str) -> None:
    """Nothing is kept of it."""
    serving, gate = gated()
    user = Somebody(1)

    async with (
        connected(scoped(serving.router, user=user)) as other,
        connected(scoped(serving.router, user=user)) as client,
    ):
        await ask(client, "1", timeoutMs=10_000)
        await settle()
        await ask(other, "1")
        if end == "abort":
            await client.abort("1")
            assert await client.receive() == cancelled("1")
        elif end == "deadline":
            await clock().advance(10.0)
            assert await client.receive() == too_late("1")
        else:
            await client.disconnect()
        await clock().advance(1.0)
        gate.open.set()
        assert await other.receive() == answer("1", "2")
    assert gate.left == ["1 cancelled"]


async def test_an_answer_is_kept_although_its_client_has_gone() -> None:
    """What a handler did, it did."""
    serving, gate = gated(cancellable=False)
    user = Somebody(1)

    async with connected(scoped(serving.router, user=user)) as client:
        await ask(client, "1")
        await settle()
        await client.disconnect()
        await settle()
        gate.open.set()
    async with connected(scoped(serving.router, user=user)) as client:
        await ask(client, "2")
        assert await client.receive() == answer("2", "1")


async def test_an_answer_is_kept_although_its_client_had_given_up() -> None:
    async def act(ctx: RpcContext[Ask]) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Answer(text="done all the same")
        raise AssertionError

    serving = Serving(act)
    async with connected(serving.router) as client:
        await ask(client, "1")
        await settle()
        await client.abort("1")
        await ask(client, "2")
        assert await client.received(2) == [cancelled("1"), answer("2", "done all the same")]
    assert serving.ran == 1


# -- plain handlers


async def test_a_plain_handlers_answer_is_replayed() -> None:
    serving = Serving(lambda ctx: Answer(text=ctx.payload.text))

    async with connected(serving.router) as client:
        for id_ in ("1", "2"):
            await ask(client, id_, "x")
            assert await client.receive() == answer(id_, "x")
    assert serving.ran == 1


async def test_a_plain_handlers_error_is_replayed() -> None:
    def act(ctx: RpcContext[Ask]) -> None:
        raise WsKitError("NOT_FOUND")

    frames = [failure(id_, "NOT_FOUND", "Not found") for id_ in ("1", "2")]
    assert await outcomes(act) == (frames, 1)


async def test_a_thread_that_cannot_be_interrupted_keeps_the_key_to_its_end() -> None:
    """Its client gave up; a duplicate that ran beside it would be a second run."""
    loop = asyncio.get_running_loop()
    begun, gate = asyncio.Event(), threading.Event()

    def act(ctx: RpcContext[Ask]) -> Answer:
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(TIMEOUT)
        return Answer(text="late")

    serving = Serving(act)
    async with connected(serving.router) as client:
        await ask(client, "1")
        await soon(begun.wait())
        await client.abort("1")
        assert await client.receive() == cancelled("1")
        await ask(client, "2")
        assert await client.heard() == []
        gate.set()
        assert await client.receive() == answer("2", "late")
    assert serving.ran == 1


# -- leases


@fake_time
async def test_the_key_of_a_process_that_died_is_free_when_its_lease_ends() -> None:
    """DESIGN 8: a crash in the middle."""
    serving, gate = gated()
    user = Somebody(1)

    async with (
        connected(scoped(serving.router, user=user)) as dead,
        connected(scoped(serving.router, user=user)) as client,
    ):
        await ask(dead, "1", timeoutMs=120_000)
        await settle()
        for task in tuple(keeper._holding):
            task.cancel()  # what is left is the claim, which nobody renews
        await ask(client, "2", timeoutMs=120_000)
        await clock().advance(59.0)
        assert gate.entered == 1
        await clock().advance(2.0)
        assert gate.entered == 2
        gate.open.set()
        assert await client.heard() == [answer("2", "2")]
        assert await dead.heard() == [answer("1", "1")]


@fake_time
async def test_a_lease_is_renewed_for_as_long_as_the_call_runs() -> None:
    serving, gate = gated()

    async with connected(serving.router) as client:
        await ask(client, "1", timeoutMs=250_000)
        await settle()
        await ask(client, "2", timeoutMs=250_000)
        await clock().advance(240.0)
        gate.open.set()
        assert await client.heard() == [answer("1", "1"), answer("2", "1")]
    assert serving.ran == 1


class Faulty(MemoryIdempotencyStore):
    """A store in memory, some of whose methods fail for a while."""

    def __init__(self, *broken: str) -> None:
        super().__init__(clock=_loop_time)
        self.broken = set(broken)
        self.calls: list[str] = []

    def _check(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise ConnectionError("no server")

    async def acquire(self, key: str, claim: str) -> str | None:
        found = await super().acquire(key, claim)
        self._check("acquire")
        return found

    async def renew(self, key: str, claim: str) -> bool:
        self._check("renew")
        return await super().renew(key, claim)

    async def finish(self, key: str, claim: str, answer: str) -> bool:
        self._check("finish")
        return await super().finish(key, claim, answer)


async def test_where_the_store_fails_a_call_is_refused_rather_than_run_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And a claim that got through although its answer did not is taken back."""
    serving = Serving(echo, store=(store := Faulty("acquire")))

    async with connected(serving.router) as client:
        await ask(client, "1")
        assert await client.heard() == [
            failure("1", "UNAVAILABLE", "Temporarily unavailable", retryable=True)
        ]
        assert (serving.ran, len(store)) == (0, 0)
        store.broken.clear()
        await ask(client, "2")
        assert await client.receive() == answer("2")
    errors = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert [one.getMessage() for one in errors] == ["an idempotency store fails: type=ASK"]
    assert vars(errors[0])["message_type"] == "ASK"


async def test_a_call_that_is_aborted_while_it_claims_leaves_no_claim() -> None:
    """The store may have made it, although nobody was told."""

    class Slow(MemoryIdempotencyStore):
        async def acquire(self, key: str, claim: str) -> str | None:
            await super().acquire(key, claim)
            await asyncio.Event().wait()
            raise AssertionError

    serving = Serving(echo, store=(store := Slow()))
    async with connected(serving.router) as client:
        await ask(client, "1")
        await settle()
        assert len(store) == 1
        await client.abort("1")
        assert await client.heard() == [cancelled("1")]
        assert len(store) == 0


@fake_time
async def test_an_answer_is_offered_until_the_store_takes_it() -> None:
    serving = Serving(echo, store=(store := Faulty("finish")))

    async with connected(serving.router) as client:
        await ask(client, "1", "x")
        assert await client.heard() == [answer("1", "x")]
        await clock().advance(300.0)  # longer than the lease
        store.broken.clear()
        await clock().advance(5.0)
        await ask(client, "2", "x")
        assert await client.heard() == [answer("2", "x")]
    assert serving.ran == 1


@fake_time
async def test_a_renewal_that_failed_is_tried_again_before_the_lease_ends() -> None:
    serving, gate = gated(store=(store := Faulty("renew")))

    async with connected(serving.router) as client:
        await ask(client, "1", timeoutMs=250_000)
        await clock().advance(50.0)
        assert store.calls.count("renew") > 1
        store.broken.clear()
        await ask(client, "2", timeoutMs=250_000)
        await clock().advance(100.0)
        gate.open.set()
        assert await client.heard() == [answer("1", "1"), answer("2", "1")]


@fake_time
async def test_a_call_that_has_lost_its_lease_does_not_overwrite_the_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A process that stood still for longer than its lease."""
    serving, gate = gated(store=(store := Faulty("renew")))

    async with connected(serving.router) as client:
        await ask(client, "1", timeoutMs=250_000)
        await clock().advance(61.0)
        await ask(client, "2", timeoutMs=250_000)
        await settle()
        assert gate.entered == 2
        store.broken.clear()
        await clock().advance(30.0)
        gate.open.set()
        assert await client.heard() == [answer("1", "1"), answer("2", "2")]
        await ask(client, "3")
        assert await client.heard() == [answer("3", "2")]
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert errors == ["a running call has lost its lease: type=ASK"]


async def test_what_the_store_holds_that_is_not_ours_is_a_failure_of_it() -> None:
    class Foreign(MemoryIdempotencyStore):
        async def acquire(self, key: str, claim: str) -> str | None:
            return "no JSON"

    serving = Serving(echo, store=Foreign())
    async with connected(serving.router) as client:
        await ask(client, "1")
        assert (await client.receive())["payload"]["code"] == "UNAVAILABLE"
    assert serving.ran == 0


# -- registering


def test_an_idempotent_route_needs_a_store() -> None:
    router: Router[Any] = Router()
    router.rpc(Ask, idempotent=True)(echo)

    with pytest.raises(TypeError, match=r"^ASK: registered with idempotent=True, but .* no store"):
        router.freeze()


async def test_the_store_of_merged_routers_is_the_hosts() -> None:
    guest: Router[Any] = Router(idempotency=(ignored := MemoryIdempotencyStore()))
    guest.rpc(Ask, idempotent=True)(echo)
    host: Router[Any] = Router(idempotency=(used := MemoryIdempotencyStore()))
    host.merge(guest)

    async with connected(host) as client:
        await ask(client, "1")
        await client.receive()
        await settle()
    assert (len(ignored), len(used)) == (0, 1)


async def test_nothing_is_left_behind() -> None:
    """Neither tasks nor waiting calls."""
    serving = Serving(echo)
    async with connected(serving.router) as client:
        await ask(client, "1")
        await client.receive()
        await settle()
        loop = asyncio.get_running_loop()
        assert (keeper._holding, keeper._under_way.get(loop)) == (set(), {})


def test_the_guide_runs() -> None:
    """docs/idempotency.md: what it shows, a transfer that is asked for twice."""
    guide = Path(__file__).parents[2] / "docs" / "idempotency.md"
    module = ModuleType("tests.guide_of_idempotency")
    sys.modules[module.__name__] = module
    exec("".join(re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)), vars(module))

    async def main() -> list[Frame]:
        async with connected(module.router) as client:
            for id_ in ("1", "2"):
                payload = {"to": "ann", "amount": 10}
                await client.call("TRANSFER", payload, id=id_, idempotencyKey="8b0c7a52")
            return await client.received(2)

    assert [one["payload"] for one in asyncio.run(main())] == [{"balance": 90}] * 2
    assert module.balance == 90
