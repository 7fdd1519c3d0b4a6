"""A room's history as text, read a batch at a time from the latest line backwards."""

from collections.abc import Sequence

from django.conf import settings

from .models import ChatLine

MOST_LINES = 1000
"""No export has more, so that its reply stays a few megabytes at the very most."""


async def count_lines(room: str) -> int:
    return await ChatLine.objects.filter(room=room).acount()


async def read_on(room: str, read: Sequence[ChatLine], *, total: int) -> list[ChatLine]:
    """Return the next lines, latest first; none when there are ``total``, or no more."""
    lines = ChatLine.objects.filter(room=room).select_related("author").order_by("-id")
    if read:
        # By id, not by offset: what is said meanwhile does not shift what is read.
        lines = lines.filter(id__lt=read[-1].pk)
    size = min(settings.CHAT_EXPORT_BATCH, total - len(read))
    return [line async for line in lines[:size]]


def as_text(lines: Sequence[ChatLine]) -> str:
    return "".join(f"{line_of_text(line)}\n" for line in lines)


def line_of_text(line: ChatLine) -> str:
    # Indented, so that nobody can write a line that looks like another's.
    text = "\n    ".join(line.text.splitlines())
    return f"{line.created_at:%Y-%m-%d %H:%M:%S} {line.author.get_username()}: {text}"
