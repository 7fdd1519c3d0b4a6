"""
The documentation page: for staff, and under ``DEBUG`` for everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render, resolve_url
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from wskit_channels import page
from wskit_channels.codegen.schemas import ContractError
from wskit_channels.discovery import RouterNotFound

__all__ = ["asyncapi", "contract", "index"]

View = Callable[..., HttpResponse]


def guarded(view: View) -> View:
    """
    Let in staff, and under ``DEBUG`` everybody; keep no copy of what is answered.

    Who is not signed in is sent to the admin's login, or to ``LOGIN_URL`` where there is no
    admin; who is, and is no staff, is refused, since another login would not help.
    """

    @wraps(view)
    def guard(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        user = getattr(request, "user", None)
        if not settings.DEBUG and not (user and user.is_active and user.is_staff):
            if user is None or user.is_authenticated:
                raise PermissionDenied
            return redirect_to_login(request.get_full_path(), _login_url())
        return view(request, *args, **kwargs)

    return require_safe(cache_control(no_store=True)(guard))


def _login_url() -> str:
    try:
        return reverse("admin:login")
    except NoReverseMatch:
        return resolve_url(settings.LOGIN_URL)


@guarded
def index(request: HttpRequest) -> HttpResponse:
    sign_in = redirect_to_login(request.get_full_path(), _login_url()).url
    context = {"visitor": getattr(request, "user", None), "sign_in": sign_in}
    return render(request, "wskit_channels/docs.html", context)


@guarded
def contract(request: HttpRequest) -> HttpResponse:
    """All that the page shows, as JSON."""
    return JsonResponse(page.description())


@guarded
def asyncapi(request: HttpRequest, number: int) -> HttpResponse:
    """The AsyncAPI document of one router, counted from 1 in the page's order."""
    try:
        served = page.routers()[number - 1 : number]
        text = page.asyncapi_of(served[0][0]) if served else None
    except (RouterNotFound, ContractError) as error:
        raise Http404(str(error)) from error
    if text is None:
        raise Http404(f"There is no router {number}.")
    name = "asyncapi.json" if number == 1 else f"asyncapi-{number}.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(text, content_type="application/json", headers=headers)
