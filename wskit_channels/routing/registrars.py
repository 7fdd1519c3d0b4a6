"""
What ``Router.on``, ``Router.rpc`` and ``Router.route`` return: typed decorators.

Their overloads are what makes a wrong handler a type error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, cast, overload

from typing_extensions import TypeVar

from wskit_channels.protocol.messages import Request
from wskit_channels.routing.context import ConnectionContext, Context, RpcContext
from wskit_channels.routing.middleware import CallNext

if TYPE_CHECKING:
    from wskit_channels.routing.router import Router

__all__ = ["On", "OnRpc", "RouteBuilder"]

T = TypeVar("T")
C = TypeVar("C")
M = TypeVar("M")
Resp = TypeVar("Resp")
R = TypeVar("R", bound=Request[Any, Any])
R_co = TypeVar("R_co", bound=Request[Any, Any], covariant=True)
D_co = TypeVar("D_co", covariant=True, default=Any)
D = TypeVar("D", default=Any)
Async: TypeAlias = Coroutine[Any, Any, T]


class On(Generic[C]):
    """Registers a handler of a context ``C``; ``async def`` or plain."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(self, handler: Callable[[C], Async[None]], /) -> Callable[[C], Async[None]]: ...
    @overload
    def __call__(self, handler: Callable[[C], None], /) -> Callable[[C], None]: ...
    def __call__(self, handler: Any, /) -> Any:
        self._register(handler)
        return handler


class OnRpc(Generic[R_co, D_co]):
    """
    Registers a handler of a request, with one overload for each way of answering.

    ``Response | None`` fits none of them, so that no path can forget to answer.
    """

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(
        self: OnRpc[Request[Resp, Any], Any],
        handler: Callable[[RpcContext[R_co, D_co]], Async[Resp]],
        /,
    ) -> Callable[[RpcContext[R_co, D_co]], Async[Resp]]: ...
    @overload
    def __call__(
        self: OnRpc[Request[Resp, Any], Any], handler: Callable[[RpcContext[R_co, D_co]], Resp], /
    ) -> Callable[[RpcContext[R_co, D_co]], Resp]: ...
    @overload
    def __call__(
        self, handler: Callable[[RpcContext[R_co, D_co]], Async[None]], /
    ) -> Callable[[RpcContext[R_co, D_co]], Async[None]]: ...
    @overload
    def __call__(
        self, handler: Callable[[RpcContext[R_co, D_co]], None], /
    ) -> Callable[[RpcContext[R_co, D_co]], None]: ...
    def __call__(self, handler: Any, /) -> Any:
        self._register(handler)
        return handler


class RouteBuilder(Generic[M, D]):
    """A route in the making: ``router.route(Msg).use(middleware).on(handler)``."""

    def __init__(self, router: Router[D], message: type[M]) -> None:
        self._router = router
        self._message = message
        self._use: list[Any] = []

    def use(
        self,
        *middleware: Callable[[ConnectionContext[D], CallNext], Awaitable[None] | None],
    ) -> Self:
        """Add middleware of this route, outermost first."""
        self._use.extend(middleware)
        return self

    @property
    def on(self) -> On[Context[M, D]]:
        """Register the handler of an event, as ``Router.on`` does."""
        register: Any = self._router.on
        return cast(On[Context[M, D]], register(self._message, use=self._use))

    @property
    def rpc(self: RouteBuilder[R, D]) -> OnRpc[R, D]:
        """Register the handler of a request, as ``Router.rpc`` does."""
        use: Sequence[Any] = self._use
        return self._router.rpc(self._message, use=use)
