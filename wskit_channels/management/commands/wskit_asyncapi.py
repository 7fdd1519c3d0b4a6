"""
``manage.py wskit_asyncapi``: a router's contract as an AsyncAPI 3.0 document.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from wskit_channels.api_info import api_info
from wskit_channels.codegen.asyncapi import ApiInfo, asyncapi_text
from wskit_channels.codegen.compare import Change, NotComparable, compare
from wskit_channels.codegen.contract import Contract
from wskit_channels.discovery import FoundRouter
from wskit_channels.management.contracts import ContractCommand

__all__ = ["Command"]


class Command(ContractCommand):
    help = "Writes an AsyncAPI 3.0 document of a router, and finds changes that break clients."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--title", default=ApiInfo().title, help="Default: %(default)s.")
        parser.add_argument(
            "--api-version",
            default=ApiInfo().version,
            metavar="X.Y.Z",
            help="Default: %(default)s.",
        )
        parser.add_argument(
            "--against",
            type=Path,
            metavar="FILE",
            help="Write nothing; list the changes since this earlier document, and fail if "
            "one breaks its clients.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["against"] and (options["out"] or options["check"]):
            raise CommandError("--against goes with neither --out nor --check: run it by itself.")
        super().handle(*args, **options)

    def render(self, contract: Contract, found: FoundRouter, options: dict[str, Any]) -> str:
        info = api_info(found, title=options["title"], version=options["api_version"])
        return asyncapi_text(contract, info)

    def give(self, text: str, options: dict[str, Any]) -> None:
        earlier: Path | None = options["against"]
        if earlier is None:
            super().give(text, options)
            return
        changes = self._changes(self.read(earlier), text, earlier)
        breaking = sum(not change.compatible for change in changes)
        if breaking:
            raise CommandError(f"{breaking} of {len(changes)} changes break clients of {earlier}.")
        self.stdout.write(f"Nothing breaks clients of {earlier}.")

    def report(self, present: str, text: str, path: Path) -> None:
        self._changes(present, text, path)

    def _changes(self, old: str, new: str, path: Path) -> list[Change]:
        """All changes, each printed."""
        try:
            changes = compare(json.loads(old), json.loads(new))
        except (NotComparable, ValueError) as error:
            raise CommandError(f"{path} cannot be compared with: {error}") from error
        for change in changes:
            line = str(change)
            self.stdout.write(line if change.compatible else self.style.ERROR(line))
        return changes
