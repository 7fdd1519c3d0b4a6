"""
How a router is reached, for its AsyncAPI document: where it is served, and what lets in.
"""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.urls import get_script_prefix

from wskit_channels.codegen.asyncapi import ApiInfo, Credentials
from wskit_channels.conf import get_settings
from wskit_channels.discovery import FoundRouter

__all__ = ["NAMED_GROUP", "PARAMETER", "api_info", "template_of"]

PARAMETER = re.compile(r"<(?:(?P<converter>[^:<>]+):)?(?P<name>\w+)>")
NAMED_GROUP = re.compile(r"\(\?P<(?P<name>\w+)>[^()]*\)")
OF_REGEX = frozenset(r"^$()[]?*+|\ ")
"""What is left of a regular expression that cannot be written as a template."""


def api_info(found: FoundRouter, **more: Any) -> ApiInfo:
    """What a document says of a router beside its contract; ``more`` is its title and the like."""
    given = get_settings()
    # Of a router that was named it is not known how it is served: cookies are the rule.
    is_named = found.consumer is None
    path = None if is_named and not found.path else template_of(found.path) or f"/{found.path}"
    credentials = Credentials(
        session_cookie=settings.SESSION_COOKIE_NAME if found.authenticates or is_named else None,
        token_parameter=given.token_parameter,
        token_subprotocol_prefix=given.token_subprotocol_prefix,
    )
    return ApiInfo(path=path, credentials=credentials, **more)


def template_of(pattern: str) -> str | None:
    """A URL pattern with its parameters in braces; None for too much of a regular expression."""
    template = NAMED_GROUP.sub(r"{\g<name>}", pattern)
    template = PARAMETER.sub(r"{\g<name>}", template)
    if pattern != template or "^" in pattern or "$" in pattern:
        template = template.replace(r"\Z", "").replace("^", "").replace("$", "")
        template = re.sub(r"\\([./-])", r"\1", template)
    return None if OF_REGEX & set(template) else f"{get_script_prefix()}{template}"
