"""
What belongs to a router without being registered with it: error codes and topics.

An error class or a ``Topic`` class counts if it is declared in the package of one of the
router's handlers, hooks or middleware, if one of their modules names it, or if it stands
in ``sends``. That keeps out what some other app of the project happens to have loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from wskit_channels.protocol.errors import WsKitError
from wskit_channels.protocol.topics import Topic
from wskit_channels.routing.functions import module_of

__all__ = ["Scope"]


class Scope:
    """The packages and modules in which a router's functions are written."""

    def __init__(self, functions: Iterable[Callable[..., Any]], sends: Iterable[Any]) -> None:
        modules = {name for name in map(module_of, functions) if not _is_library(name)}
        self._packages = {_package(name) for name in modules}
        self._named = {id(one) for one in sends}
        for name in modules:
            self._named.update(map(id, _classes_named(sys.modules.get(name))))

    def errors(self) -> list[type[WsKitError]]:
        """The error classes that declare a code themselves, by code."""
        found = [one for one in self._all(WsKitError) if one.__dict__.get("declared_code")]
        return sorted(found, key=lambda one: (one.declared_code or "", *_place(one)))

    def topics(self) -> list[type[Topic[Any]]]:
        """The topic classes that have a pattern, by name."""
        found = [one for one in self._all(Topic) if one.__wskit_pattern__]
        return sorted(found, key=lambda one: (one.__name__, *_place(one)))

    def _all(self, base: Any) -> Iterator[Any]:
        return (one for one in _descendants(base) if self._holds(one))

    def _holds(self, one: type[Any]) -> bool:
        module = one.__module__
        return id(one) in self._named or any(
            module == package or module.startswith(f"{package}.") for package in self._packages
        )


def _is_library(module: str) -> bool:
    """Middleware that this library ships tells nothing of an application."""
    return module.partition(".")[0] == __name__.partition(".")[0]


def _place(one: type[Any]) -> tuple[str, str]:
    return one.__module__, one.__qualname__


def _package(module: str) -> str:
    """The package that a module is in; a module that is in none is its own."""
    loaded = sys.modules.get(module)
    package = getattr(loaded, "__package__", None)
    return package or module


def _classes_named(module: ModuleType | None) -> Iterator[Any]:
    """Classes that a module has by name, its own or imported, and those of modules it names."""
    for value in list(vars(module).values()) if module is not None else ():
        if isinstance(value, type):
            yield value
        elif isinstance(value, ModuleType):
            yield from (one for one in list(vars(value).values()) if isinstance(one, type))


def _descendants(base: type[Any]) -> Iterator[type[Any]]:
    seen: set[int] = set()
    waiting = [base]
    while waiting:
        for one in waiting.pop().__subclasses__():
            if id(one) not in seen:
                seen.add(id(one))
                waiting.append(one)
                yield one
