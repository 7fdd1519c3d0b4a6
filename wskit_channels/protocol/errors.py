"""
Errors as clients see them: the codes, their retry rules, and what may leave.

``PROTOCOL 4`` is the source of every rule here. An error reaches a client as a
code, a sentence and details that were cleaned of secrets; never as ``str(exc)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self, get_args

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from wskit_channels.protocol.text import printable

__all__ = [
    "SENSITIVE_KEYS",
    "UNSET",
    "CloseConnection",
    "ErrorCode",
    "PubSubError",
    "PubSubErrorCode",
    "Unset",
    "WsKitError",
]

ErrorCode = Literal[
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "UNIMPLEMENTED",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "ABORTED",
    "INTERNAL",
]
STANDARD_CODES: Final = frozenset(get_args(ErrorCode))
TRANSIENT_CODES: Final = frozenset(
    {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED"}
)
RETRY_AFTER_CODES: Final = TRANSIENT_CODES | {"INTERNAL"}
"""Standard codes on which ``retryAfterMs`` may stand."""

SENTENCES: Final[Mapping[str, str]] = {
    "UNAUTHENTICATED": "Authentication required",
    "PERMISSION_DENIED": "Permission denied",
    "INVALID_ARGUMENT": "Invalid message",
    "FAILED_PRECONDITION": "Not possible in the present state",
    "NOT_FOUND": "Not found",
    "ALREADY_EXISTS": "Already exists",
    "UNIMPLEMENTED": "Not supported",
    "CANCELLED": "Cancelled",
    "DEADLINE_EXCEEDED": "Deadline exceeded",
    "RESOURCE_EXHAUSTED": "Too much at once",
    "UNAVAILABLE": "Temporarily unavailable",
    "ABORTED": "Aborted",
    "INTERNAL": "Internal server error",
}
"""What a client reads when the code that refused gave no message."""

SENSITIVE_KEYS: Final = frozenset(
    [
        "password",
        "token",
        "authorization",
        "cookie",
        "secret",
        "apikey",
        "api_key",
        "accesstoken",
        "access_token",
        "refreshtoken",
        "refresh_token",
        "credentials",
        "auth",
        "bearer",
        "jwt",
    ]
)
MAX_DETAIL_CHARS: Final = 500


class Unset:
    """The type of ``UNSET``, which tells "not given" from None."""

    _only: ClassVar[Unset | None] = None

    def __new__(cls) -> Self:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only  # type: ignore[return-value]  # final in effect: nobody subclasses it

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset()


class WsKitError(Exception):
    """
    An error that is answered with its own code, message and details.

    ``retry_after`` is in seconds; None says that a retry can never succeed
    under the present policy and makes the error not retryable (``PROTOCOL 4``).
    An application's own code is declared once::

        class RoomFull(WsKitError, code="ROOM_FULL", retryable=True): ...

        raise RoomFull(message="Try another room")

    Raises:
        TypeError: If no code is given, or one is given to a class that declares its own.
        ValueError: If ``retry_after`` is negative or not finite.
    """

    declared_code: ClassVar[str | None] = None
    declared_retryable: ClassVar[bool | None] = None

    def __init_subclass__(
        cls, *, code: str | None = None, retryable: bool | None = None, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if code is not None:
            if not code.strip():
                raise TypeError(f"{cls.__name__}: an error code is a non-empty string.")
            if code in STANDARD_CODES:
                raise TypeError(
                    f"{cls.__name__}: {code} is a standard code; raise WsKitError({code!r})."
                )
            cls.declared_code = code
        if retryable is not None:
            cls.declared_retryable = retryable

    def __init__(
        self,
        code: ErrorCode | None = None,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        retry_after: float | Unset | None = UNSET,
    ) -> None:
        declared = type(self).declared_code
        if (code is None) == (declared is None):
            name = type(self).__name__
            way_out = f"{name}(message=...)" if declared else f"{name}(code, ...)"
            raise TypeError(f"{name} takes exactly one code; write {way_out}.")
        if isinstance(retry_after, float | int) and not 0 <= retry_after < math.inf:
            raise ValueError(f"retry_after is a number of seconds or None, not {retry_after}.")
        self.code: str = code or declared or ""
        self.message: str = message or SENTENCES.get(self.code, self.code)
        self.details = details
        self.retryable = type(self).declared_retryable if retryable is None else retryable
        self.retry_after = retry_after
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__)

    @classmethod
    def wrap(
        cls,
        error: BaseException,
        code: ErrorCode | None = None,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
    ) -> WsKitError:
        """
        Make a ``WsKitError`` of any exception, for an ``except`` block.

        A ``WsKitError`` comes back as it is when no code is given. Anything else
        becomes one (``INTERNAL`` without a code) with the original as its cause;
        its text is never taken over, since it may hold what no client should see.
        """
        if isinstance(error, WsKitError) and code is None:
            return error
        return cls.retag(error, code or "INTERNAL", message, details=details)

    @classmethod
    def retag(
        cls,
        error: BaseException,
        code: ErrorCode,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
    ) -> WsKitError:
        """
        Answer with another code: a new error whose cause is the given one.

        Message and details are taken over from a ``WsKitError`` unless given.
        """
        if isinstance(error, WsKitError):
            message = message or error.message
            details = error.details if details is None else details
        new = WsKitError(code, message, details=details)
        new.__cause__ = error
        return new


def _rebuild(cls: type[WsKitError], state: dict[str, Any]) -> WsKitError:
    error = cls.__new__(cls, state["message"])
    error.__dict__.update(state)
    return error


class Refused(WsKitError):
    """A refusal of the library's own, whose ``own`` details have bounds of their own."""

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        own: Mapping[str, Any] | None = None,
        retry_after: float | Unset | None = UNSET,
    ) -> None:
        super().__init__(code, message, retry_after=retry_after)
        self.own: Mapping[str, Any] = own or {}


