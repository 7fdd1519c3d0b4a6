"""
Admission: who may connect, and with what data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from channels.db import database_sync_to_async

from wskit_channels.protocol.errors import CloseConnection, WsKitError
from wskit_channels.routing.functions import from_within, is_async, name_of
from wskit_channels.routing.handshake import Handshake
from wskit_channels.routing.router import Router
from wskit_channels.routing.shell import get_shell

__all__ = ["Admission", "admit"]

logger = logging.getLogger("wskit_channels.auth")

UNAUTHENTICATED = (4401, "UNAUTHENTICATED")
FORBIDDEN = (4403, "PERMISSION_DENIED")
BUG = (1011, "INTERNAL")


@dataclass(frozen=True, slots=True)
class Admission:
    """The connection's data, or the close that refuses it."""

    data: Any = None
    refusal: tuple[int, str] | None = None


async def admit(router: Router[Any], handshake: Handshake) -> Admission:
    """
    Ask a router's hooks whether a client may connect. Never raises.

    An exception in ``on_upgrade`` is logged and suppressed; one in ``authenticate``
    refuses: with 4401 or 4403 if that is what it means, else with 1011, as it is a bug.
    """
    hooks = router.freeze().hooks
    for hook in hooks.on_upgrade:
        try:
            await _run(hook, handshake)
        except Exception:
            logger.exception("hook failed: hook=%s", name_of(hook))
    if router.login_required and not handshake.user.is_authenticated:
        return Admission(refusal=UNAUTHENTICATED)
    if not hooks.authenticate:
        return Admission(router.make_data())
    hook = hooks.authenticate[0]
    try:
        return _judge(router, await _run(hook, handshake), hook)
    except Exception as error:  # noqa: BLE001 - every failure refuses
        return Admission(refusal=_refusal(router, error, hook))


async def _run(hook: Callable[..., Any], handshake: Handshake) -> Any:
    if is_async(hook):
        return await from_within(hook(handshake))
    return await database_sync_to_async(hook)(handshake)


def _judge(router: Router[Any], found: Any, hook: Callable[..., Any]) -> Admission:
    if found is None or found is False:
        return Admission(refusal=UNAUTHENTICATED)
    if router.data_class is None:
        if found is not True:
            raise TypeError(f"{name_of(hook)} returns a bool, or data where Router(data=) is given")
        return Admission(SimpleNamespace())
    if not isinstance(found, router.data_class):
        raise TypeError(
            f"{name_of(hook)} returned a {type(found).__name__}, "
            f"not a {router.data_class.__name__} or None"
        )
    return Admission(found)


def _refusal(router: Router[Any], error: Exception, hook: Callable[..., Any]) -> tuple[int, str]:
    if isinstance(error, CloseConnection):
        return error.code, error.reason
    try:
        answer = _answer_to(router, error)
    except Exception as broken:  # noqa: BLE001 - a mapping that raises is one more bug
        broken.__cause__, error, answer = error, broken, None
    if answer is None:
        logger.error("authentication failed: hook=%s", name_of(hook), exc_info=error)
        return BUG
    return FORBIDDEN if answer.code == "PERMISSION_DENIED" else UNAUTHENTICATED


def _answer_to(router: Router[Any], error: Exception) -> WsKitError | None:
    if isinstance(error, WsKitError):
        return error
    return router.freeze().as_error(error) or get_shell().as_error(error)
