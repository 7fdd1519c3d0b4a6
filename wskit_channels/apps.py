"""
The Django app: plugs Django into routing when the project is set up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.apps import AppConfig, apps
from django.core.exceptions import (
    ObjectDoesNotExist,
    PermissionDenied,
    ValidationError,
)
from django.http import Http404

from wskit_channels.protocol.errors import Refused, WsKitError
from wskit_channels.protocol.validation import MAX_ISSUES
from wskit_channels.routing import shell
from wskit_channels.routing.functions import observe
from wskit_channels.routing.publishing import Publication, prepare
from wskit_channels.routing.results import PublishResult
from wskit_channels.routing.router import Router

__all__ = ["WsKitChannelsConfig"]


class DjangoShell:
    """Django, as routing needs it. Channels is imported when it is first used."""

    def as_asgi(self, router: Router[Any], options: Mapping[str, Any]) -> Callable[..., Any]:
        from wskit_channels.consumer import WsKitConsumer

        application: Callable[..., Any] = WsKitConsumer.as_asgi(router=router, **options)
        return application

    async def apublish(
        self, router: Router[Any], topic: Any, message: Any, meta: Mapping[str, Any] | None
    ) -> PublishResult:
        from wskit_channels import publish

        publication = _prepare(router, topic, message, meta)
        result = await publish.adeliver(publication, router.namespace, router.channel_layer)
        if (hooks := router.hooks.on_publish) and not isinstance(publication, PublishResult):
            await observe(hooks, message, publication[0])
        return result

    def publish(
        self, router: Router[Any], topic: Any, message: Any, meta: Mapping[str, Any] | None
    ) -> PublishResult:
        from wskit_channels import publish

        publication = _prepare(router, topic, message, meta)
        result = publish.deliver(publication, router.namespace, router.channel_layer)
        if (hooks := router.hooks.on_publish) and not isinstance(publication, PublishResult):
            publish.run_anywhere(observe(hooks, message, publication[0]))
        return result

    def publish_on_commit(
        self,
        router: Router[Any],
        topic: Any,
        message: Any,
        meta: Mapping[str, Any] | None,
        using: str | None,
    ) -> None:
        from wskit_channels import publish

        publish.on_commit(lambda: self.publish(router, topic, message, meta), using)

    def as_error(self, error: Exception) -> WsKitError | None:
        """Django's own exceptions, as Django answers them over HTTP."""
        if isinstance(error, Http404 | ObjectDoesNotExist):
            return WsKitError("NOT_FOUND")
        if isinstance(error, PermissionDenied):
            return WsKitError("PERMISSION_DENIED")
        if isinstance(error, ValidationError):
            return Refused("INVALID_ARGUMENT", own={"issues": _issues(error)})
        return None


def _prepare(
    router: Router[Any], topic: Any, message: Any, meta: Mapping[str, Any] | None
) -> Publication | PublishResult:
    from wskit_channels.conf import get_settings

    return prepare(
        topic,
        message,
        meta,
        limits=router.limits.resolved(get_settings().limits),
        validator=router.validator,
        normalize=router.policy.normalized,
    )


def _issues(error: ValidationError) -> list[dict[str, Any]]:
    """A Django validation error as issues; its messages are the application's own."""
    by_field = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    issues = [
        {"path": ["payload", field] if field else [], "message": str(text), "type": "invalid"}
        for field, texts in by_field.items()
        for text in texts
    ]
    return issues[:MAX_ISSUES]


class WsKitChannelsConfig(AppConfig):
    name = "wskit_channels"
    verbose_name = "WebSockets"

    def ready(self) -> None:
        from wskit_channels import checks, redaction

        checks.register()
        redaction.install()
        shell.install(DjangoShell())
        if apps.is_installed("django.contrib.auth"):
            from wskit_channels import signals

            signals.connect()
