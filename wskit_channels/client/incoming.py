"""
Messages that the server sends of its own: to handlers, subscriptions and the client's iterator.

The reader never waits for any of them, so that a handler may await a request.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from wskit_channels.client.errors import InvalidFrame, Overflow
from wskit_channels.client.frames import Frame
from wskit_channels.client.hooks import Hooks
from wskit_channels.client.inbox import Inbox, IncomingPolicy, Subscription
from wskit_channels.protocol.messages import type_of
from wskit_channels.protocol.validation import schema_of

__all__ = ["Handler", "Incoming"]

Handler = Callable[[Any], object]
"""Plain or async; an async one is awaited before the next message is handled."""


class Incoming:
    def __init__(
        self, hooks: Hooks, *, size: int, policy: IncomingPolicy, messages: Iterable[type[Any]]
    ) -> None:
        self._hooks = hooks
        self._size = size
        self._policy: IncomingPolicy = policy
        self._classes: dict[str, type[Any]] = {}
        self._handlers: dict[type[Any], list[Handler]] = {}
        self._subscriptions: list[tuple[tuple[type[Any], ...], Subscription[Any]]] = []
        self._jobs: Inbox[tuple[Handler, Any]] = Inbox(size, policy)
        self._worker: asyncio.Task[None] | None = None
        self.inbox: Inbox[Any] = Inbox(size, policy)
        self.is_iterated = False
        for message in messages:
            self.know(message)

    def know(self, message: type[Any]) -> None:
        """
        Have frames of its type decoded as this class.

        Raises:
            TypeError: If it is no message class, has no type, or another class has it.
        """
        schema_of(message)
        type_ = type_of(message) or ""
        known = self._classes.setdefault(type_, message)
        if known is not message:
            raise TypeError(
                f"{message.__qualname__} and {known.__qualname__} both have the type {type_!r}: "
                "a client reads a type as one class only."
            )

    def add_handler(self, message: type[Any], handler: Handler) -> None:
        self.know(message)
        self._handlers.setdefault(message, []).append(handler)

    def remove_handler(self, message: type[Any], handler: Handler) -> None:
        self._handlers[message].remove(handler)

    def listen(self, messages: tuple[type[Any], ...]) -> Subscription[Any]:
        for message in messages:
            self.know(message)
        subscription: Subscription[Any] = Subscription(self._size, self._policy)
        self._subscriptions = [each for each in self._subscriptions if not each[1].is_closed]
        self._subscriptions.append((messages, subscription))
        return subscription

    def start(self) -> None:
        self._jobs = Inbox(self._size, self._policy)
        self.inbox = Inbox(self._size, self._policy)
        self._worker = asyncio.create_task(self._work(self._jobs))

    def end(self, error: BaseException | None) -> None:
        """No message will come; those that wait are still handled, and can still be had."""
        self.inbox.end(error)
        for _, subscription in self._subscriptions:
            subscription.end(error)
        self._subscriptions.clear()
        self._jobs.end()

    async def stop(self) -> None:
        """Leave unhandled what waits, and cancel the handler that runs, unless that asks."""
        worker = self._worker
        if worker is not None and worker is not asyncio.current_task():
            worker.cancel()
            await asyncio.wait({worker})

    def deliver(self, frame: Frame) -> None:
        """Hand a message to everybody who wants it."""
        message = self._classes.get(frame.type)
        if message is None:
            self._put(self.inbox, frame.as_unknown(), watched=self.is_iterated)
            return
        try:
            decoded = frame.decode(message)
        except InvalidFrame as error:
            self._hooks.report(error)
            return
        for handler in self._handlers.get(message, ()):
            self._put(self._jobs, (handler, decoded))
        for wanted, subscription in self._subscriptions:
            if message in wanted:
                self._put(subscription, decoded)
        self._put(self.inbox, decoded, watched=self.is_iterated)

    def _put(self, inbox: Inbox[Any], item: Any, *, watched: bool = True) -> None:
        if not len(inbox):
            inbox.has_told = False
        if not inbox.put(item) and watched and not inbox.has_told:
            inbox.has_told = True
            self._hooks.report(Overflow(self._size))

    async def _work(self, jobs: Inbox[tuple[Handler, Any]]) -> None:
        async for handler, message in jobs:
            try:
                result = handler(message)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:  # noqa: BLE001 - a handler's bug must not end the others
                self._hooks.failed(error, f"a handler of {type(message).__name__}")
