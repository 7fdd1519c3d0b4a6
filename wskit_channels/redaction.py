"""
Keeping tokens out of what ASGI servers log.

A token in the query is part of the URL, and servers log URLs. What uvicorn logs, and
daphne under ``runserver``, goes through filters on their loggers, which survive any
logging configuration that a server or a project applies before or after. daphne's own
access log is written to a stream, with no logger in between: there its writer is wrapped.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from wskit_channels.conf import Settings, get_settings

__all__ = ["REDACTED", "TokenFilter", "install", "redacted"]

REDACTED: Final = "[redacted]"

LOGGERS: Final = (
    "uvicorn.error",
    "uvicorn.access",
    "uvicorn.asgi",
    "django.channels.server",
    "django.server",
    "daphne.server",
    "daphne.http_protocol",
    "daphne.ws_protocol",
)
"""Loggers that URLs are logged by; a filter on a logger does not cover those below it."""

SECRET_HEADERS: Final = frozenset({"cookie", "set-cookie", "authorization"})
"""Headers whose values uvicorn logs at the debug level, as "name: value"."""

# The name may be written with percent escapes. It starts where a name can, so that the search
# stays linear in the text.
_PARAMETER: Final = re.compile(r"(?:(?<=[?&\s'\"])|^)([^?&=\s'\"]+)=([^&\s]*)")


def redacted(text: str) -> str:
    """The text without the token that a query or a subprotocol in it carries."""
    settings = _settings()
    name = settings.token_parameter.lower()

    def without_token(found: re.Match[str]) -> str:
        if unquote_plus(found[1]).lower() != name:
            return found[0]
        return f"{found[1]}={REDACTED}"

    if "=" in text:
        text = _PARAMETER.sub(without_token, text)
    if (prefix := settings.token_subprotocol_prefix) and prefix in text:
        text = re.sub(rf"(?<![\w.-]){re.escape(prefix)}[^\s,'\"]+", prefix + REDACTED, text)
    return text


def _settings() -> Settings:
    try:
        return get_settings()
    except Exception:  # noqa: BLE001 - a log line fails nobody; a system check reports it
        return Settings()


class TokenFilter(logging.Filter):
    """Lets every record pass, without tokens."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Arguments stay what they are, since formatters read them: uvicorn's does.
        record.msg = _cleaned(record.msg)
        if isinstance(record.args, Mapping):
            record.args = {name: _cleaned(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(map(_cleaned, _without_secret_header(record.args)))
        return True


def _without_secret_header(args: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(args) == 2 and isinstance(args[0], str) and args[0].lower() in SECRET_HEADERS:
        return args[0], REDACTED
    return args


def _cleaned(value: Any) -> Any:
    """A value of a record; one that is no text is replaced by its text if a token is in it."""
    if isinstance(value, str):
        return redacted(value)
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    clean = redacted(text)
    return value if clean == text else clean


_filter = TokenFilter()


def install() -> None:
    """Redact what the servers of this process log; doing it again changes nothing."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_filter)
    if "daphne" in sys.modules:  # importing it sets an event loop policy on Windows
        _wrap_access_log()


def _wrap_access_log() -> None:
    from daphne.access import (  # type: ignore[import-untyped]  # daphne brings no types
        AccessLogGenerator,
    )

    write = AccessLogGenerator.write_entry
    if hasattr(write, "__wskit_wraps__"):
        return

    def write_entry(self: Any, host: Any, date: Any, request: str, *args: Any, **kw: Any) -> None:
        write(self, host, date, redacted(request), *args, **kw)

    write_entry.__wskit_wraps__ = write  # type: ignore[attr-defined]  # read above
    AccessLogGenerator.write_entry = write_entry
