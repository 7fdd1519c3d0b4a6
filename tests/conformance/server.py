"""The conformance server's ASGI application. Import it when Django is set up."""

from django.urls import path

from tests.conformance import calls, events  # noqa: F401 - they register their handlers
from tests.conformance.router import router
from wskit_channels.asgi import websocket_application

application = websocket_application(
    [path("", router.as_asgi())], session=False, allowed_origins=["*"]
)
