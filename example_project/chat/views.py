from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from . import demo
from .models import Room


class SignIn(LoginView):
    """Django's login page, with a button for each demo user while DEBUG is on."""

    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        demo_users = {"demo_users": demo.one_click_users(), "demo_password": demo.PASSWORD}
        return super().get_context_data(**kwargs) | demo_users


@login_required
def rooms(request: HttpRequest) -> HttpResponse:
    rooms = Room.objects.annotate(last_line_at=Max("lines__created_at"))
    return render(request, "chat/rooms.html", {"rooms": rooms})


@login_required
def room(request: HttpRequest, slug: str) -> HttpResponse:
    context = {"room": get_object_or_404(Room, slug=slug), "rooms": Room.objects.all()}
    return render(request, "chat/room.html", context)
