"""
What the documentation page is told: the contract of each router, and where it is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.urls import get_script_prefix

from wskit_channels import discovery
from wskit_channels.api_info import NAMED_GROUP, PARAMETER, api_info, template_of
from wskit_channels.codegen.asyncapi import asyncapi_text
from wskit_channels.codegen.contract import contract_of
from wskit_channels.codegen.frames import CONTROL_FRAMES, OWN_SCHEMAS
from wskit_channels.codegen.schemas import ContractError
from wskit_channels.conf import get_settings
from wskit_channels.discovery import FoundRouter

__all__ = ["asyncapi_of", "description", "routers"]


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
    return asyncapi_text(contract_of(found.router), api_info(found))


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
    template = template_of(found.path)
    names = re.findall(r"{(\w+)}", template or "")
    return {
        "pattern": found.path,
        "template": template,
        "prefix": get_script_prefix(),
        "parameters": [{"name": name, "kind": converters.get(name, "regex")} for name in names],
        "session": found.authenticates,
    }
