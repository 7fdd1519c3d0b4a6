"""What the tests of calls share: routers with one request, and the frames it brings."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.helpers import Frame, connected
from tests.routing.messages import Answer, Ask
from wskit_channels import (
    Router,
    RpcContext,
)

Act = Callable[[RpcContext[Ask]], Awaitable[Answer | None]]


def serving(act: Act, *, cancellable: bool = True, **options: Any) -> Router[Any]:
    """A router whose ``ASK`` is handled by ``act``."""
    router: Router[Any] = Router(**options)
    register: Any = router.rpc(Ask, cancellable=cancellable)
    register(act)
    return router


async def waits(ctx: RpcContext[Ask]) -> None:
    """A handler that answers nothing until it is cancelled."""
    await asyncio.Event().wait()


def answer(id: str, text: str = "") -> Frame:
    return {"type": "ANSWER", "meta": {"correlationId": id}, "payload": {"text": text}}


def progress(id: str, data: Any) -> Frame:
    return {"type": "$ws:rpc-progress", "meta": {"correlationId": id}, "data": data}


def failure(id: str | None, code: str, message: str, retryable: bool = False, **more: Any) -> Frame:
    payload = {"code": code, "message": message, "retryable": retryable, **more}
    if id is None:
        return {"type": "ERROR", "payload": payload}
    return {"type": "RPC_ERROR", "meta": {"correlationId": id}, "payload": payload}


def internal(id: str) -> Frame:
    return failure(id, "INTERNAL", "Internal server error")


def cancelled(id: str) -> Frame:
    return failure(id, "CANCELLED", "Cancelled")


def too_late(id: str) -> Frame:
    return failure(id, "DEADLINE_EXCEEDED", "Deadline exceeded", retryable=True)


async def outcome(router: Router[Any], id: str = "1", text: str = "") -> list[Frame]:
    """All frames that one call brings."""
    async with connected(router) as client:
        await client.call("ASK", {"text": text}, id=id)
        return await client.heard()
