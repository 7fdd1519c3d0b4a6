"""
The conformance server with struct messages.

Its handlers are the other server's own, in whose modules the names of messages
stand for structs; only the one that uses a method of pydantic's is written anew.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

import msgspec
from django.urls import path

from tests.conformance import calls, events, structs
from tests.conformance.router import Data, make_router
from tests.conformance.router import router as pydantic_router
from wskit_channels import Context
from wskit_channels.asgi import websocket_application

router = make_router()
STRUCTS = {name: found for name, found in vars(structs).items() if isinstance(found, type)}


@router.on(structs.Fail)
async def fail(ctx: Context[structs.Fail, Data]) -> None:
    given = {
        name: value
        for name, value in msgspec.structs.asdict(ctx.payload).items()
        if value is not msgspec.UNSET
    }
    code = cast(Any, given.pop("code"))
    if "retry_after_ms" in given:
        ms = given.pop("retry_after_ms")
        given["retry_after"] = None if ms is None else ms / 1000
    ctx.error(code, **given)


def with_structs(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, to which the names of messages mean structs."""
    assert isinstance(handler, FunctionType)
    names = {**handler.__globals__, **STRUCTS}
    return FunctionType(handler.__code__, names, handler.__name__)


for route in pydantic_router.routes():
    message: Any = STRUCTS[route.message.__name__]
    if message is not structs.Fail:
        module, _, name = route.handler.rpartition(".")
        served = with_structs(getattr(calls if module == calls.__name__ else events, name))
        register: Any = router.rpc if route.kind == "rpc" else router.on
        register(message)(served)
router.on_close(with_structs(events.tell_rooms))

application = websocket_application(
    [path("", router.as_asgi())], session=False, allowed_origins=["*"]
)
