"""
What the commands that write contracts have in common: one router, one file, one check.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from wskit_channels import discovery
from wskit_channels.codegen.contract import Contract, contract_of
from wskit_channels.codegen.schemas import ContractError
from wskit_channels.discovery import FoundRouter

__all__ = ["ContractCommand"]


class ContractCommand(BaseCommand):
    """Prints what ``render`` makes of a router, writes it to a file, or checks that file."""

    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--router",
            metavar="DOTTED.PATH",
            help="A router, a consumer, an ASGI application or a list of URL patterns, in "
            "place of what ASGI_APPLICATION serves.",
        )
        parser.add_argument("--out", type=Path, metavar="FILE", help="Write to this file.")
        parser.add_argument(
            "--check",
            action="store_true",
            help="Write nothing; fail if the file of --out is not what would be written.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"] and options["out"] is None:
            raise CommandError("--check needs --out: the file to look at.")
        found = self._router(options["router"])
        try:
            text = self.render(contract_of(found.router), found, options)
        except ContractError as error:
            raise CommandError(str(error)) from error
        self.give(text, options)

    def render(self, contract: Contract, found: FoundRouter, options: dict[str, Any]) -> str:
        """The file's text."""
        raise NotImplementedError

    def give(self, text: str, options: dict[str, Any]) -> None:
        """Print the text, write it, or check it, as the options say."""
        out: Path | None = options["out"]
        if out is None:
            self.stdout.write(text, ending="")
        elif options["check"]:
            self._check(out, text)
        else:
            self._write(out, text)

    def _check(self, out: Path, text: str) -> None:
        present = self.read(out)
        if present != text:
            self.report(present, text, out)
            raise CommandError(f"{out} is out of date: run the command without --check.")
        self.stdout.write(f"{out} is up to date.")

    def report(self, present: str, text: str, path: Path) -> None:
        """Say more of how a file differs from what it should be."""

    def read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read: {error}") from error

    def _router(self, dotted: str | None) -> FoundRouter:
        try:
            found = discovery.routers(dotted)
        except discovery.RouterNotFound as error:
            hint = "" if dotted else " See --router."
            raise CommandError(f"{error}{hint}") from error
        if len({id(one.router) for one in found}) > 1:
            paths = ", ".join(f"/{one.path}" for one in found)
            raise CommandError(
                f"There are several routers, at {paths}. A file has the contract of one: "
                "choose it by --router."
            )
        return found[0]

    def _write(self, out: Path, text: str) -> None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error}") from error
        self.stdout.write(f"Wrote {out}.")
