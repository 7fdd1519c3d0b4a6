"""
What the documentation page is told: the contract of each router, and where it is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.urls import get_script_prefix

from wskit_channels import discovery
from wskit_channels.codegen.asyncapi import ApiInfo, Credentials, asyncapi_text
from wskit_channels.codegen.contract import contract_of
from wskit_channels.codegen.frames import CONTROL_FRAMES, OWN_SCHEMAS
from wskit_channels.codegen.schemas import ContractError
from wskit_channels.conf import get_settings
from wskit_channels.discovery import FoundRouter

__all__ = ["asyncapi_of", "description", "routers"]

PARAMETER = re.compile(r"<(?:(?P<converter>[^:<>]+):)?(?P<name>\w+)>")
NAMED_GROUP = re.compile(r"\(\?P<(?P<name>\w+)>[^()]*\)")
OF_REGEX = frozenset(r"^$()[]?*+|\ ")
"""What is left of a regular expression that this module cannot write as a template."""


def description() -> dict[str, Any]:
    """All that the page shows, as JSON; ``problem`` says why where something is missing."""
    given = get_settings()
    made: dict[str, Any] = {
        "problem": "",
        "routers": [],
        "control": [asdict(frame) for frame in CONTROL_FRAMES],
        "definitions": OWN_SCHEMAS,
        "token": {
            "parameter": given.token_parameter,
            "prefix": given.token_subprotocol_prefix,
        },
    }
    try:
        made["routers"] = [_router(served) for served in routers()]
    except discovery.RouterNotFound as error:
        made["problem"] = str(error)
    return made


def routers() -> list[list[FoundRouter]]:
    """
    The served routers in order, each with every path at which it is found.

    Raises:
        RouterNotFound: If none is served.
    """
    found: dict[int, list[FoundRouter]] = {}
    for one in discovery.routers():
        found.setdefault(id(one.router), []).append(one)
    return list(found.values())


def asyncapi_of(found: FoundRouter) -> str:
    """
    The AsyncAPI document of one router.

    Raises:
        ContractError: If a message of it has no JSON Schema.
    """
    given = get_settings()
    info = ApiInfo(
        path=_template(found.path) or f"/{found.path}",
        credentials=Credentials(
            session_cookie=settings.SESSION_COOKIE_NAME if found.authenticates else None,
            token_parameter=given.token_parameter,
            token_subprotocol_prefix=given.token_subprotocol_prefix,
        ),
    )
    return asyncapi_text(contract_of(found.router), info)


def _router(served: Iterable[FoundRouter]) -> dict[str, Any]:
    served = list(served)
    router = served[0].router
    made: dict[str, Any] = {"paths": [_path(one) for one in served], "problem": ""}
    try:
        made.update(asdict(contract_of(router)))
    except ContractError as error:
        made["problem"] = str(error)
        return made
    sources = {
        one.type: one.module if one.line is None else f"{one.module}:{one.line}"
        for one in router.routes()
    }
    for route in made["routes"]:
        route["source"] = sources[route["message"]["type"]]
    return made


def _path(found: FoundRouter) -> dict[str, Any]:
    """
    Where a router is served, for people and for building an address.

    ``template`` has its parameters in braces; None for a regular expression that has none.
    """
    of_paths = NAMED_GROUP.sub("", found.path)
    converters = {one["name"]: one["converter"] or "str" for one in PARAMETER.finditer(of_paths)}
    template = _template(found.path)
    names = re.findall(r"{(\w+)}", template or "")
    return {
        "pattern": found.path,
        "template": template,
        "prefix": get_script_prefix(),
        "parameters": [{"name": name, "kind": converters.get(name, "regex")} for name in names],
        "session": found.authenticates,
    }


def _template(pattern: str) -> str | None:
    template = NAMED_GROUP.sub(r"{\g<name>}", pattern)
    template = PARAMETER.sub(r"{\g<name>}", template)
    if pattern != template or "^" in pattern or "$" in pattern:
        template = template.replace(r"\Z", "").replace("^", "").replace("$", "")
        template = re.sub(r"\\([./-])", r"\1", template)
    return None if OF_REGEX & set(template) else f"{get_script_prefix()}{template}"
