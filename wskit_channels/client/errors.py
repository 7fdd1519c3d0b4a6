"""
What goes wrong for a client, by who is to act on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wskit_channels.protocol.validation import Issue

__all__ = [
    "ClientError",
    "ConnectFailed",
    "ConnectionClosed",
    "InvalidFrame",
    "Overflow",
    "RequestTimeout",
    "ServerError",
    "ServerTimeout",
    "StateError",
]


class ClientError(Exception):
    """Base of every exception that the client raises of its own."""


class ServerError(ClientError):
    """
    The server answered with an error frame (``PROTOCOL 4``).

    ``code`` is one of the 13 standard codes or the application's own. ``retryable`` is
    None where the server does not say; where it is true, the same request may succeed after
    ``retry_after`` seconds, or after a pause of your choice where that is None.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.code = code
        self.message = message or code
        self.details: Mapping[str, Any] = details or {}
        self.retryable = retryable
        self.retry_after = retry_after
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class ServerTimeout(ServerError, TimeoutError):
    """The server gave a call up at its deadline: ``DEADLINE_EXCEEDED``."""


class RequestTimeout(ClientError, TimeoutError):
    """No answer came within the timeout, counted from when the request was written."""


class ConnectionClosed(ClientError):
    """
    The connection ended, for this request or for good.

    ``code`` is the close frame's, 1006 where there was none; ``PROTOCOL 8`` lists them.
    A request that was not yet written is never failed with it while the client reconnects.
    """

    def __init__(self, code: int, reason: str = "", explanation: str = "") -> None:
        self.code = code
        self.reason = reason
        self.explanation = explanation
        super().__init__(code, reason, explanation)

    def again(self) -> ConnectionClosed:
        """The same, to be raised another time with a traceback of its own."""
        error = ConnectionClosed(self.code, self.reason, self.explanation)
        error.__cause__ = self.__cause__
        return error

    def __str__(self) -> str:
        text = f"the connection closed with {self.code}"
        if self.reason:
            text += f" ({self.reason})"
        return f"{text}: {self.explanation}" if self.explanation else text


class ConnectFailed(ClientError):
    """No connection could be made in time; the last failure is the cause."""


class StateError(ClientError):
    """The client cannot take a request now; it was not sent and never will be."""


class InvalidFrame(ClientError):
    """A frame from the server that its message class refuses."""

    def __init__(self, type: str, issues: Sequence[Issue] = ()) -> None:
        self.type = type
        self.issues = issues
        super().__init__(type, issues)

    def __str__(self) -> str:
        found = "; ".join(
            f"{'.'.join(map(str, issue['path']))}: {issue['message']}" for issue in self.issues
        )
        return f"the server's {self.type!r} is not as declared" + (f" ({found})" if found else "")


class Overflow(ClientError):
    """Messages were dropped, since nothing took them from a full buffer."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(size)

    def __str__(self) -> str:
        return (
            f"more than {self.size} messages wait to be handled, and some are dropped: "
            "handle them faster, or raise incoming_size"
        )
