"""The ASGI application of the client tests. Import it when Django is set up."""

from channels.routing import ProtocolTypeRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import path
from django.views.generic import TemplateView

from tests.clients.router import router
from wskit_channels.asgi import websocket_application

urlpatterns = [path("", TemplateView.as_view(template_name="page.html"))]

application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(get_asgi_application()),
        "websocket": websocket_application(
            [path("ws/", router.as_asgi())], session=False, allowed_origins=["*"]
        ),
    }
)
