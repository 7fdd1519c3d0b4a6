"""
``manage.py wskit_routes``: the routes of the routers that a project serves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from wskit_channels import discovery
from wskit_channels.discovery import FoundRouter
from wskit_channels.routing.table import RouteInfo

__all__ = ["Command"]

COLUMNS = ("TYPE", "KIND", "MESSAGE", "HANDLER", "WHERE", "MIDDLEWARE")


class Command(BaseCommand):
    help = "Lists the message types that are served, with their handlers and middleware."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--router",
            metavar="DOTTED.PATH",
            help="A router, a consumer, an ASGI application or a list of URL patterns, in "
            "place of what ASGI_APPLICATION serves.",
        )
        parser.add_argument("--json", action="store_true", help="Print JSON, for programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = discovery.routers(options["router"])
        except discovery.RouterNotFound as error:
            hint = "" if options["router"] else " See --router."
            raise CommandError(f"{error}{hint}") from error
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(one) for one in found], indent=2))
            return
        for number, one in enumerate(found):
            if number:
                self.stdout.write("")
            for line in _as_text(one):
                self.stdout.write(line)


def _as_json(found: FoundRouter) -> dict[str, Any]:
    return {
        "path": found.path,
        "consumer": None if found.consumer is None else _dotted(found.consumer),
        "routes": [
            {
                "type": route.type,
                "kind": route.kind,
                "message": _dotted(route.message),
                "handler": route.handler,
                "module": route.module,
                "line": route.line,
                "middleware": list(route.middleware),
            }
            for route in found.router.routes()
        ],
    }


def _as_text(found: FoundRouter) -> Iterator[str]:
    routes = found.router.routes()
    count = f"{len(routes)} route{'' if len(routes) == 1 else 's'}"
    yield f"{found.path or '(no path)'}  {count}"
    if not routes:
        return
    rows = [COLUMNS, *(_row(route) for route in routes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def _row(route: RouteInfo) -> tuple[str, ...]:
    where = route.module if route.line is None else f"{route.module}:{route.line}"
    # The handler's module stands beside it, and middleware is told by its name.
    handler = route.handler.removeprefix(f"{route.module}.")
    middleware = ", ".join(route.middleware) or "-"
    return (route.type, route.kind, _dotted(route.message), handler, where, middleware)


def _dotted(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
