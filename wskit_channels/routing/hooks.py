"""
The part of a router where middleware, hooks and services are registered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, overload

from typing_extensions import TypeVar

from wskit_channels.protocol.errors import WsKitError
from wskit_channels.protocol.limits import LimitExceeded
from wskit_channels.protocol.topics import Topic
from wskit_channels.routing.context import CloseContext, ConnectionContext
from wskit_channels.routing.functions import name_of
from wskit_channels.routing.handshake import Handshake
from wskit_channels.routing.middleware import CallNext
from wskit_channels.routing.policy import Bound, Policy, TopicAction
from wskit_channels.routing.table import Hooks

if TYPE_CHECKING:
    from wskit_channels.routing.router import Router

__all__ = ["HookRegistry", "Middleware", "Plugin", "RouterFrozen"]

T = TypeVar("T")
E = TypeVar("E", bound=Exception)
F = TypeVar("F", bound=Callable[..., Any])
K = TypeVar("K", bound=Topic[Any])
Told = TypeVar("Told")
D_in = TypeVar("D_in", contravariant=True, default=Any)  # a router consumes data

Async: TypeAlias = Coroutine[Any, Any, T]
Middleware: TypeAlias = Callable[[ConnectionContext[D_in], CallNext], Awaitable[None] | None]
Authorize: TypeAlias = Callable[[TopicAction, Told, ConnectionContext[D_in]], Async[bool] | bool]
Watch: TypeAlias = Callable[[Told, ConnectionContext[D_in]], Async[None] | None]
Plugin: TypeAlias = Callable[["Router[Any]"], object]
"""Adds to the router that it is given: hooks, middleware, routes, services."""


class RouterFrozen(RuntimeError):
    """Something was registered after serving started."""


class HookRegistry(Generic[D_in]):
    """Middleware, hooks, exception mappings and services, until the router is frozen."""

    def __init__(self) -> None:
        self._middleware: list[Callable[..., Any]] = []
        self._hooks = Hooks()
        self._policy = Policy()
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

    def on_stale_connection(
        self, hook: Callable[[ConnectionContext[D_in]], Async[None] | None], /
    ) -> Any:
        """
        Register a hook for a client that gave no sign of life, before it is closed with 4000.

        It may close with another code itself, within half a second.
        """
        return self._hook("on_stale_connection", hook)

    def on_layer_recovered(self, hook: Callable[[float], Async[None] | None], /) -> Any:
        """
        Register a hook for a channel layer that works again, given the seconds it did not.

        Sockets stayed open; what other processes published meanwhile may be lost, so that
        this is the place to have clients load anew.
        """
        return self._hook("on_layer_recovered", hook)

    def _hook(self, name: str, hook: F) -> F:
        self._require_open(name_of(hook))
        getattr(self._hooks, name).append(hook)
        return hook

    # -- topic policy

    @overload
    def normalize_topic(self, hook: Callable[[str], str], /) -> Callable[[str], str]: ...
    @overload
    def normalize_topic(
        self, kind: type[K], /
    ) -> Callable[[Callable[[K], str | K]], Callable[[K], str | K]]: ...
    def normalize_topic(self, hook: Any, /) -> Any:
        """
        Register a plain function that gives a topic's name another form, before all else.

        Bare, it is given the name; ``@router.normalize_topic(RoomTopic)`` is given the
        typed topic. It runs in the loop, for subscribing, unsubscribing and publishing.
        """
        return self._policy_hook(self._policy.normalize, hook)

    @overload
    def authorize_topic(self, hook: Authorize[str, D_in], /) -> Authorize[str, D_in]: ...
    @overload
    def authorize_topic(
        self, kind: type[K], /
    ) -> Callable[[Authorize[K, D_in]], Authorize[K, D_in]]: ...
    def authorize_topic(self, hook: Any, /) -> Any:
        """
        Register a function of action, topic and context that says whether it is allowed.

        The action is "subscribe", "unsubscribe" or "publish". Only a true answer of every
        hook allows; without one all is allowed. Publishing from outside a connection is
        trusted and not asked about. A plain function runs in a thread, for the ORM.
        """
        return self._policy_hook(self._policy.authorize, hook)

    @overload
    def on_subscribe(self, hook: Watch[str, D_in], /) -> Watch[str, D_in]: ...
    @overload
    def on_subscribe(self, kind: type[K], /) -> Callable[[Watch[K, D_in]], Watch[K, D_in]]: ...
    def on_subscribe(self, hook: Any, /) -> Any:
        """Register a hook for a connection that has subscribed: the topic and the context."""
        return self._policy_hook(self._policy.on_subscribe, hook)

    @overload
    def on_unsubscribe(self, hook: Watch[str, D_in], /) -> Watch[str, D_in]: ...
    @overload
    def on_unsubscribe(self, kind: type[K], /) -> Callable[[Watch[K, D_in]], Watch[K, D_in]]: ...
    def on_unsubscribe(self, hook: Any, /) -> Any:
        """Register a hook for a connection that has left a topic, not by closing."""
        return self._policy_hook(self._policy.on_unsubscribe, hook)

    def _policy_hook(self, hooks: list[Bound], hook: Any) -> Any:
        if not (isinstance(hook, type) and issubclass(hook, Topic)):
            self._require_open(name_of(hook))
            hooks.append(Bound(hook))
            return hook

        def register(function: Any) -> Any:
            self._require_open(name_of(function))
            hooks.append(Bound(function, hook))
            return function

        return register

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
