"""
Text that a client chose, made fit for a log line.
"""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, limit: int = 128) -> str:
    """
    Text in which nothing breaks a line, moves a cursor or turns what follows around.

    Control and format characters, line separators and lone surrogates become escapes, as
    in a Python literal, and so does the backslash, so that an escape is never the client's
    own. Over ``limit`` characters it is cut, which "..." tells.
    """
    cut = text if len(text) <= limit else text[:limit]
    if not cut.isprintable() or "\\" in cut:
        cut = "".join(
            one if one.isprintable() and one != "\\" else one.encode("unicode_escape").decode()
            for one in cut
        )
    return cut if len(text) <= limit else f"{cut}..."
