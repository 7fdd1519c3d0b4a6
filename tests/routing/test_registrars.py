"""``routing/registrars.py``: routes with middleware of their own."""

from typing import Any

import pytest

from tests.helpers import connected
from tests.routing.messages import Answer, Ask, Note, Said, Third
from wskit_channels import CallNext, ConnectionContext, Context, Router, RpcContext


async def outer(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
    ctx.send(Said(text="outer"))
    await call_next()


async def inner(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
    ctx.send(Said(text="inner"))
    await call_next()


async def event(ctx: Context[Any]) -> None:
    ctx.send(Said(text="handler"))


async def call(ctx: RpcContext[Ask]) -> Answer:
    return Answer(text="handler")


async def said(router: Router[Any], type_: str, payload: Any) -> list[str]:
    async with connected(router) as client:
        await client.call(type_, payload, id="a")
        return [frame["payload"]["text"] for frame in await client.heard()]


async def test_use_is_middleware_of_one_route() -> None:
    router = Router()
    router.on(Note, use=[outer, inner])(event)
    router.on(Third)(event)

    assert await said(router, "NOTE", {"text": ""}) == ["outer", "inner", "handler"]
    assert await said(router, "THIRD", None) == ["handler"]


async def test_use_is_middleware_of_a_call() -> None:
    router = Router()
    router.rpc(Ask, use=[outer, inner])(call)

    assert await said(router, "ASK", {}) == ["outer", "inner", "handler"]


async def test_a_route_is_built_with_middleware_and_an_event_handler() -> None:
    """``router.route(S).use(mw).on(h)`` (DESIGN 2)."""
    router = Router()
    router.route(Note).use(outer).use(inner).on(event)

    assert await said(router, "NOTE", {"text": ""}) == ["outer", "inner", "handler"]


async def test_a_route_is_built_with_middleware_and_a_call_handler() -> None:
    router = Router()
    router.route(Ask).use(outer, inner).rpc(call)

    assert await said(router, "ASK", {}) == ["outer", "inner", "handler"]


def test_a_built_route_keeps_the_rules_of_on_and_rpc() -> None:
    router: Any = Router()

    with pytest.raises(TypeError, match="Ask is a request"):
        router.route(Ask).on(call)
    with pytest.raises(TypeError, match="names no response"):
        router.route(Note).rpc(event)
    assert router.routes() == []


def test_a_route_without_a_handler_is_none() -> None:
    router = Router()
    router.route(Note).use(outer)

    assert router.routes() == []
