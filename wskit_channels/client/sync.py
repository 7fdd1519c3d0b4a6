"""
The client without asyncio: a loop of its own, in a thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack

from wskit_channels.client.call import Call
from wskit_channels.client.client import Client, Registrar
from wskit_channels.client.errors import ConnectionClosed
from wskit_channels.client.hooks import State
from wskit_channels.client.settings import ClientOptions
from wskit_channels.protocol.errors import UNSET, Unset
from wskit_channels.protocol.messages import Request

__all__ = ["SyncCall", "SyncClient"]

Resp = TypeVar("Resp")
Prog = TypeVar("Prog")
M = TypeVar("M")
T = TypeVar("T")


class SyncCall(Generic[Resp, Prog]):
    """A request on its way: iterate it for progress, ask for its ``result()``."""

    def __init__(self, client: SyncClient, call: Call[Resp, Prog]) -> None:
        self._client = client
        self._call = call

    def result(self) -> Resp:
        """Wait for the reply; raises as ``Client.request()`` does."""

        async def wait() -> Resp:
            return await self._call

        return self._client.run(wait())

    def abort(self) -> None:
        """Give the call up; the server is told."""

        async def abort() -> None:
            self._call.abort()

        self._client.run(abort())

    def __iter__(self) -> Iterator[Prog]:
        while True:
            try:
                yield self._client.run(_next(self._call))
            except _Exhausted:
                return


class SyncClient:
    """
    ``Client`` for scripts::

        with SyncClient("ws://localhost:8000/ws/", auth=token) as client:
            user = client.request(GetUser(id=1))

    Any thread may use it. Handlers of ``on()`` run in the client's own thread and must not
    call back into it. An interrupt, Ctrl-C say, aborts the request that it interrupts.
    """

    def __init__(self, url: str, **options: Unpack[ClientOptions]) -> None:
        self._client = Client(url, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> State:
        return self._client.state

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected

    @property
    def protocol(self) -> str | None:
        return self._client.protocol

    @property
    def closed_by(self) -> ConnectionClosed | None:
        return self._client.closed_by

    def connect(self) -> None:
        """Start the thread and connect; raises as ``Client.connect()`` does."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="wskit-client", daemon=True
            )
            self._thread.start()
        try:
            self.run(self._client.connect())
        except BaseException:
            self.close(drain=False)
            raise

    def close(self, *, drain: bool = True) -> None:
        """Close for good and end the thread; see ``Client.close()``."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        try:
            self.run(self._client.close(drain=drain))
        finally:
            self._loop = self._thread = None
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(drain=error is None)

    def send(self, message: Any, *, meta: Mapping[str, Any] | None = None) -> bool:
        """Queue a message; see ``Client.send()``."""

        async def send() -> bool:
            return self._client.send(message, meta=meta)

        return self.run(send())

    def drain(self) -> None:
        """Wait until everything queued was written."""
        self.run(self._client.drain())

    def request(
        self,
        request: Request[Resp, Prog],
        *,
        on_progress: Callable[[Prog], object] | None = None,
        timeout: float | Unset | None = UNSET,
        queue_timeout: float | None = None,
        idempotency_key: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Resp:
        """
        Send a request and return its reply; see ``Client.request()``.

        ``on_progress`` runs in the client's thread.
        """
        return self.run(
            self._client.request(
                request,
                on_progress=on_progress,
                timeout=timeout,
                queue_timeout=queue_timeout,
                idempotency_key=idempotency_key,
                meta=meta,
            )
        )

    def call(
        self,
        request: Request[Resp, Prog],
        *,
        timeout: float | Unset | None = UNSET,
        queue_timeout: float | None = None,
        idempotency_key: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> SyncCall[Resp, Prog]:
        """Send a request and return the call."""

        async def call() -> Call[Resp, Prog]:
            return self._client.call(
                request,
                timeout=timeout,
                queue_timeout=queue_timeout,
                idempotency_key=idempotency_key,
                meta=meta,
            )

        return SyncCall(self, self.run(call()))

    def on(self, message: type[M]) -> Registrar[M]:
        """Have messages of a class handled; see ``Client.on()``."""
        return self._client.on(message)

    def __iter__(self) -> Iterator[object]:
        """Messages as ``Client`` iterates them, waiting for each."""
        while True:
            try:
                yield self.run(_next(self._client))
            except _Exhausted:
                return

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Run a coroutine in the client's loop and wait for it.

        Raises:
            RuntimeError: If the client is not connected, or this is its own thread.
        """
        loop = self._loop
        if loop is None or self._thread is threading.current_thread():
            work.close()
            raise RuntimeError(
                "SyncClient is connected by `with` or connect(), and is not used by its handlers."
            )
        ours = _Interruptible(work)
        try:
            return asyncio.run_coroutine_threadsafe(ours.run(), loop).result()
        except BaseException:
            # An interrupt may come before there is a future to cancel.
            with suppress(RuntimeError):  # the loop was closed just now, and all in it with it
                loop.call_soon_threadsafe(ours.cancel)
            raise


class _Interruptible(Generic[T]):
    """A coroutine that is cancelled whether it has begun or not; in its loop's thread."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    async def run(self) -> T:
        if self._cancelled:
            self._work.close()
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        return await self._work

    def cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()


class _Exhausted(Exception):
    """StopAsyncIteration, which no future can carry."""


async def _next(iterator: Client | Call[Any, T]) -> Any:
    try:
        return await iterator.__anext__()
    except StopAsyncIteration:
        raise _Exhausted from None
