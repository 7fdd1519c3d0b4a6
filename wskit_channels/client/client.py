"""
The client: what users hold.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, Unpack, overload
from uuid import uuid4

from wskit_channels.client.call import Call, CallOptions
from wskit_channels.client.errors import ConnectionClosed
from wskit_channels.client.frames import message_frame
from wskit_channels.client.hooks import Direction, Hooks, State
from wskit_channels.client.inbox import Subscription
from wskit_channels.client.incoming import Handler, Incoming
from wskit_channels.client.lifecycle import Lifecycle
from wskit_channels.client.link import Dial, websockets_dial
from wskit_channels.client.settings import ClientOptions, ClientSettings
from wskit_channels.client.traffic import Traffic
from wskit_channels.protocol.errors import UNSET, Unset
from wskit_channels.protocol.messages import Request

__all__ = ["Client"]

Resp = TypeVar("Resp")
Prog = TypeVar("Prog")
M = TypeVar("M")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class Registrar(Protocol[M]):
    """The decorator that ``Client.on()`` returns."""

    def __call__(self, handler: Callable[[M], T], /) -> Callable[[M], T]: ...


class Client:
    """
    A connection to a router that comes back when it is lost::

        async with Client("ws://localhost:8000/ws/", auth=get_token) as client:
            user = await client.request(GetUser(id=1))

    Used in one event loop; entering waits until the connection stands. ``ClientSettings``
    explains the options.

    Raises:
        TypeError: If an option is misspelt, or one of ``messages`` is no message class.
    """

    def __init__(self, url: str, **options: Unpack[ClientOptions]) -> None:
        settings = ClientSettings(**options)
        dial = websockets_dial(settings.origin, settings.connect_options)
        self._set_up(url, settings, dial, random.random)

    @classmethod
    def over(
        cls,
        dial: Dial,
        url: str = "ws://localhost/",
        *,
        random: Callable[[], float] = random.random,
        **options: Unpack[ClientOptions],
    ) -> Self:
        """A client over links of your own making, for tests and other WebSocket libraries."""
        client = cls.__new__(cls)
        client._set_up(url, ClientSettings(**options), dial, random)
        return client

    def _set_up(
        self, url: str, settings: ClientSettings, dial: Dial, random: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._hooks = Hooks()
        self._incoming = Incoming(
            self._hooks,
            size=settings.incoming_size,
            policy=settings.incoming_policy,
            messages=settings.messages,
        )
        self._traffic = Traffic(settings, self._hooks, self._incoming)
        self._lifecycle = Lifecycle(
            url,
            settings,
            self._traffic,
            self._hooks,
            dial=dial,
            random=random,
            on_end=self._ended,
        )

    @property
    def state(self) -> State:
        return self._lifecycle.state

    @property
    def is_connected(self) -> bool:
        return self.state == "open"

    @property
    def protocol(self) -> str | None:
        """The subprotocol that the server selected at the latest connect."""
        return self._lifecycle.subprotocol

    @property
    def close_code(self) -> int | None:
        """How the latest connection or attempt ended; None before one has."""
        last = self._lifecycle.last
        return None if last is None else last.code

    @property
    def closed_by(self) -> ConnectionClosed | None:
        """Why the client gave up, or None if it did not; 1000 for its own ``close()``."""
        return self._lifecycle.final

    def start(self) -> None:
        """Connect in the background. What is sent meanwhile is queued."""
        if not self._lifecycle.running:
            self._incoming.start()
            self._lifecycle.start()

    async def connect(self) -> None:
        """
        Start, and wait until a connection stands; also while reconnecting, and after the end.

        Raises:
            ConnectFailed: If there is none within ``connect_timeout``; the client is closed.
            ConnectionClosed: If the server refuses for good.
        """
        self.start()
        try:
            await self._lifecycle.opened(self._settings.connect_timeout)
        except BaseException:
            await self.close(drain=False)
            raise

    async def close(self, *, drain: bool = True) -> None:
        """
        Close for good, with 1000; ``connect()`` starts anew.

        With ``drain`` an open connection first writes what is queued. Calls without an
        answer fail with ``ConnectionClosed``, and iterators end.
        """
        if drain and self.is_connected:
            try:
                async with asyncio.timeout(self._settings.close_timeout):
                    await self.drain()
            except TimeoutError:
                pass
        await self._lifecycle.close()
        await self._incoming.stop()

    async def wait_closed(self) -> ConnectionClosed | None:
        """Wait until the client has ended for good, and say why; None if it never started."""
        await self._lifecycle.wait_ended()
        return self._lifecycle.final

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close(drain=error is None)

    def send(self, message: Any, *, meta: Mapping[str, Any] | None = None) -> bool:
        """
        Queue a message; False if it was not taken, because the queue is full or off or the
        client has ended. Delivery is not confirmed.

        Raises:
            TypeError: If it is no message.
            ValueError: If JSON cannot hold it.
        """
        return self.send_frame(message_frame(message, now=time.time(), meta=meta))

    def send_frame(self, text: str) -> bool:
        """Queue a frame as it is, for tools; see ``send()``."""
        return self._lifecycle.final is None and self._traffic.send(text)

    async def drain(self) -> None:
        """Wait until everything queued was written, which offline may take long."""
        await self._traffic.drain()

    async def request(
        self,
        request: Request[Resp, Prog],
        *,
        on_progress: Callable[[Prog], object] | None = None,
        timeout: float | Unset | None = UNSET,  # noqa: ASYNC109 - it travels to the server
        queue_timeout: float | None = None,
        idempotency_key: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Resp:
        """
        Send a request and return its reply.

        ``timeout`` is told to the server, and counts from when the request is first written;
        ``queue_timeout`` limits how long it may wait for that, which is without end by
        default. Being cancelled aborts the call. With ``idempotency_key`` it is sent again if
        the connection is lost and comes back within ``resend_window``.

        Raises:
            ServerError: If the server answers with an error.
            TimeoutError: If there is no answer in time.
            ConnectionClosed: If the connection is lost before the answer.
            StateError: If the client cannot take the request.
            InvalidFrame: If the reply is not as declared.
        """
        return await self.call(
            request,
            timeout=timeout,
            queue_timeout=queue_timeout,
            idempotency_key=idempotency_key,
            meta=meta,
            on_progress=on_progress,
        )

    def call(
        self,
        request: Request[Resp, Prog],
        *,
        timeout: float | Unset | None = UNSET,
        queue_timeout: float | None = None,
        idempotency_key: str | None = None,
        meta: Mapping[str, Any] | None = None,
        on_progress: Callable[[Prog], object] | None = None,
    ) -> Call[Resp, Prog]:
        """
        Send a request and return the call: await it, or iterate its progress.

        Raises at once what ``request()`` raises of its own, StateError say; the call does the
        rest.
        """
        options = CallOptions(
            timeout=self._settings.timeout if isinstance(timeout, Unset) else timeout,
            queue_timeout=queue_timeout,
            idempotency_key=idempotency_key,
            meta=meta,
        )
        if self._lifecycle.final is not None:
            raise self._lifecycle.final.again()
        call = Call(
            uuid4().hex,
            request,
            options,
            buffer=self._settings.incoming_size,
            on_progress=on_progress,
            abandon=self._traffic.abandon,
        )
        self._traffic.open(call)
        return call

    def on(self, message: type[M]) -> Registrar[M]:
        """
        Have messages of a class handled, one at a time, by a plain or async function.

        A handler may send, request and close. What it raises is logged and told to
        ``on_error``.

        Raises:
            TypeError: If it is no message class, or another class has its type.
        """
        self._incoming.know(message)

        def register(handler: Callable[[M], T], /) -> Callable[[M], T]:
            self._incoming.add_handler(message, handler)
            return handler

        return register

    def off(self, message: type[M], handler: Callable[[M], object]) -> None:
        """
        Undo ``on()``.

        Raises:
            ValueError: If it does not handle this class.
        """
        plain: Handler = handler
        self._incoming.remove_handler(message, plain)

    @overload
    def listen(self, a: type[A], /) -> Subscription[A]: ...
    @overload
    def listen(self, a: type[A], b: type[B], /) -> Subscription[A | B]: ...
    @overload
    def listen(self, a: type[A], b: type[B], c: type[C], /) -> Subscription[A | B | C]: ...
    @overload
    def listen(
        self, a: type[A], b: type[B], c: type[C], d: type[D], /
    ) -> Subscription[A | B | C | D]: ...
    def listen(self, *messages: type[Any]) -> Subscription[Any]:
        """
        Messages of up to four classes, from now on, for ``async for``.

        It holds up to ``incoming_size`` until they are taken; close it, or use it in
        ``async with``, when you stop taking them.
        """
        return self._incoming.listen(messages)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> object:
        """
        The next message from the server, since it was connected: of a class that ``messages``,
        ``on()`` or ``listen()`` named, or an ``UnknownMessage``.

        Ends with the client; raises ``ConnectionClosed`` where that gave up.
        """
        self._incoming.is_iterated = True
        found: object = await self._incoming.inbox.__anext__()
        return found

    def on_state(self, hook: Callable[[State], T]) -> Callable[[State], T]:
        """Call a plain function with each new state."""
        self._hooks.on_state.append(hook)
        return hook

    def on_error(self, hook: Callable[[Exception], T]) -> Callable[[Exception], T]:
        """
        Call a plain function with errors that no call raises.

        A ``ServerError`` that answers a message, an ``InvalidFrame`` that was dropped, an
        ``Overflow``, what a handler raised. Without such a function they are logged.
        """
        self._hooks.on_error.append(hook)
        return hook

    def on_frame(self, hook: Callable[[Direction, str], T]) -> Callable[[Direction, str], T]:
        """Call a plain function with the text of every frame, in and out."""
        self._hooks.on_frame.append(hook)
        return hook

    def _ended(self, final: ConnectionClosed) -> None:
        self._incoming.end(None if final.code == 1000 else final)
