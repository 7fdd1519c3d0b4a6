"""
User functions: telling ``async def`` from plain, and where they were written.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

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


async def observe(hooks: list[Callable[..., Any]], *args: Any) -> None:
    """Run hooks that only look on: one that raises is logged, and the next one runs."""
    for hook in hooks:
        try:
            found = hook(*args)
            if isinstance(found, Awaitable):
                await found
        except Exception:
            logger.exception("hook failed: hook=%s", name_of(hook))
