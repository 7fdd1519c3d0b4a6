"""
What routing needs of the web framework around it.

Routing knows no Django. The app installed in a project plugs itself in by
``install``; a router used without it says so in one sentence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sized
from contextvars import Context as ContextVars
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import ParamSpec, TypeVar

from wskit_channels.protocol.backlog import Kind
from wskit_channels.routing.results import PublishResult

if TYPE_CHECKING:
    from wskit_channels.protocol.errors import WsKitError
    from wskit_channels.routing.router import Router

__all__ = ["AppNotInstalled", "Shell", "Transport", "Work", "get_shell", "install"]

P = ParamSpec("P")
T = TypeVar("T")


class AppNotInstalled(RuntimeError):
    """A router was to be served or published to, and no Django app is there to do it."""


class Work(Protocol):
    """Where one event line or one call runs: its context variables and its thread."""

    @property
    def context(self) -> ContextVars: ...

    def begin(self) -> None:
        """A handler starts, after another was released: it keeps the thread that it takes."""

    def release(self, ended: Callable[[], None] | None = None) -> None:
        """
        Give back the thread, if one was taken; the same work may take another later.

        ``ended`` is called in the loop once nothing of this work runs in a thread any
        more: at once, or when a thread that could not be interrupted comes back.
        """


class Transport(Protocol):
    """One connection of a server. Used in its event loop's thread only, but for ``call``."""

    def write(self, frame: str, kind: Kind = Kind.MESSAGE) -> bool:
        """Queue a frame; never blocks. False: a reply does not fit, its call is to be failed."""
        ...

    @property
    def queue(self) -> Sized:
        """What waits to be written; for a look at whether there is anything."""
        ...

    async def flush(self) -> None:
        """Write what is queued, unless somebody else is at it."""

    async def drain(self) -> None:
        """Wait until everything queued was written or the connection closed."""

    def close(self, code: int, reason: str) -> None:
        """Close after what is queued; the first close wins."""

    def work(self) -> Work: ...

    def background(self) -> ContextVars:
        """Context variables for what no handler does: its threads are not the handlers'."""
        ...

    async def run_sync(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function in the present work's thread."""
        ...

    def call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function from a plain handler's thread and wait for it."""
        ...

    async def subscribe(self, topic: str) -> None: ...
    async def unsubscribe(self, topic: str) -> None: ...

    async def publish(self, topic: str, frame: str, *, exclude_self: bool) -> PublishResult: ...

    async def set_user(self, user: Any) -> None:
        """
        Make this the connection's user; None makes it anonymous.

        Raises:
            WsKitError: If that user may not have this connection, which is closed then.
        """

    async def refresh_user(self) -> None:
        """Read the user anew; closes the connection if they may not stay."""


class Shell(Protocol):
    """The web framework, for routers."""

    def as_asgi(self, router: Router[Any], options: Mapping[str, Any]) -> Callable[..., Any]: ...

    async def apublish(
        self, router: Router[Any], topic: Any, message: Any, meta: Mapping[str, Any] | None
    ) -> PublishResult: ...

    def publish(
        self, router: Router[Any], topic: Any, message: Any, meta: Mapping[str, Any] | None
    ) -> PublishResult: ...

    def publish_on_commit(
        self,
        router: Router[Any],
        topic: Any,
        message: Any,
        meta: Mapping[str, Any] | None,
        using: str | None,
    ) -> None: ...

    def as_error(self, error: Exception) -> WsKitError | None:
        """The error that one of the framework's own exceptions is answered with."""


_shell: Shell | None = None


def install(shell: Shell) -> None:
    """Plug a web framework in; the last one wins."""
    global _shell
    _shell = shell


def get_shell() -> Shell:
    """
    The framework plugged in.

    Raises:
        AppNotInstalled: If there is none.
    """
    if _shell is None:
        raise AppNotInstalled(
            'Add "wskit_channels" to INSTALLED_APPS and call django.setup() first: '
            "without the Django app a router can be neither served nor published to."
        )
    return _shell
