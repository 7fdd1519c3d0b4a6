from django.conf import settings
from django.db import models
from django.utils import timezone


class Room(models.Model):
    """A place to talk. Its slug is its name on the wire, so it is the key as well."""

    slug = models.SlugField(primary_key=True)
    name = models.CharField(max_length=80)
    purpose = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ChatLine(models.Model):
    """Something that somebody said. Lines of a room are ordered by id."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="lines", db_index=False)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="chat_lines"
    )
    text = models.TextField(max_length=2000)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    key = models.UUIDField(null=True, editable=False)
    """Made by the writer's page, so that what is sent twice is said once."""

    class Meta:
        # For a room's last lines, whatever the other rooms hold.
        indexes = (models.Index(fields=["room", "-id"], name="chat_line_room_latest"),)
        constraints = (
            models.UniqueConstraint(fields=["author", "key"], name="chat_line_said_once"),
        )

    def __str__(self) -> str:
        return f"{self.author}: {self.text[:40]}"
