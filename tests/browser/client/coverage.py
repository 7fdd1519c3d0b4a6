"""
What part of ``client.js`` has run, by the browser's own account.

Chromium's profiler reports, for each function, nested ranges with counts: the innermost
range that holds a character says whether it ran. Ranges of several pages are put
together; comments and blank lines do not count.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

NAME = "wskit_channels/client.js"
SOURCE = Path(__file__).parents[3] / "wskit_channels" / "static" / NAME

Ran = list[bool]


def characters_run(functions: list[dict[str, Any]], length: int) -> Ran:
    """Whether each character ran, by one page's report."""
    ran = [False] * length
    ranges = [one for function in functions for one in function["ranges"]]
    # A range within another is told later and overrules it.
    for one in sorted(ranges, key=lambda it: (it["startOffset"], -it["endOffset"])):
        start, end = one["startOffset"], min(one["endOffset"], length)
        ran[start:end] = [one["count"] > 0] * (end - start)
    return ran


def lines_of_code(source: str) -> dict[int, tuple[int, int]]:
    """By number: from where to where each line goes that holds more than a comment."""
    without = re.sub(r"/\*.*?\*/", lambda it: re.sub(r"[^\n]", " ", it[0]), source, flags=re.DOTALL)
    found, start = {}, 0
    for number, line in enumerate(without.split("\n"), 1):
        code = re.sub(r"(^|\s)//.*", "", line)
        if code.strip(" {}();,[]"):
            first = start + len(code) - len(code.lstrip())
            found[number] = (first, start + len(code.rstrip()))
        start += len(line) + 1
    return found


class Recorder:
    """Gathers the reports of all pages."""

    def __init__(self) -> None:
        self.source = SOURCE.read_text()
        self._ran: Ran = [False] * len(self.source)

    @contextmanager
    def recording(self, page: Page) -> Iterator[None]:
        session = page.context.new_cdp_session(page)
        session.send("Profiler.enable")
        session.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": True})
        yield
        for script in session.send("Profiler.takePreciseCoverage")["result"]:
            if script["url"].endswith(NAME):
                self.add(script["functions"])
        session.detach()

    def add(self, functions: list[dict[str, Any]]) -> None:
        ran = characters_run(functions, len(self.source))
        self._ran = [one or other for one, other in zip(self._ran, ran, strict=True)]

    def missing(self) -> list[int]:
        """Numbers of the lines of code of which some part never ran."""
        lines = lines_of_code(self.source)
        return [number for number, (start, end) in lines.items() if not all(self._ran[start:end])]

    def share(self) -> float:
        """The part of the lines of code that ran whole."""
        return 1 - len(self.missing()) / len(lines_of_code(self.source))
