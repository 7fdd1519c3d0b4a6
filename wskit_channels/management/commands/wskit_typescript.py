"""
``manage.py wskit_typescript``: a router's messages as TypeScript, with a typed client.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from wskit_channels.codegen.contract import Contract
from wskit_channels.codegen.typescript import typescript
from wskit_channels.discovery import FoundRouter
from wskit_channels.management.contracts import ContractCommand

__all__ = ["Command"]


class Command(ContractCommand):
    help = "Writes the types of a router's messages and errors, and a typed wsClient()."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--client",
            default="./client.js",
            metavar="MODULE",
            help="What the file imports the client from (default: %(default)s).",
        )

    def render(self, contract: Contract, found: FoundRouter, options: dict[str, Any]) -> str:
        return typescript(contract, client=options["client"])
