"""The demo's people and rooms: what is made, and who may sign in with one click."""

from django.conf import settings
from django.contrib.auth import get_user_model

from .models import Room

USERNAMES = ("alice", "bob")
PASSWORD = "demo"

ROOMS = (
    Room(slug="lobby", name="Lobby", purpose="Say hello. Everybody starts here."),
    Room(slug="kitchen", name="Kitchen", purpose="Recipes, and what is for lunch."),
    Room(slug="workshop", name="Workshop", purpose="Django, Channels and WebSockets."),
)


def make_data() -> None:
    """Make what is missing, and give the demo's users the demo's password again."""
    for username in USERNAMES:
        user, _ = get_user_model().objects.get_or_create(username=username)
        # Setting the same password anew would end the user's sessions.
        if not user.check_password(PASSWORD):
            user.set_password(PASSWORD)
            user.save()
    Room.objects.bulk_create(ROOMS, ignore_conflicts=True)


def one_click_users() -> list[str]:
    """Return the demo's users for the login page; outside DEBUG there are none."""
    if not settings.DEBUG:
        return []
    users = get_user_model().objects.filter(username__in=USERNAMES).order_by("username")
    return [user.get_username() for user in users]
