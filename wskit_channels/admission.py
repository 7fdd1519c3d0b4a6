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
from wskit_channels.routing.functions import from_within, is_async, name_of, observe
from wskit_channels.routing.handshake import Handshake, network_of
from wskit_channels.routing.router import Router
from wskit_channels.routing.shell import get_shell
from wskit_channels.seats import Seats

__all__ = ["LOGGED_OUT", "TOO_MANY", "Admission", "admit"]

logger = logging.getLogger("wskit_channels.auth")

UNAUTHENTICATED = (4401, "UNAUTHENTICATED")
FORBIDDEN = (4403, "PERMISSION_DENIED")
BUG = (1011, "INTERNAL")
LOGGED_OUT = (4401, "SESSION_ENDED")
TOO_MANY = (4429, "TOO_MANY_CONNECTIONS")


@dataclass(frozen=True, slots=True)
class Admission:
    """The connection's data, or the close that refuses it."""

    data: Any = None
    refusal: tuple[int, str] | None = None


async def admit(
    router: Router[Any], handshake: Handshake, seats: Seats, *, loads_user: bool
) -> Admission:
    """
    Ask a router's hooks whether a client may connect, and take its seats. Never raises.

    With ``loads_user`` the session's user is loaded, where no ``authenticate`` decides for
    itself whether to, or where a login is required.

    An exception in ``on_upgrade`` is logged and suppressed; one in ``authenticate``
    refuses: with 4401 or 4403 if that is what it means, else with 1011, as it is a bug.
    """
    hooks = router.freeze().hooks
    for hook in hooks.on_upgrade:
        try:
            await _run(hook, handshake)
        except Exception:
            logger.exception("hook failed: hook=%s", name_of(hook))
    try:
        if loads_user and (router.login_required or not hooks.authenticate):
            await handshake.load_user()
    except Exception:
        logger.exception("the session could not be loaded")
        return Admission(refusal=BUG)
    if not hooks.authenticate and _is_out(router, handshake):
        return Admission(refusal=UNAUTHENTICATED)
    admission = await _authenticate(router, handshake, hooks.authenticate)
    handshake.settle()
    if admission.refusal is not None:
        return admission
    if _is_out(router, handshake):
        return Admission(refusal=UNAUTHENTICATED)
    refusal = await _seat(seats, router, handshake)
    return admission if refusal is None else Admission(refusal=refusal)


def _is_out(router: Router[Any], handshake: Handshake) -> bool:
    """Whether a login is required, and nobody has logged in so far."""
    return router.login_required and not handshake.user.is_authenticated


async def _authenticate(
    router: Router[Any], handshake: Handshake, hooks: list[Callable[..., Any]]
) -> Admission:
    if not hooks:
        return Admission(router.make_data())
    try:
        return _judge(router, await _run(hooks[0], handshake), hooks[0])
    except Exception as error:  # noqa: BLE001 - every failure refuses
        return Admission(refusal=_refusal(router, error, hooks[0]))


async def _seat(seats: Seats, router: Router[Any], handshake: Handshake) -> tuple[int, str] | None:
    """Take the seats of a client's user and address; the close where there is none left."""
    user = handshake.user
    address = handshake.client_ip
    exceeded = await seats.take("ip", None if address is None else network_of(address))
    if exceeded is None and user.is_authenticated:
        exceeded = await seats.take("user", user.pk)
    if exceeded is None:
        return None
    await seats.leave_all()
    logger.info("limit exceeded: %s %s over %s", exceeded.type, exceeded.observed, exceeded.limit)
    await observe(router.freeze().hooks.on_limit_exceeded, exceeded)
    return TOO_MANY


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
