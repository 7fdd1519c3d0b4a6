"""
Idempotent calls: a call that carries a key runs once, and its answer is replayed.

The key is claimed in a store before the handler runs, with a lease that is renewed while it
does, so that a process that dies gives it up. A duplicate waits until there is an answer, or
until the claim is gone, and then runs itself. What is kept is what the handler answered,
whether or not its client was still there to be told. What may be tried again leaves nothing
behind: errors that are retryable, aborts, deadlines and disconnects.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wskit_channels.protocol import wire
from wskit_channels.protocol.errors import Refused, WsKitError, error_body
from wskit_channels.protocol.messages import response_of
from wskit_channels.protocol.validation import schema_of
from wskit_channels.routing.fingerprint import digest, plain, scope_of
from wskit_channels.routing.functions import is_async
from wskit_channels.routing.log import fields

if TYPE_CHECKING:
    from wskit_channels.routing.context import RpcContext
    from wskit_channels.routing.idempotency import IdempotencyStore
    from wskit_channels.routing.middleware import Run
    from wskit_channels.routing.table import RouteTable

__all__ = ["Keeper", "idempotent", "with_store"]

logger = logging.getLogger("wskit_channels.idempotency")

Endpoint: TypeAlias = "Callable[[Callable[..., Any]], Run]"
"""Makes of a handler what middleware is put around."""

MAX_KEY: Final = 256
"""Longest key that a client may send, in characters."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5
"""Seconds between two looks at a call that another process runs; doubled up to the second."""
LONGEST_RETRY_PAUSE: Final = 5.0
KEEP_TRYING: Final = 600.0
"""Seconds for which an answer is offered to a store that fails."""
UNKEPT_CODES: Final = frozenset({"CANCELLED", "DEADLINE_EXCEEDED"})

TOO_LARGE: Final = {
    "code": "FAILED_PRECONDITION",
    "message": "This call was answered before; the answer was too large to be kept",
}

_holding: set[asyncio.Task[None]] = set()
"""A loop keeps only weak references to its tasks."""

_under_way: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Event]]
_under_way = weakref.WeakKeyDictionary()
"""Calls that a loop runs, by key: set once there is something new in the store."""


def with_store(table: RouteTable, store: IdempotencyStore | None) -> RouteTable:
    """
    Give a router's table the store that its idempotent routes use.

    Raises:
        TypeError: If there are such routes and no store.
    """
    types = [route.type for route in table.routes.values() if route.idempotent]
    if types and store is None:
        raise TypeError(
            f"{', '.join(types)}: registered with idempotent=True, but the router has no store. "
            "Write Router(idempotency=...): MemoryIdempotencyStore() for one process. "
            "Where routers are merged it is the host's."
        )
    table.idempotency = store
    return table


def idempotent(endpoint: Endpoint) -> Endpoint:
    """Have a handler's calls that carry a key run once."""

    def make(handler: Callable[..., Any]) -> Run:
        inner = endpoint(handler if is_async(handler) else _in_thread(handler))

        async def run(ctx: Any) -> None:
            key = ctx.meta.idempotency_key
            if key is None or ctx._decoded.refusal is not None:
                await inner(ctx)
                return
            if not key.strip() or len(key) > MAX_KEY:
                raise Refused("INVALID_ARGUMENT", own={"issues": [_key_issue(key)]})
            if await Keeper(ctx, ctx._peer.table.idempotency, key).claim():
                await inner(ctx)

        return run

    return make


def _in_thread(handler: Callable[..., Any]) -> Callable[..., Any]:
    """
    A plain handler that is still heard when nobody waits for its thread any more.

    So it answers from within, and its lease lasts until it has ended.
    """

    def run(ctx: Any) -> Any:
        keeper: Keeper | None = ctx._running.keeper
        if keeper is None:
            return handler(ctx)
        if not keeper.thread_begins():
            return None
        try:
            answer = handler(ctx)
            if answer is not None:
                ctx.reply(answer)
        finally:
            keeper.thread_ends()
        return None

    return run


def _key_issue(key: str) -> dict[str, Any]:
    kind, sentence = "string_too_short", "Too short"
    if key.strip():
        kind, sentence = "string_too_long", "Too long"
    return {"path": [wire.META, wire.IDEMPOTENCY_KEY], "message": sentence, "type": kind}


