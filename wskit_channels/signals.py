"""
What Django's own signals tell about who may stay connected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from wskit_channels.auth import adisconnect_session, disconnect_session, disconnect_user
from wskit_channels.control import give

__all__ = ["connect"]

TELLING = frozenset({"password", "is_active"})
"""Fields of a user whose change may end their connections; ``save(update_fields=)`` names them."""


def connect() -> None:
    """Listen to the user model, its proxies, and to logging out."""
    user_logged_out.connect(_logged_out, dispatch_uid="wskit_channels.logged_out")
    user_model = get_user_model()
    for model in apps.get_models():
        if issubclass(model, user_model):
            name = model._meta.label
            post_save.connect(_saved, sender=model, dispatch_uid=f"wskit_channels.saved.{name}")
            post_delete.connect(
                _deleted, sender=model, dispatch_uid=f"wskit_channels.deleted.{name}"
            )


def _logged_out(*, request: Any = None, **kwargs: Any) -> None:
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

    def flush_and_tell() -> None:
        flush()
        _on_commit(lambda: disconnect_session(key))

    async def aflush_and_tell() -> None:
        assert aflush is not None  # noqa: S101 - only put in its place
        await aflush()
        await adisconnect_session(key)

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
    if created or (update_fields is not None and not update_fields & TELLING):
        return
    _on_commit(lambda: give(check=[str(instance.pk)]), using)


def _deleted(*, instance: Any, using: str, **kwargs: Any) -> None:
    key = instance.pk  # Django takes it from the instance afterwards
    _on_commit(lambda: disconnect_user(key), using)


def _on_commit(tell: Callable[[], None], using: str | None = None) -> None:
    try:
        transaction.on_commit(tell, using=using, robust=True)
    except SynchronousOnlyOperation:  # in async code, where Django has no transactions
        tell()
