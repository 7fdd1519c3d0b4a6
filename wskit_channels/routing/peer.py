"""
One connection, as its contexts share it.

Everything that a handler may do from a plain function's thread comes through
``post``, which keeps its order; all else runs in the loop's own thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from wskit_channels.protocol.backlog import Kind
from wskit_channels.protocol.calls import Call
from wskit_channels.protocol.errors import WsKitError, check_close
from wskit_channels.protocol.limits import LimitExceeded, Limits, LimitType
from wskit_channels.protocol.topics import Topic
from wskit_channels.routing.functions import observe
from wskit_channels.routing.log import ConnectionLogger
from wskit_channels.routing.publishing import encode, prepare
from wskit_channels.routing.results import PublishResult
from wskit_channels.routing.topics import Topics

if TYPE_CHECKING:
    from wskit_channels.protocol.connection import Connection
    from wskit_channels.routing.context import ConnectionContext
    from wskit_channels.routing.handshake import Handshake
    from wskit_channels.routing.shell import Transport
    from wskit_channels.routing.table import RouteTable

logger = logging.getLogger("wskit_channels.connection")


class Peer:
    """
    One accepted connection: who it is, its data, and the way out to it.

    Made and closed by the shell, which owns the transport.
    """

    def __init__(
        self,
        table: RouteTable,
        transport: Transport,
        handshake: Handshake,
        connection: Connection,
        *,
        limits: Limits,
        client_id: str,
        data: Any,
        debug: bool,
        closes: Mapping[str, tuple[int, str]] | None = None,
    ) -> None:
        self.table = table
        self.transport = transport
        self.handshake = handshake
        self.connection = connection
        self.limits = limits
        self.client_id = client_id
        self.data = data
        self.opened_at = time.time()
        self.closed = False
        self.topics = Topics(self)
        # Dicts as sets: an empty one takes a third of the memory, and most stay empty.
        self.spawned: dict[asyncio.Task[Any], None] = {}
        self.finishing: dict[asyncio.Future[Any], None] = {}
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._declared = table.declared if debug else None
        self._closes = closes or {}

    @property
    def log(self) -> ConnectionLogger:
        """A logger whose records carry whose connection this is; made when it is needed."""
        return ConnectionLogger(logger, self)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Run a plain function in the loop's thread: now if this is it, else in turn."""
        if threading.get_ident() == self._thread:
            function(*args)
        else:
            self._loop.call_soon_threadsafe(function, *args)

    def write(self, frame: str, kind: Kind = Kind.MESSAGE) -> bool:
        """
        Queue a frame; after the close this only leaves a debug line.

        False: a reply does not fit, and its call is to be failed.
        """
        if self.closed:
            self.log.debug("dropped a frame: the connection has closed")
            return True
        return self.transport.write(frame, kind)

    def encode(
        self,
        message: Any,
        *,
        correlation_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> str:
        """
        The frame of a message.

        Raises:
            TypeError: If it is no message.
            ValueError: If JSON cannot hold it, or ``meta`` has a key of the protocol's.
        """
        return encode(message, self.table.validator, correlation_id=correlation_id, meta=meta)

    def send(
        self,
        message: Any,
        *,
        correlation_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Encode and queue a message, without an id that a call in flight owns."""
        if correlation_id is not None and correlation_id in self.connection.calls:
            correlation_id = None
        frame = encode(message, self.table.validator, correlation_id=correlation_id, meta=meta)
        if self._declared is not None and type(message) not in self._declared:
            self._declared = self._declared | {type(message)}
            self.log.warning(
                "%s is sent but not declared: add it to sends= or router.sends()",
                type(message).__qualname__,
            )
        if threading.get_ident() == self._thread:
            self.write(frame)
        else:
            self._loop.call_soon_threadsafe(self.write, frame)

    def send_error(
        self,
        error: WsKitError,
        *,
        correlation_id: str | None = None,
        rpc: bool = False,
        call: Call | None = None,
    ) -> None:
        """Queue an error's frame; in the loop's thread only."""
        options: Any = {"rpc": rpc, "correlation_id": correlation_id, "call": call}
        try:
            frame, dropped = self.connection.error_frame(error, now=time.time(), **options)
        except Exception:
            self.log.exception("an error cannot be sent as it is: code=%s", error.code)
            bug = WsKitError("INTERNAL")
            frame, dropped = self.connection.error_frame(bug, now=time.time(), **options)
        for what in dropped:
            self.log.warning("left out of a %s error: %s", error.code, what)
        self.write(frame, Kind.ERROR)
        if (close := self._closes.get(error.code)) is not None:
            self.transport.close(*close)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection after what is queued; the first close wins."""
        check_close(code, reason)
        self.post(self.transport.close, code, reason)

    def report(
        self,
        type_: LimitType,
        observed: int,
        limit: int,
        retry_after: float | None = None,
        *,
        dropped: int = 0,
    ) -> None:
        """Tell ``on_limit_exceeded`` hooks of a limit that was crossed."""
        self.report_exceeded(
            LimitExceeded(
                type=type_,
                observed=observed,
                limit=limit,
                client_id=self.client_id,
                retry_after=retry_after,
                dropped=dropped,
            )
        )

    def report_exceeded(self, info: LimitExceeded) -> None:
        self.log.info("limit exceeded: %s %s over %s", info.type, info.observed, info.limit)
        if hooks := self.table.hooks.on_limit_exceeded:
            self.post(lambda: self.finish(observe(hooks, info)))

    def finish(self, work: Awaitable[Any]) -> None:
        """Let something run to its end, also when the connection closes meanwhile."""
        task = asyncio.ensure_future(work)
        self.finishing[task] = None  # the loop keeps only a weak reference
        task.add_done_callback(self._finished)

    async def change_user(self, change: Coroutine[Any, Any, None]) -> None:
        """
        Carry out a login or logout and leave the topics that it loses, to the end.

        A call that is aborted in the middle must not leave one without the other.
        """

        async def both() -> None:
            await change
            await self.topics._reauthorize()

        task = asyncio.ensure_future(both())
        self.finishing[task] = None
        task.add_done_callback(lambda _: self.finishing.pop(task, None))
        await asyncio.shield(task)

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self.finishing.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error("a callback failed", exc_info=error)

    async def publish(
        self,
        topic: str | Topic[Any],
        message: Any,
        *,
        exclude_self: bool,
        meta: Mapping[str, Any] | None,
        after_close: bool,
    ) -> PublishResult:
        if self.closed and not after_close:
            return PublishResult(ok=False, error="CONNECTION_CLOSED")
        policy = self.table.policy
        publication = prepare(
            topic,
            message,
            meta,
            limits=self.limits,
            validator=self.table.validator,
            normalize=policy.normalized if policy.normalize else None,
        )
        if isinstance(publication, PublishResult):
            return publication
        name, frame = publication
        if policy.authorize and (refusal := await self._refusal_to_publish(name)) is not None:
            return refusal
        result = await self.transport.publish(name, frame, exclude_self=exclude_self)
        if self.table.hooks.on_publish:
            await observe(self.table.hooks.on_publish, message, name)
        return result

    async def _refusal_to_publish(self, topic: str) -> PublishResult | None:
        cause: Exception | None = None
        try:
            if await self.table.policy.allows(self, "publish", topic):
                return None
        except Exception as error:
            if not isinstance(error, WsKitError):
                self.log.exception("authorising a publish failed")
            cause = error
        return PublishResult(ok=False, error="ACL_PUBLISH", details={"topic": topic}, cause=cause)

    def hook_context(self) -> ConnectionContext[Any]:
        """A context of this connection, without a message, for hooks."""
        from wskit_channels.routing.context import ConnectionContext

        return ConnectionContext(self)

    def assign(self, changes: Mapping[str, Any]) -> None:
        """
        Set several fields of the connection's data, all or none.

        Raises:
            AttributeError: For a field that the data does not have.
            pydantic.ValidationError: If the data is a pydantic model and refuses a value.
        """
        data = self.data
        if isinstance(data, BaseModel):
            known = set(type(data).model_fields)
        else:
            known = set(getattr(data, "__dataclass_fields__", changes))
        if unknown := sorted(changes.keys() - known):
            raise AttributeError(f"{type(data).__name__} has no fields {', '.join(unknown)}.")
        if isinstance(data, BaseModel):
            # All new values are in place before any is validated, for validators that compare.
            trial = data.model_copy(update=changes)
            for name, value in changes.items():
                setattr(trial, name, value)
            data.__dict__.update(trial.__dict__)
            data.model_fields_set.update(changes)
        else:
            for name, value in changes.items():
                setattr(data, name, value)

    def own(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in a task that ends with the connection."""
        if self.closed or threading.get_ident() != self._thread:
            coroutine.close()
            why = "has closed" if self.closed else "is served by another thread"
            raise RuntimeError(f"The connection {why}: nothing can be spawned on it from here.")
        task = self._loop.create_task(coroutine)
        self.spawned[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.spawned.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error("a spawned task failed", exc_info=error)
