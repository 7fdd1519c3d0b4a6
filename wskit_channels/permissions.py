"""
Permissions as middleware of a router or a route, and for use inside handlers.

``use=[require_login]``, ``use=[require_permission("chat.add_message")]`` and
``use=[require(test)]``. Who is refused is answered with ``UNAUTHENTICATED`` if nobody is
logged in, else with ``PERMISSION_DENIED``, before the payload is looked at.

Django keeps the permissions it read on the user object. A request's user is gone in a
moment, a connection's stays for as long as the socket: asked directly, ``ctx.user.has_perm``
would go by what was true when it was first asked. Everything here asks a fresh copy of the
user, three queries as a request costs, unless ``max_age`` allows it to keep one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any, TypeAlias

from django.db.models import Model
from typing_extensions import TypeVar

from wskit_channels.protocol.errors import WsKitError
from wskit_channels.routing.base_context import BaseContext
from wskit_channels.routing.context import ConnectionContext
from wskit_channels.routing.functions import from_within, is_async, name_of
from wskit_channels.routing.hooks import Middleware
from wskit_channels.routing.middleware import CallNext

__all__ = ["check_permission", "require", "require_login", "require_permission"]

D = TypeVar("D", default=Any)
T = TypeVar("T", default=Any)

Asked: TypeAlias = Callable[[ConnectionContext[D]], Awaitable[T] | T]

_KEPT = "wskit_channels.permissions"
"""Where a connection's scope holds the copy of its user that was asked last."""


async def require_login(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
    """Middleware: refuse anonymous users with ``UNAUTHENTICATED``."""
    if not ctx.user.is_authenticated:
        raise WsKitError("UNAUTHENTICATED")
    await call_next()


def require(test: Asked[D, bool]) -> Middleware[D]:
    """
    Middleware: refuse whom a test does not pass.

    The test is given the context, without a payload, and returns a bool; it is also asked
    about anonymous users. A plain function runs in a thread, where the ORM may be used.
    """

    async def middleware(ctx: ConnectionContext[D], call_next: CallNext) -> None:
        passed = await _ask(test, ctx)
        if not isinstance(passed, bool):  # what is merely true, a method say, must not admit
            raise TypeError(f"{name_of(test)} returned a {type(passed).__name__}, not a bool.")
        if not passed:
            raise _refusal(ctx.user)
        await call_next()

    return _named(middleware, f"require({name_of(test)})")


def require_permission(
    *permissions: str, obj: Asked[D, Any] | None = None, max_age: float = 0.0
) -> Middleware[D]:
    """
    Middleware: refuse users who lack one of Django's permissions.

    Args:
        permissions: All are required; ``"app_label.codename"``.
        obj: Gives the object that they are required for, from the context and so without
            a payload; None where there is none, which is refused. Where the payload names
            the object, call ``check_permission`` in the handler.
        max_age: Seconds for which a connection may go by permissions that were read before.

    Raises:
        TypeError: If no permission is named.
        ValueError: If one has no app label.
    """
    _check_spelling(permissions)

    async def middleware(ctx: ConnectionContext[D], call_next: CallNext) -> None:
        about = None
        if obj is not None:
            about = await _ask(obj, ctx)
            if about is None:  # Django would take it for "whatever the object"
                raise _refusal(ctx.user)
        await _check(ctx, permissions, about, max_age)
        await call_next()

    of = "" if obj is None else f", obj={name_of(obj)}"
    named = ", ".join(map(repr, permissions))
    return _named(middleware, f"require_permission({named}{of})")


async def check_permission(
    ctx: BaseContext[Any], *permissions: str, obj: Any = None, max_age: float = 0.0
) -> None:
    """
    The same inside a handler, for what a payload names.

    Raises:
        WsKitError: ``UNAUTHENTICATED`` or ``PERMISSION_DENIED``, to be left to answer the
            client.
        TypeError: If no permission is named.
        ValueError: If one has no app label.
    """
    _check_spelling(permissions)
    await _check(ctx, permissions, obj, max_age)


def _check_spelling(permissions: tuple[str, ...]) -> None:
    if not permissions:
        raise TypeError('Name a permission, such as "chat.add_message".')
    for one in permissions:
        if not re.fullmatch(r"[^.\s]+\.\S+", one):
            raise ValueError(
                f'{one!r} is no permission: write "app_label.codename", such as "chat.add_message".'
            )


async def _check(
    ctx: BaseContext[Any], permissions: tuple[str, ...], obj: Any, max_age: float
) -> None:
    # In a thread with has_perms(), and not with ahas_perms(): that passes over backends, and
    # over overridden methods of backends, that were written before Django had it.
    allowed = await ctx._peer.transport.run_sync(
        _has_permissions, ctx.scope, ctx.user, permissions, obj, max_age
    )
    if not allowed:
        raise _refusal(ctx.user)


def _has_permissions(
    scope: MutableMapping[str, Any],
    user: Any,
    permissions: tuple[str, ...],
    obj: Any,
    max_age: float,
) -> bool:
    asked = _fresh(scope, user, max_age)
    has_perms = getattr(asked, "has_perms", None)  # nobody, and users of other libraries: none
    return has_perms is not None and bool(has_perms(permissions, obj))


def _fresh(scope: MutableMapping[str, Any], user: Any, max_age: float) -> Any:
    """
    The user as the database has it, read at most ``max_age`` seconds ago.

    Raises:
        WsKitError: ``UNAUTHENTICATED``, if it is there no more.
    """
    if not isinstance(user, Model) or user._state.adding:  # it is in no database
        return user
    now = monotonic()
    kept = scope.get(_KEPT)
    # The very object: a login, a logout or a refresh puts another in its place.
    if kept is not None and kept[0] is user and now - kept[1] < max_age:
        return kept[2]
    users = user._meta.model._default_manager.using(user._state.db)
    found = users.filter(pk=user.pk).first()
    if found is None:
        raise WsKitError("UNAUTHENTICATED")
    scope[_KEPT] = (user, now, found)
    return found


async def _ask(function: Asked[D, T], ctx: ConnectionContext[D]) -> T:
    if is_async(function):
        answer: Any = function(ctx)
    else:
        answer = await ctx._peer.transport.run_sync(function, ctx)
    if inspect.isawaitable(answer):
        answer = await from_within(answer)
    found: T = answer
    return found


def _refusal(user: Any) -> WsKitError:
    return WsKitError("PERMISSION_DENIED" if user.is_authenticated else "UNAUTHENTICATED")


def _named(middleware: Middleware[D], name: str) -> Middleware[D]:
    """Give a middleware the name that ``wskit_routes`` and error messages show."""
    vars_: Any = middleware
    vars_.__qualname__ = name
    return middleware
