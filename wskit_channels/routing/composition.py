"""
Composition: routers of routers, flattened into the table that serving uses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Literal, Self

from typing_extensions import TypeVar

from wskit_channels.protocol.errors import WsKitError
from wskit_channels.protocol.messages import response_of
from wskit_channels.protocol.topics import Topic
from wskit_channels.protocol.validation import Validator
from wskit_channels.protocol.wire import is_reserved
from wskit_channels.routing.functions import module_of, name_of
from wskit_channels.routing.hooks import HookRegistry
from wskit_channels.routing.policy import Policy
from wskit_channels.routing.table import (
    DuplicateRoute,
    Flat,
    Hooks,
    Registration,
    Route,
    RouteInfo,
    RouteTable,
    keep_first,
    message_type,
    route_info,
)

__all__ = ["Composition", "OnConflict"]

D_in = TypeVar("D_in", contravariant=True, default=Any)
OnConflict = Literal["error", "replace", "skip"]

_AUTHENTICATES_TWICE = "Only the host router authenticates; take it off the merged one."


@dataclasses.dataclass(slots=True)
class _Merge:
    router: Composition[Any]
    prefix: str
    on_conflict: OnConflict


class Composition(HookRegistry[D_in], Generic[D_in]):
    """A router's own routes and the routers merged into it."""

    def __init__(self, data: Any, validator: Validator | None, login_required: bool) -> None:
        super().__init__()
        self.login_required = login_required
        self._data_class = data
        self.validator = validator
        self._registrations: list[Registration] = []
        self._merges: list[_Merge] = []
        self._table: RouteTable | None = None

    def off(self, *messages: type[Any]) -> None:
        """
        Take back the handlers of these classes.

        Raises:
            LookupError: If this router itself handles one of them not.
            RouterFrozen: If serving has started.
        """
        self._require_open("off()")
        for one in messages:
            for index, found in enumerate(self._registrations):
                if one in found.messages:
                    rest = tuple(item for item in found.messages if item is not one)
                    replacement = [dataclasses.replace(found, messages=rest)] if rest else []
                    self._registrations[index : index + 1] = replacement
                    break
            else:
                raise LookupError(f"{one.__qualname__} is not handled by this router.")

    def merge(self, other: Composition[D_in], *, on_conflict: OnConflict = "error") -> Self:
        """
        Take in another router's routes, hooks, services and exception mappings.

        Keeps a reference: what the other registers until serving starts counts. Its
        middleware covers its own routes, this router's covers all. ``authenticate``,
        ``data`` and ``limits`` are this router's.

        Raises:
            DuplicateRoute: If both handle a type, unless ``on_conflict`` chooses.
            TypeError: If this router's data class is no subclass of the other's, or both
                authenticate.
            RouterFrozen: If serving has started.
        """
        return self._merge(other, "", on_conflict)

    def mount(
        self, prefix: str, other: Composition[D_in], *, on_conflict: OnConflict = "error"
    ) -> Self:
        """
        Merge another router with its routes' types prefixed.

        What its handlers send keeps the types that its classes declare; topics are not prefixed.

        Raises:
            ValueError: For a prefix that makes reserved types of them (``PROTOCOL 1``).
        """
        if is_reserved(prefix):
            raise ValueError(
                f"mount({prefix!r}): types that start so are reserved, and never reach a handler."
            )
        return self._merge(other, prefix, on_conflict)

    def _merge(self, other: Composition[D_in], prefix: str, on_conflict: OnConflict) -> Self:
        self._require_open("merge()")
        host, guest = self._data_class, other._data_class
        if guest is not None and not (isinstance(host, type) and issubclass(host, guest)):
            raise TypeError(
                f"A router of {guest.__qualname__} data can only be merged into one whose data "
                f"class derives from it, not {getattr(host, '__qualname__', host)}."
            )
        if other is self or self in other._tree():
            raise ValueError("A router cannot be merged into itself.")
        if other._hooks.authenticate:
            raise TypeError(_AUTHENTICATES_TWICE)
        if other.login_required and not self.login_required:
            raise TypeError(
                "A router that requires a login can only be merged into one that does: "
                "write Router(login_required=True) for the host."
            )
        self._merges.append(_Merge(other, prefix, on_conflict))
        try:
            self._flatten()
        except DuplicateRoute:
            self._merges.pop()
            raise
        return self

    def routes(self) -> list[RouteInfo]:
        """All routes, merged ones included, in the order of registering."""
        return [route_info(*flat) for flat in self._flatten().values()]

    @property
    def hooks(self) -> Hooks:
        """The hooks of this router and of all merged into it, as far as registered."""
        if self._table is not None:
            return self._table.hooks
        hooks = Hooks()
        for router in self._tree():
            hooks = hooks.extended(router._hooks)
        hooks.authenticate = self._hooks.authenticate
        return hooks

    @property
    def policy(self) -> Policy:
        """The topic policy of this router and of all merged into it, as far as registered."""
        if self._table is not None:
            return self._table.policy
        policy = Policy()
        for router in self._tree():
            policy = policy.extended(router._policy)
        return policy

    def freeze(self) -> RouteTable:
        """The table that serving uses; made at the first call, which ends registering."""
        if self._table is None:
            routes = {
                type_: Route(type_, message, registration, middleware, self.validator)
                for type_, message, registration, middleware in self._flatten().values()
            }
            self._table = self._make_table(routes)
            for router in self._tree():
                router._frozen = True
        return self._table

    def _make_table(self, routes: Mapping[str, Route]) -> RouteTable:
        exceptions: dict[type[Exception], Callable[..., Any]] = {}
        services: dict[type[Any], Any] = {}
        declared: set[type[Any]] = set()
        for router in self._tree():
            if router is not self and router._hooks.authenticate:  # registered after the merge
                raise TypeError(_AUTHENTICATES_TWICE)
            exceptions = {**router._exceptions, **exceptions}
            services = {**router._services, **services}
            declared.update(router._sends)
            declared.update(*(item.sends for item in router._registrations))
        hooks = self.hooks
        # Errors and topics are declared for code generation: nobody sends them as they are.
        declared = {one for one in declared if not issubclass(one, WsKitError | Topic)}
        if declared:
            declared.update(
                response_of(route.message) for route in routes.values() if route.is_call
            )
        return RouteTable(
            routes,
            hooks,
            policy=self.policy,
            exceptions=exceptions,
            services=services,
            declared=frozenset(declared) or None,
            validator=self.validator,
        )

    def _tree(self) -> Iterator[Composition[Any]]:
        """This router and all that are merged into it, hosts first."""
        yield self
        for merge in self._merges:
            yield from merge.router._tree()

    def _flatten(self) -> dict[str, Flat]:
        flat: dict[str, Flat] = {}
        keep_first(flat, self._own_routes(), "error")
        for merge in self._merges:
            incoming = (
                (merge.prefix + type_, message, registration, (*self._middleware, *middleware))
                for type_, message, registration, middleware in merge.router._flatten().values()
            )
            keep_first(flat, incoming, merge.on_conflict)
        return flat

    def _own_routes(self) -> Iterator[Flat]:
        for item in self._registrations:
            for message in item.messages:
                type_ = message_type(message, self.validator)
                yield type_, message, item, (*self._middleware, *item.middleware)

    def _add(self, registration: Registration) -> None:
        self._require_open(name_of(registration.handler), module_of(registration.handler))
        for message in registration.messages:
            message_type(message, self.validator)
        self._registrations.append(registration)
        try:
            self._flatten()
        except DuplicateRoute:
            self._registrations.pop()
            raise
