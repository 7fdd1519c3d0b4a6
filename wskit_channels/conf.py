"""
The ``WSKIT`` settings: one dict, read late, strict about what it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from wskit_channels.protocol.errors import SENSITIVE_KEYS
from wskit_channels.protocol.limits import DEFAULTS, Limits

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

    token_parameter: str = "access_token"  # noqa: S105 - its name, not a token
    """The query parameter in which a client may carry its token."""

    token_subprotocol_prefix: str = "bearer."  # noqa: S105
    """The prefix of an offered subprotocol that is a token."""

    @property
    def sensitive(self) -> frozenset[str]:
        return SENSITIVE_KEYS | {key.lower() for key in self.sensitive_detail_keys}


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
    for name in ("rpc_timeout", "max_rpc_timeout", "database_threads"):
        _require_positive(name, getattr(found, name))
    return found


KINDS: dict[type[Any], tuple[str, tuple[type[Any], ...]]] = {
    int: ("an integer", (int,)),
    float: ("a number", (int, float)),
    str: ("a string", (str,)),
    tuple: ("a list", (list, tuple, set, frozenset)),
}
"""By the type of a key's default: what a value has to be."""


def _require_kind(key: str, value: Any) -> None:
    known = getattr(DEFAULTS, LIMIT_KEYS[key]) if key in LIMIT_KEYS else DEFAULT_OF[key]
    name, kinds = KINDS[type(known)]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ImproperlyConfigured(f"WSKIT[{key!r}] is {name}, not {value!r}.")


def _require_positive(name: str, value: float) -> None:
    if value <= 0:
        raise ImproperlyConfigured(f"WSKIT[{name.upper()!r}] is a number above 0, not {value!r}.")


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "WSKIT":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="wskit_channels.conf")