PubSubErrorCode = Literal[
    "INVALID_TOPIC",
    "ACL_SUBSCRIBE",
    "ACL_UNSUBSCRIBE",
    "TOPIC_LIMIT_EXCEEDED",
    "CONNECTION_CLOSED",
    "ADAPTER_ERROR",
]


class PubSubError(WsKitError):
    """
    A topic operation that was refused or failed.

    Not caught, it answers the client with its code, message and details.
    ``retryable`` is true only for ``ADAPTER_ERROR``: the channel layer failed.
    """

    def __init__(
        self,
        code: PubSubErrorCode,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.code = code
        self.message = message or code
        self.details = details
        self.retryable = code == "ADAPTER_ERROR"
        self.retry_after = UNSET
        Exception.__init__(self, self.message)


class CloseConnection(Exception):
    """
    Raised in ``on_open`` or a handler to close the connection with a code of your own.

    ``code`` is 1000 or 3000 to 4999 (``PROTOCOL 8`` lists the library's own);
    ``reason`` is at most 123 bytes of UTF-8.

    Raises:
        ValueError: If code or reason cannot go into a close frame.
    """

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        check_close(code, reason)
        self.code = code
        self.reason = reason
        super().__init__(code, reason)  # as given, for pickling

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".rstrip()


SENDABLE_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011})


def check_close(code: int, reason: str) -> None:
    """Raise ValueError for what RFC 6455 lets no close frame carry."""
    if code not in SENDABLE_CLOSE_CODES | {1012, 1013, 1014} and not 3000 <= code <= 4999:
        raise ValueError(f"{code} is no close code that may be sent: use 1000 or 3000 to 4999.")
    if len(reason.encode()) > 123:
        raise ValueError("a close reason is at most 123 bytes of UTF-8")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The payload of an error frame, and what was left out of it, for the operator."""

    payload: dict[str, Any]
    dropped: tuple[str, ...] = ()


def error_body(error: WsKitError, sensitive: frozenset[str] = SENSITIVE_KEYS) -> ErrorBody:
    """
    Build an error frame's payload by ``PROTOCOL 4``.

    ``retry_after`` stays in seconds under its Python name, for ``wire`` to write.
    """
    # A lone surrogate in the sentence, of a file's name say, must not cost the answer.
    message = error.message.encode(errors="replace").decode()
    payload: dict[str, Any] = {"code": error.code, "message": message}
    details, dropped = sanitize(error.details or {}, sensitive)
    if isinstance(error, Refused):
        details.update(error.own)
    if details:
        payload["details"] = details
    retryable, retry_after = error.retryable, error.retry_after
    if error.code in STANDARD_CODES:
        if retryable is None:
            retryable = error.code in TRANSIENT_CODES
        if retry_after is not UNSET and error.code not in RETRY_AFTER_CODES:
            dropped.append(f"retry_after, which {error.code} forbids")
            retry_after = UNSET
    if not isinstance(retry_after, Unset):
        retryable = error.retryable if error.retryable is not None else retry_after is not None
        retryable = retryable and retry_after is not None
        payload["retry_after"] = retry_after
    if retryable is not None:
        payload["retryable"] = retryable
    return ErrorBody(payload, tuple(dropped))


def sanitize(
    details: Mapping[str, Any], sensitive: frozenset[str] = SENSITIVE_KEYS
) -> tuple[dict[str, Any], list[str]]:
    """
    Clean error details for a client (``PROTOCOL 4``).

    Returns the details that may leave, and a line for each value that is gone
    because JSON cannot hold it. Secrets and values over 500 characters go
    without a line.
    """
    kept: dict[str, Any] = {}
    dropped: list[str] = []
    for key, value in details.items():
        if str(key).lower() in sensitive:
            continue
        try:
            plain = to_jsonable_python(value)
            to_json(plain)  # knows what the line above lets through: lone surrogates
        except (PydanticSerializationError, RecursionError, ValueError):
            name = printable(str(key))
            dropped.append(f"details.{name}, a {type(value).__name__} that JSON cannot hold")
            continue
        if not is_finite(plain):
            name = printable(str(key))
            dropped.append(f"details.{name}, which holds a number that is not finite")
        elif not _is_large(plain):
            kept[str(key)] = _without_secrets(plain, sensitive)
    return kept, dropped


def is_finite(value: Any) -> bool:
    """Whether a tree of plain values holds no NaN and no infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(is_finite(key) and is_finite(item) for key, item in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return all(is_finite(item) for item in value)
    return True


def _is_large(plain: Any) -> bool:
    return isinstance(plain, dict | list) and len(to_json(plain).decode()) > MAX_DETAIL_CHARS


def _without_secrets(plain: Any, sensitive: frozenset[str]) -> Any:
    if isinstance(plain, dict):
        return {
            key: _without_secrets(value, sensitive)
            for key, value in plain.items()
            if key.lower() not in sensitive and not _is_large(value)
        }
    if isinstance(plain, list):
        return [_without_secrets(item, sensitive) for item in plain if not _is_large(item)]
    return plain
