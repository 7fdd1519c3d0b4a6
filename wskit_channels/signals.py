"""
What Django's own signals tell about who may stay connected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.contrib.sessions.backends.signed_cookies import SessionStore as SignedCookies
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from wskit_channels.auth import (
    adisconnect_session,
    adisconnect_user,
    disconnect_session,
    disconnect_user,
)
from wskit_channels.control import give, give_here
from wskit_channels.identity import digest

__all__ = ["connect"]

TELLING = frozenset({"password", "is_active"})
"""Fields of a user whose change may end their connections; ``save(update_fields=)`` names them."""


def connect() -> None:
    """Listen to the user model, its proxies, and to logging out."""
    user_logged_in.connect(_logged_in, dispatch_uid="wskit_channels.logged_in")
    user_logged_out.connect(_logged_out, dispatch_uid="wskit_channels.logged_out")
    if apps.is_installed("django.contrib.sessions"):
        from django.contrib.sessions.base_session import AbstractBaseSession

        for model in apps.get_models():
            if issubclass(model, AbstractBaseSession):
                uid = f"wskit_channels.session_saved.{model._meta.label}"
                post_save.connect(_session_saved, sender=model, dispatch_uid=uid)
    user_model = get_user_model()
    for model in apps.get_models():
        if issubclass(model, user_model):
            name = model._meta.label
            post_save.connect(_saved, sender=model, dispatch_uid=f"wskit_channels.saved.{name}")
            post_delete.connect(
                _deleted, sender=model, dispatch_uid=f"wskit_channels.deleted.{name}"
            )


def _logged_out(*, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    """
    Close what the session has opened, once it is gone.

    The signal comes before Django flushes the session: who was cut off now would come
    back with it. So the flush itself is waited for.
    """
    session = getattr(request, "session", None)
    key = getattr(session, "session_key", None)
    if session is None or not key:
        return
    flush, aflush = session.flush, getattr(session, "aflush", None)
    # A signed cookie is another with every save: the sockets of older ones are found by the user.
    by_user = isinstance(session, SignedCookies) and getattr(user, "pk", None) is not None

    def flush_and_tell() -> None:
        flush()
        _on_commit(lambda: disconnect_user(user) if by_user else disconnect_session(key))

    async def aflush_and_tell() -> None:
        assert aflush is not None  # noqa: S101 - only put in its place
        await aflush()
        await (adisconnect_user(user) if by_user else adisconnect_session(key))

    session.flush = flush_and_tell
    if aflush is not None:
        session.aflush = aflush_and_tell


def _saved(
    *,
    instance: Any,
    created: bool,
    using: str,
    update_fields: frozenset[str] | None = None,
    **kwargs: Any,
) -> None:
    if created:
        return
    if update_fields is not None and not update_fields & TELLING:
        _on_commit(give_here, using)
        return
    _on_commit(lambda: give(check=[str(instance.pk)]), using)


def _session_saved(*, instance: Any, using: str, **kwargs: Any) -> None:
    _on_commit(lambda: give_here(saved=digest(instance.session_key)), using)


def _logged_in(*, request: Any = None, **kwargs: Any) -> None:
    """
    Close what the browser's former session has opened for somebody.

    Django ends that session without a word where another user logs in over it.
    """
    former = getattr(request, "COOKIES", {}).get(settings.SESSION_COOKIE_NAME)
    present = getattr(getattr(request, "session", None), "session_key", None)
    if former and former != present:
        _on_commit(lambda: give(session=digest(former), named=True))


def _deleted(*, instance: Any, using: str, **kwargs: Any) -> None:
    key = instance.pk  # Django takes it from the instance afterwards
    _on_commit(lambda: disconnect_user(key), using)


def _on_commit(tell: Callable[[], None], using: str | None = None) -> None:
    try:
        transaction.on_commit(tell, using=using, robust=True)
    except SynchronousOnlyOperation:  # in async code, where Django has no transactions
        tell()
