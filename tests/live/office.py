"""
A process that serves no sockets, has no event loop, and does things to users: a
management command or a worker.

It reads lines of JSON, ``[what, *arguments]``, and answers each with a line: the result
and the time at which it began. ``Office`` starts one and talks to it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.live.servers import ROOT


class Office:
    """
    A running office, whose database is made when it opens.

    The environment names the database and the layer, as for ``tests.live.members``.
    """

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> Self:
        env = {key: one for key, one in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                cwd=ROOT,
                env=env | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        self.order("migrate")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=60)

    def order(self, what: str, *arguments: str) -> tuple[Any, float]:
        """The result, and when it began, in seconds since the epoch."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, *arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the office has closed:\n{self._log.read_text()}")
        result, began = json.loads(answer)
        return result, began

    def member(self, name: str) -> str:
        """Make a user and log them in; the session's key."""
        key: str = self.order("member", name)[0]
        return key


def orders() -> dict[str, Callable[..., Any]]:
    """What can be ordered, by name; each takes strings."""
    from django.contrib.auth import login, logout
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command
    from django.http import HttpRequest

    from wskit_channels.auth import disconnect, disconnect_session, disconnect_user

    def request_of(key: str | None) -> HttpRequest:
        request = HttpRequest()
        request.session = SessionStore(key)
        return request

    def member(name: str) -> str:
        request = request_of(None)
        login(request, User.objects.create_user(name, password="before"))
        request.session.save()
        return str(request.session.session_key)

    def new_password(name: str) -> None:
        user = User.objects.get(username=name)
        user.set_password("after")
        user.save()

    def deactivate(name: str) -> None:
        user = User.objects.get(username=name)
        user.is_active = False
        user.save()

    return {
        "migrate": lambda: call_command("migrate", verbosity=0),
        "member": member,
        "log out": lambda name, key: logout(request_of(key)),
        "new password": lambda name, key: new_password(name),
        "deactivate": lambda name, key: deactivate(name),
        "delete": lambda name, key: User.objects.get(username=name).delete(),
        "disconnect_user": lambda name, key: disconnect_user(User.objects.get(username=name)),
        "disconnect_session": lambda name, key: disconnect_session(key),
        "disconnect": disconnect,
    }


def main() -> None:
    import tests.live.members  # noqa: F401 - configures Django

    known = orders()
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        began = time.time()
        result = known[what](*arguments)
        if not isinstance(result, str):
            result = None
        print(json.dumps([result, began]), flush=True)  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
