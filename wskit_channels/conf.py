"""
The ``WSKIT`` settings: one dict, read late, strict about what it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import lru_cache
from ipaddress import ip_network
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from wskit_channels.protocol.errors import SENSITIVE_KEYS
from wskit_channels.protocol.limits import DEFAULTS, Limits
from wskit_channels.routing.handshake import UNIX, Network

__all__ = ["Settings", "get_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    ``WSKIT`` with defaults filled in; each key is a field's name in upper case.

    Every field of ``Limits`` is a key too, read by ``limits``.
    """

    limits: Limits = DEFAULTS

    rpc_timeout: float = 30.0
    """Seconds a call has when its client names none."""

    max_rpc_timeout: float = 300.0
    """Seconds a call has at most, whatever its client names."""

    database_threads: int = 8
    """Threads that plain handlers and the ORM run in, for all connections of a process."""

    sensitive_detail_keys: tuple[str, ...] = ()
    """Keys that never leave in error details, beside the built-in ones; any case."""

    close_on_unauthenticated: bool = False
    """Whether an ``UNAUTHENTICATED`` error closes its connection, with 4401 after the frame."""

    close_on_permission_denied: bool = False
    """Whether a ``PERMISSION_DENIED`` error closes its connection, with 4403 after the frame."""

    heartbeat_interval: float = 0.0
    """Seconds without an inbound frame after which a client is pinged; 0: heartbeat is off."""

    heartbeat_timeout: float = 5.0
    """Seconds that a client has to send anything after such a ping."""

    drain_on_sigterm: bool = False
    """Whether SIGTERM drains connections before the server gets it; takes the signal over."""

    drain_timeout: float = 10.0
    """Seconds that calls in flight have to end in a drain."""

    drain_window: float = 5.0
    """Seconds over which a drain spreads its closes, and its clients' reconnects."""

    revalidate_interval: float = 60.0
    """Seconds between two looks at whether users and sessions of live connections still
    hold; 0 leaves it to what Django's signals tell."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose ``X-Forwarded-For`` is believed; "unix" is a
    server that listens on a Unix socket."""

    token_parameter: str = "access_token"  # noqa: S105 - its name, not a token
    """The query parameter in which a client may carry its token."""

    token_subprotocol_prefix: str = "bearer."  # noqa: S105
    """The prefix of an offered subprotocol that is a token."""

    @property
    def closes(self) -> dict[str, tuple[int, str]]:
        """By error code: the close that follows its frame."""
        found: dict[str, tuple[int, str]] = {}
        if self.close_on_unauthenticated:
            found["UNAUTHENTICATED"] = (4401, "UNAUTHENTICATED")
        if self.close_on_permission_denied:
            found["PERMISSION_DENIED"] = (4403, "PERMISSION_DENIED")
        return found

    @property
    def proxies(self) -> tuple[Network, ...]:
        """
        ``trusted_proxies``, parsed.

        Raises:
            ValueError: If one is neither an address nor a network.
        """
        return tuple(one if one == UNIX else ip_network(one) for one in self.trusted_proxies)

    @property
    def sensitive(self) -> frozenset[str]:
        return _sensitive(tuple(self.sensitive_detail_keys))


@lru_cache(maxsize=8)
def _sensitive(keys: tuple[str, ...]) -> frozenset[str]:
    # One for all connections: each of them keeps it.
    return SENSITIVE_KEYS | {key.lower() for key in keys}


LIMIT_KEYS = {field.name.upper(): field.name for field in fields(Limits)}
OTHER_KEYS = {
    field.name.upper(): field.name for field in fields(Settings) if field.name != "limits"
}
DEFAULT_OF = {key: getattr(Settings(), name) for key, name in OTHER_KEYS.items()}


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """
    Return the checked ``WSKIT`` settings. Never keep the result on a class.

    Raises:
        ImproperlyConfigured: If ``WSKIT`` has a key that this version doesn't know, or a
            value that makes no sense.
    """
    given = getattr(django_settings, "WSKIT", {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured("WSKIT is a dict.")
    if unknown := sorted(map(str, given.keys() - LIMIT_KEYS.keys() - OTHER_KEYS.keys())):
        raise ImproperlyConfigured(f"WSKIT has unknown keys {', '.join(unknown)}.")
    for key, value in given.items():
        _require_kind(key, value)
    try:
        re.compile(given.get("TOPIC_PATTERN", ""))
        limits = Limits(**{LIMIT_KEYS[key]: given[key] for key in given if key in LIMIT_KEYS})
    except (ValueError, re.error) as error:
        raise ImproperlyConfigured(f"WSKIT: {error}") from None
    found = Settings(
        limits=limits.resolved(DEFAULTS),
        **{OTHER_KEYS[key]: given[key] for key in given if key in OTHER_KEYS},
    )
    try:
        _ = found.proxies
    except ValueError as error:
        raise ImproperlyConfigured(f"WSKIT['TRUSTED_PROXIES']: {error}") from None
    for name in ("rpc_timeout", "max_rpc_timeout", "database_threads", "heartbeat_timeout"):
        _require_positive(name, getattr(found, name))
    for name in ("heartbeat_interval", "drain_timeout", "drain_window", "revalidate_interval"):
        if getattr(found, name) < 0:
            raise ImproperlyConfigured(f"WSKIT[{name.upper()!r}] must not be below 0.")
    return found


KINDS: dict[type[Any], tuple[str, tuple[type[Any], ...]]] = {
    bool: ("True or False", (bool,)),
    int: ("an integer", (int,)),
    float: ("a number", (int, float)),
    str: ("a string", (str,)),
    tuple: ("a list", (list, tuple, set, frozenset)),
}
"""By the type of a key's default: what a value has to be."""


def _require_kind(key: str, value: Any) -> None:
    known = getattr(DEFAULTS, LIMIT_KEYS[key]) if key in LIMIT_KEYS else DEFAULT_OF[key]
    name, kinds = KINDS[type(known)]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ImproperlyConfigured(f"WSKIT[{key!r}] is {name}, not {value!r}.")


def _require_positive(name: str, value: float) -> None:
    if value <= 0:
        raise ImproperlyConfigured(f"WSKIT[{name.upper()!r}] is a number above 0, not {value!r}.")


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "WSKIT":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="wskit_channels.conf")
