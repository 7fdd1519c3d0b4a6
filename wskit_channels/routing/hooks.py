"""
The part of a router where middleware, hooks and services are registered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias

from typing_extensions import TypeVar

from wskit_channels.protocol.errors import WsKitError
from wskit_channels.protocol.limits import LimitExceeded
from wskit_channels.routing.context import CloseContext, ConnectionContext
from wskit_channels.routing.functions import name_of
from wskit_channels.routing.handshake import Handshake
from wskit_channels.routing.middleware import CallNext
from wskit_channels.routing.table import Hooks

if TYPE_CHECKING:
    from wskit_channels.routing.router import Router

__all__ = ["HookRegistry", "Middleware", "Plugin", "RouterFrozen"]

T = TypeVar("T")
E = TypeVar("E", bound=Exception)
F = TypeVar("F", bound=Callable[..., Any])
D_in = TypeVar("D_in", contravariant=True, default=Any)  # a router consumes data

Async: TypeAlias = Coroutine[Any, Any, T]
Middleware: TypeAlias = Callable[[ConnectionContext[D_in], CallNext], Awaitable[None] | None]
Plugin: TypeAlias = Callable[["Router[Any]"], object]
"""Adds to the router that it is given: hooks, middleware, routes, services."""


class RouterFrozen(RuntimeError):
    """Something was registered after serving started."""


class HookRegistry(Generic[D_in]):
    """Middleware, hooks, exception mappings and services, until the router is frozen."""

    def __init__(self) -> None:
        self._middleware: list[Callable[..., Any]] = []
        self._hooks = Hooks()
        self._exceptions: dict[type[Exception], Callable[..., Any]] = {}
        self._services: dict[type[Any], Any] = {}
        self._sends: set[type[Any]] = set()
        self._frozen = False

    def use(self, middleware: Middleware[D_in], /) -> Middleware[D_in]:
        """
        Register middleware for every route of this router and of those merged into it.

        ``async def middleware(ctx, call_next)``, or a plain function that returns
        ``call_next()`` or None and runs in the loop. It runs before validation: what it
        refuses is answered with its refusal, whatever the payload.
        """
        self._require_open(name_of(middleware))
        self._middleware.append(middleware)
        return middleware

    def sends(self, *messages: type[Any]) -> Self:
        """Declare messages that this router's handlers and hooks may send."""
        self._require_open("sends()")
        self._sends.update(messages)
        return self

    def plugin(self, plugin: Plugin, /) -> Self:
        """Let a plugin add to this router: ``plugin(router)``."""
        self._require_open(name_of(plugin))
        router: Any = self
        plugin(router)
        return self

    def provide(self, service: object, as_: type[Any] | None = None) -> Self:
        """Provide a service for ``ctx.get(Service)``; ``as_`` is its type where not its own."""
        self._require_open("provide()")
        self._services[as_ or type(service)] = service
        return self

    def on_upgrade(self, hook: Callable[[Handshake], Async[None] | None], /) -> Any:
        """Register a hook for the opening request, before authentication."""
        return self._hook("on_upgrade", hook)

    def authenticate(self, hook: Callable[[Handshake], Any], /) -> Any:
        """
        Register the function that admits a connection.

        It is given the ``Handshake`` and returns the connection's data, or None to
        refuse with 4401; without ``Router(data=)`` it returns whether to admit.

        Raises:
            TypeError: If there is one already.
        """
        if self._hooks.authenticate:
            raise TypeError("This router authenticates already; only one function can.")
        return self._hook("authenticate", hook)

    def on_open(self, hook: Callable[[ConnectionContext[D_in]], Async[None] | None], /) -> Any:
        """
        Register a hook for an accepted connection; no message is dispatched before it ends.

        It may raise ``CloseConnection``; anything else it raises closes with 1011.
        """
        return self._hook("on_open", hook)

    def on_close(self, hook: Callable[[CloseContext[D_in]], Async[None] | None], /) -> Any:
        """Register a hook that runs once for every connection whose ``on_open`` began."""
        return self._hook("on_close", hook)

    def on_error(
        self,
        hook: Callable[
            [Exception, ConnectionContext[D_in]], Async[WsKitError | None] | WsKitError | None
        ],
        /,
    ) -> Any:
        """
        Register a hook for exceptions that no one mapped: bugs.

        It may return a ``WsKitError`` to answer with instead of ``INTERNAL``.
        """
        return self._hook("on_error", hook)

    def on_publish(self, hook: Callable[[Any, str], Async[None] | None], /) -> Any:
        """Register a hook for every publish of this router's: the message and the topic."""
        return self._hook("on_publish", hook)

    def on_limit_exceeded(self, hook: Callable[[LimitExceeded], Async[None] | None], /) -> Any:
        """Register a hook for limits that are crossed."""
        return self._hook("on_limit_exceeded", hook)

    def _hook(self, name: str, hook: F) -> F:
        self._require_open(name_of(hook))
        getattr(self._hooks, name).append(hook)
        return hook

    def exception(
        self, error: type[E], /
    ) -> Callable[[Callable[[E], WsKitError]], Callable[[E], WsKitError]]:
        """Register what an exception class, with its subclasses, is answered with."""

        def register(make: Callable[[E], WsKitError]) -> Callable[[E], WsKitError]:
            self._require_open(name_of(make))
            self._exceptions[error] = make
            return make

        return register

    def _require_open(self, what: str, module: str | None = None) -> None:
        if self._frozen:
            where = f" of module {module}" if module else ""
            raise RouterFrozen(
                f"{what}{where} comes too late: this router is serving already. Import the module "
                "that registers it before the first connection, best in AppConfig.ready()."
            )
