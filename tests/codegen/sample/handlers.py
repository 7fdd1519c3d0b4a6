from typing import Any

from wskit_channels import Context, Router, RpcContext

from .messages import (
    Ask,
    Camel,
    Cleared,
    Count,
    Draw,
    Find,
    Found,
    Hidden,
    Leave,
    Noted,
    Short,
    Traced,
)
from .services import take_a_seat

router = Router(subprotocols=["v1"])
router.sends(Short)


@router.on(Draw, sends=[Cleared, Noted])
async def draw(ctx: Context[Draw]) -> None:
    """Draws it for everybody in the room."""
    take_a_seat(1)


@router.on(Camel, Leave, Traced, Hidden)
async def others(ctx: Context[Any]) -> None: ...


@router.rpc(Find)
async def find(ctx: RpcContext[Find]) -> Found:
    """Finds shapes."""
    raise NotImplementedError


@router.rpc(Count)
async def count(ctx: RpcContext[Count]) -> Cleared:
    return Cleared()


@router.rpc(Ask)
async def ask(ctx: RpcContext[Any]) -> Any: ...
