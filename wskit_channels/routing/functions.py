"""
User functions: telling ``async def`` from plain, where they were written, and what they do
to the task that runs them.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

logger = logging.getLogger("wskit_channels.hooks")


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; looks into partials and callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - asks what kind, not whether
    )


def name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{module_of(function)}.{name}"


def module_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__module__", None) or type(function).__module__)


def line_of(function: Callable[..., Any]) -> int | None:
    """The line on which a function starts, where it has one."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(inspect.unwrap(function), "__code__", None)
    return None if code is None else int(code.co_firstlineno)


VIEW_DECORATORS = (
    "django.contrib.auth.decorators",
    "django.views.decorators.",
    "django.utils.decorators",
)
"""Modules of decorators for views, which take an ``HttpRequest`` and answer with a response."""

FOR_ANY_FUNCTION = "sensitive_variables"


def refuse_view_decorators(function: Callable[..., Any]) -> None:
    """
    See that a handler or middleware is wrapped in none of Django's decorators for views.

    Raises:
        TypeError: If it is.
    """
    for wrapper in _wrappers(function):
        # Not __module__: functools.wraps() gave it the wrapped function's.
        module = str(getattr(wrapper, "__globals__", {}).get("__name__", ""))
        if not f"{module}.".startswith(VIEW_DECORATORS):
            continue
        decorator = wrapper.__code__.co_qualname.partition(".")[0]
        if decorator == FOR_ANY_FUNCTION:
            continue
        way_out = "handlers are given no HttpRequest: take it off"
        if "auth" in module:
            way_out = (
                "handlers are given no HttpRequest: write use=[require_login], "
                "use=[require_permission(...)] or use=[require(test)], of "
                "wskit_channels.permissions"
            )
        raise TypeError(f"{name_of(function)} is wrapped by {module}.{decorator}; {way_out}.")


def _wrappers(function: Any) -> Iterator[Any]:
    """A function and what it is wrapped around, outermost first."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif inspect.isfunction(function):
            yield function
            function = getattr(function, "__wrapped__", None)
        else:
            function = getattr(type(function), "__call__", None)  # noqa: B004 - a callable object


async def from_within(work: Awaitable[T]) -> T:
    """
    Await what an application wrote; its own cancellations are errors like others.

    Raises:
        RuntimeError: If it raises ``CancelledError`` although nobody cancelled this task.
    """
    try:
        return await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("it was cancelled from within") from None


async def observe(hooks: list[Callable[..., Any]], *args: Any) -> None:
    """Run hooks that only look on: one that raises is logged, and the next one runs."""
    for hook in hooks:
        try:
            found = hook(*args)
            if isinstance(found, Awaitable):
                await from_within(found)
        except Exception:
            logger.exception("hook failed: hook=%s", name_of(hook))


def same_context(one: contextvars.Context, other: contextvars.Context) -> bool:
    """Whether no variable was set in between; a value that cannot be compared says no."""
    try:
        return one == other
    except Exception:  # noqa: BLE001 - whatever a value's own comparison raises
        return False


def uncancel() -> None:
    """Take back cancellations of the present task, which were of its own making."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
