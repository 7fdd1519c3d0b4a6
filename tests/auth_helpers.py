"""What the tests of sessions and users share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest


def request_of(session_key: str, user: User) -> HttpRequest:
    """The request of a view, with what middleware puts there."""
    request = HttpRequest()
    request.session = SessionStore(session_key)
    request.user = user
    return request


@contextmanager
def count_queries() -> Iterator[list[str]]:
    """Note the SQL of every query, whichever thread makes it."""
    queries: list[str] = []
    execute = CursorWrapper.execute

    def noted(self: Any, sql: str, params: Any = None) -> Any:
        if not sql.startswith(("PRAGMA", "BEGIN", "SAVEPOINT", "RELEASE")):
            queries.append(sql)
        return execute(self, sql, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", noted)
        yield queries
