"""The site's routers, pages and ASGI application. Import it when Django is set up."""

import asyncio
import logging
from typing import Any

from channels.routing import ProtocolTypeRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tests.browser.docs_site.messages import (
    KINDS,
    Echo,
    Heard,
    Shout,
    Step,
    Traced,
    TraceMeta,
    Where,
    WhoAmI,
    Work,
)
from wskit_channels import Context, Handshake, Router, RpcContext, Topic
from wskit_channels.asgi import websocket_application

logger = logging.getLogger(__name__)


class Square(Topic[Heard], pattern="square"):
    """Where everybody hears everybody."""


main: Router[Any] = Router(subprotocols=("shapes.v1",))
rooms: Router[Any] = Router()
guarded: Router[Any] = Router()


async def echo(ctx: RpcContext[Any, Any]) -> Echo:
    return Echo(got=ctx.payload.model_dump(mode="json", by_alias=True, exclude_unset=True))


for kind in KINDS:
    main.rpc(kind)(echo)


@main.rpc(Traced)
async def traced(ctx: RpcContext[Traced, Any]) -> Echo:
    return Echo(got=ctx.meta_as(TraceMeta).trace)


@main.rpc(Work, idempotent=False)
async def work(ctx: RpcContext[Work, Any]) -> Echo:
    total = ctx.payload.steps
    try:
        for done in range(total):
            ctx.progress(Step(done=done, total=total))
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        logger.warning("work cancelled")
        raise
    return Echo(got="worked")


@main.on(Shout, sends=[Heard])
async def shout(ctx: Context[Shout, Any]) -> None:
    ctx.send(Heard(text=ctx.payload.text.upper()))


@rooms.rpc(Where)
async def where(ctx: RpcContext[Where, Any]) -> Echo:
    return Echo(got=dict(ctx.request.path_params))


@guarded.authenticate
async def authenticate(request: Handshake) -> bool:
    return request.token == "let-me-in"


@guarded.rpc(WhoAmI)
async def who_am_i(ctx: RpcContext[WhoAmI, Any]) -> Echo:
    return Echo(got="somebody with a token")


def policy(get_response: Any) -> Any:
    """The strictest policy that the page has to work under."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(request)
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'"
        )
        return response

    return middleware


urlpatterns = [path("docs/", include("wskit_channels.urls"))]

application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(get_asgi_application()),
        "websocket": websocket_application(
            [
                path("ws/", main.as_asgi()),
                path("ws/rooms/<slug:room>/<int:floor>/", rooms.as_asgi()),
                path("ws/cellar/<slug:room>/", rooms.as_asgi()),
                path("ws/guarded/", guarded.as_asgi()),
            ],
            session=False,
            allowed_origins=["*"],
        ),
    }
)
