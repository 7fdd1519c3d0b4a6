"""Whether to show the link to the WebSocket documentation: to whom its page is open."""

from django.conf import settings
from django.http import HttpRequest


def docs_link(request: HttpRequest) -> dict[str, bool]:
    return {"shows_docs": settings.DEBUG or request.user.is_staff}
