"""A strict Content-Security-Policy. On Django 6 use its own middleware and ``SECURE_CSP``."""

import secrets
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

POLICY = "; ".join(
    [
        # 'self' includes WebSockets to the page's own origin.
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
        # An import map can only be inline: the nonce allows that one element.
        "script-src 'self' 'nonce-{nonce}'",
    ]
)


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        nonce = secrets.token_urlsafe(16)
        request.META["CSP_NONCE"] = nonce  # for templates: {{ request.META.CSP_NONCE }}
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY.format(nonce=nonce))
        return response

    return middleware
