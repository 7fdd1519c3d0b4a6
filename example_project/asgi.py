import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
http = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402

from wskit_channels.asgi import websocket_application  # noqa: E402

application = ProtocolTypeRouter(
    {
        # In production a web server or WhiteNoise serves the static files.
        "http": ASGIStaticFilesHandler(http) if settings.DEBUG else http,
        "websocket": websocket_application("example_project.routing.websocket_urlpatterns"),
    }
)
