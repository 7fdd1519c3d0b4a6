"""
A call as its caller holds it: awaited for the reply, iterated for progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, cast

from typing_extensions import TypeVar

from wskit_channels.client.calls import Exchange
from wskit_channels.client.errors import InvalidFrame, ServerError
from wskit_channels.client.frames import Frame, progress_validator, request_writer
from wskit_channels.client.inbox import Inbox
from wskit_channels.protocol.messages import Request, response_of, type_of

__all__ = ["Call"]

Resp = TypeVar("Resp")
Prog = TypeVar("Prog", default=Any)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """
    How one request is sent.

    Raises:
        ValueError: If a timeout is not above 0.
    """

    timeout: float | None
    queue_timeout: float | None
    idempotency_key: str | None
    meta: Mapping[str, Any] | None

    def __post_init__(self) -> None:
        for name in ("timeout", "queue_timeout"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is a number of seconds above 0 or None, not {value!r}.")


class Call(Exchange, Generic[Resp, Prog]):
    """
    A request on its way; ``Client.call()`` makes them.

    ``await call`` gives the reply, ``async for step in call`` the progress until then, and
    raises what the call failed with. ``async with`` aborts on leaving what has not ended.
    Cancelling a task that awaits it aborts it too. Progress that nobody takes is kept up to
    the client's ``incoming_size``, the newest of it.
    """

    def __init__(
        self,
        id: str,
        request: Request[Resp, Prog],
        options: CallOptions,
        *,
        buffer: int,
        on_progress: Callable[[Prog], object] | None,
        abandon: Callable[[Exchange], None],
    ) -> None:
        progress = progress_validator(type(request))
        self._response: type[Any] = response_of(type(request))
        write = request_writer(
            request, id, idempotency_key=options.idempotency_key, meta=options.meta
        )
        super().__init__(
            id,
            frame=write,
            response_type=type_of(self._response) or "",
            timeout=options.timeout,
            queue_timeout=options.queue_timeout,
            idempotent=options.idempotency_key is not None,
        )
        self._progress_validator = progress
        self._on_progress = on_progress
        self._abandon = abandon
        self._steps: Inbox[Prog] = Inbox(buffer)
        self._future: asyncio.Future[Resp] = asyncio.get_running_loop().create_future()

    @property
    def done(self) -> bool:
        return self._future.done()

    def abort(self) -> None:
        """
        Give the call up: the server is told, and its handler cancelled.

        A request that was not written yet never will be. Whoever awaits the call gets a
        ``ServerError`` ``CANCELLED``. Nothing happens to a call that has ended.
        """
        if not self.done:
            self._abandon(self)
            self.fail(ServerError("CANCELLED", "The call was aborted by the client"))
            self._future.exception()  # whoever aborted need not be told

    def __await__(self) -> Generator[Any, None, Resp]:
        return self._result().__await__()

    async def _result(self) -> Resp:
        try:
            return await asyncio.shield(self._future)
        except asyncio.CancelledError:
            self.abort()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Prog:
        try:
            return await self._steps.__anext__()
        except asyncio.CancelledError:
            self.abort()
            raise
        except StopAsyncIteration:
            raise
        except Exception:
            self._future.exception()  # told here
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()
        if not self._future.cancelled():
            self._future.exception()

    def replied(self, frame: Frame) -> None:
        """Settle with a reply frame, or with the error that it is not as declared."""
        try:
            reply = frame.decode(self._response)
        except InvalidFrame as error:
            self.fail(error)
        else:
            self._future.set_result(cast("Resp", reply))
            self._steps.end()

    def fail(self, error: Exception) -> None:
        self._future.set_exception(error)
        self._steps.end(error)

    def progressed(self, frame: Frame) -> None:
        """
        Hand progress on.

        Raises:
            InvalidFrame: If it is not as declared; the call goes on.
            Exception: What the caller's ``on_progress`` raised; the call goes on.
        """
        step: Prog = frame.decode_progress(self._progress_validator)
        if self._on_progress is None:
            self._steps.put(step)
        else:
            self._on_progress(step)
