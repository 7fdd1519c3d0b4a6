"""The demo's people and rooms: what is made, and who may sign in with one click."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.utils import timezone

from .models import ChatLine, Room

USERNAMES = ("alice", "bob")
PASSWORD = "demo"

ROOMS = (
    Room(slug="lobby", name="Lobby", purpose="Say hello. Everybody starts here."),
    Room(slug="kitchen", name="Kitchen", purpose="Recipes, and what is for lunch."),
    Room(slug="workshop", name="Workshop", purpose="Django, Channels and WebSockets."),
    Room(slug="archive", name="Archive", purpose="A long history, to try the export on."),
)
ARCHIVE_LENGTH = 600
SKIES = ("clear", "a few clouds", "overcast", "light rain", "heavy rain", "fog", "a strong wind")


def make_data() -> None:
    """Make what is missing, and give the demo's users the demo's password again."""
    users = [make_user(username) for username in USERNAMES]
    Room.objects.bulk_create(ROOMS, ignore_conflicts=True)
    if not ChatLine.objects.filter(room="archive").exists():
        ChatLine.objects.bulk_create(archive_lines(users))


def make_user(username: str) -> User:
    user, _ = get_user_model().objects.get_or_create(username=username)
    # Setting the same password anew would end the user's sessions.
    if not user.check_password(PASSWORD):
        user.set_password(PASSWORD)
        user.save()
    return user


def archive_lines(users: list[User]) -> Iterator[ChatLine]:
    """The weather, twice a day until now, as noted by the users in turn."""
    now = timezone.now()
    for number in range(ARCHIVE_LENGTH):
        yield ChatLine(
            room_id="archive",
            author=users[number % len(users)],
            text=f"Note {number + 1}: {8 + number * 5 % 13} °C, {SKIES[number * 3 % len(SKIES)]}.",
            created_at=now - timedelta(hours=12) * (ARCHIVE_LENGTH - number),
        )


def one_click_users() -> list[str]:
    """Return the demo's users for the login page; outside DEBUG there are none."""
    if not settings.DEBUG:
        return []
    users = get_user_model().objects.filter(username__in=USERNAMES).order_by("username")
    return [user.get_username() for user in users]