class Keeper:
    """
    One call with a key: claims the key, holds it while the call runs, and keeps the answer.

    ``replied``, ``failed``, ``thread_begins`` and ``thread_ends`` may be called from a plain
    handler's thread.
    """

    def __init__(self, ctx: RpcContext[Any, Any], store: IdempotencyStore, key: str) -> None:
        self._ctx = ctx
        self._peer = ctx._peer
        self._running = ctx._running
        self._store = store
        self._key = digest([*scope_of(ctx), ctx.type, key])
        self._payload = digest(plain(ctx.payload))
        self._claim = json.dumps([self._payload, uuid.uuid4().hex])
        self._answer: str | None = None
        self._decided = False
        self._over = asyncio.Event()
        self._settling: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._lock = threading.Lock()
        self._in_thread = False
        self._given_up = False

    @property
    def _about(self) -> dict[str, Any]:
        return fields(self._peer, message_type=self._ctx.type)

    # -- before the handler

    async def claim(self) -> bool:
        """
        Claim the key; False where the call was answered as the first one was.

        Raises:
            WsKitError: ``INVALID_ARGUMENT`` if the key came with another payload before;
                ``UNAVAILABLE`` if the store fails, since running twice would be worse.
        """
        pause = FIRST_PAUSE
        while (found := await self._acquire()) is not None:
            payload, state = found
            if payload != self._payload:
                raise WsKitError("INVALID_ARGUMENT", "This key was used for another payload")
            if isinstance(state, dict):
                self._replay(state)
                return False
            await self._wait(pause)
            if self._running.cancelled:  # one that is not cancellable, or it would not be here
                return False
            pause = min(2 * pause, LONGEST_PAUSE)
        self._hold_on()
        return True

    async def _acquire(self) -> tuple[str, Any] | None:
        """What another call put under the key, or None: it is ours."""
        try:
            found = await self._store.acquire(self._key, self._claim)
            if found is None:
                return None
            payload, state = json.loads(found)
        except Exception as error:
            logger.exception(
                "an idempotency store fails: type=%s", self._ctx.type, extra=self._about
            )
            self._peer.finish(self._abandon())
            raise WsKitError("UNAVAILABLE") from error
        except asyncio.CancelledError:
            self._peer.finish(self._abandon())
            raise
        return payload, state

    async def _abandon(self) -> None:
        """Take back a claim that may have been made although nobody was told."""
        try:
            await self._store.release(self._key, self._claim)
        except Exception as error:  # noqa: BLE001 - its lease ends by itself
            logger.debug(
                "a claim was left to its lease: %s", type(error).__qualname__, extra=self._about
            )

    async def _wait(self, pause: float) -> None:
        event = _under_way.get(asyncio.get_running_loop(), {}).get(self._key)
        if event is None:  # another process runs it
            await asyncio.sleep(pause)
        else:
            # Each says so when it is over; now and then is enough for what they cannot say.
            over = asyncio.ensure_future(event.wait())
            given_up = asyncio.ensure_future(self._running.wait_cancelled())
            try:
                longest, first = max(pause, self._store.lease / 3), asyncio.FIRST_COMPLETED
                await asyncio.wait({over, given_up}, timeout=longest, return_when=first)
            finally:
                over.cancel()
                given_up.cancel()

    def _replay(self, answer: Mapping[str, Any]) -> None:
        """Answer as before, under this call's id (``PROTOCOL 5.10``)."""
        running = self._running
        running.handler_began = True
        if "code" in answer:
            running.fail(_error_of(answer))
            return
        assert self._ctx.message_class is not None  # noqa: S101 - the context is of a frame
        schema = schema_of(response_of(self._ctx.message_class), self._peer.table.validator)
        suffix = wire.meta_suffix(running.call.id, answer["meta"])
        running.reply(wire.frame(schema.prefix, time.time(), suffix, answer["payload"]))

    # -- while it runs

    def _hold_on(self) -> None:
        """Hold the key, beside the handler, from now until its call is settled."""
        running = self._running
        running.keeper = self
        task = running.task
        assert task is not None  # noqa: S101 - it is the present one
        task.add_done_callback(self._task_ended)
        # Not the handler's: a store that needs a thread must not wait for handlers to end.
        background = self._peer.transport.background()
        loop = task.get_loop()
        calls = _under_way.setdefault(loop, {})
        calls[self._key] = self._settled
        holding = loop.create_task(self._hold(), context=background)
        _holding.add(holding)

        def ended(task: asyncio.Task[None]) -> None:
            _holding.discard(task)
            self._settled.set()
            if calls.get(self._key) is self._settled:
                del calls[self._key]

        holding.add_done_callback(ended)

    async def _hold(self) -> None:
        """Renew the lease until there is an answer or nothing runs any more; then settle."""
        if await self._renew_until_over():
            # What a close waits for is the store alone: a handler has had its time by then.
            self._settling = asyncio.ensure_future(self._settle())
            self._peer.finish(self._settling)
            await self._settling

    async def _renew_until_over(self) -> bool:
        pause = self._store.lease / 3
        while not await _is_set_within(self._over, pause):
            try:
                renewed = await self._store.renew(self._key, self._claim)
            except Exception as error:  # noqa: BLE001 - whatever a store raises
                logger.warning(
                    "a lease was not renewed: type=%s error=%s",
                    self._ctx.type,
                    type(error).__qualname__,
                    extra=self._about,
                )
                pause = self._store.lease / 10
                continue
            if not renewed:
                logger.error(
                    "a running call has lost its lease: type=%s", self._ctx.type, extra=self._about
                )
                return False
            pause = self._store.lease / 3
        return True

    async def _settle(self) -> None:
        """Keep the answer, or give the key up if there is none."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        give_up = loop.time() + KEEP_TRYING
        if self._answer is None:
            await self._abandon()
            return
        while True:
            try:
                if not await self._store.finish(self._key, self._claim, self._answer):
                    logger.error(
                        "a call has lost its lease: type=%s", self._ctx.type, extra=self._about
                    )
            except Exception:
                if self._settling is not None:  # the store's trouble is not in a close's way
                    self._peer.finishing.pop(self._settling, None)
                if loop.time() >= give_up:
                    logger.exception(
                        "an answer was not kept: type=%s", self._ctx.type, extra=self._about
                    )
                    return
            else:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RETRY_PAUSE)

    def thread_begins(self) -> bool:
        """A plain handler is about to run; False if it must not: the key was given up."""
        with self._lock:
            self._in_thread = not self._given_up
            return self._in_thread

    def thread_ends(self) -> None:
        self._peer.post(self._thread_ended)

    def _thread_ended(self) -> None:
        with self._lock:
            self._in_thread = False
        if self._running.task is None or self._running.task.done():
            self._over.set()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        with self._lock:
            self._given_up = not self._in_thread
        if self._given_up:
            self._over.set()

    # -- its answer

    def replied(self, message: Any, meta: Mapping[str, Any] | None) -> None:
        """Keep a reply, if nothing was answered before."""
        payload = schema_of(type(message), self._peer.table.validator).encode(message)
        own = None if meta is None else json.loads(wire.dump(meta))
        self._peer.post(self._keep, {"payload": payload, "meta": own})

    def failed(self, error: WsKitError) -> None:
        """Keep an error that is not to be tried again, if nothing was answered before."""
        try:
            body = error_body(error, self._peer.connection.sensitive).payload
            wire.dump(body)
        except Exception:  # noqa: BLE001 - such an error is answered as a bug
            body = error_body(WsKitError("INTERNAL")).payload
        unkept = body.get("retryable") or error.code in UNKEPT_CODES
        self._peer.post(self._keep, None if unkept else body)

    def _keep(self, answer: Mapping[str, Any] | None) -> None:
        if self._decided:
            return
        self._decided = True
        if answer is None:
            return  # the key is given up when the handler has ended
        text = wire.dump([self._payload, answer])
        if len(text.encode()) > self._store.max_answer_bytes:
            logger.warning(
                "an answer of %s characters is too large to be kept: type=%s",
                len(text),
                self._ctx.type,
                extra=self._about,
            )
            text = wire.dump([self._payload, TOO_LARGE])
        self._answer = text
        self._over.set()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _error_of(answer: Mapping[str, Any]) -> WsKitError:
    """The error that was kept; its details were cleaned before."""
    error = Refused("INTERNAL", answer["message"], own=answer.get("details"))
    error.code = answer["code"]
    error.retryable = answer.get("retryable")
    if "retry_after" in answer:
        error.retry_after = answer["retry_after"]
    return error
