"""Run the chat on this machine, with two users and some rooms, ready to try."""

import asyncio
import os
import socket
from argparse import ArgumentParser
from typing import Any

from channels.routing import get_default_application
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from example_project.chat import demo


class Command(BaseCommand):
    help = "Run the demo chat: migrates, makes two users and some rooms, and serves with daphne."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Default: 127.0.0.1.")
        parser.add_argument("--port", type=int, default=8000, help="Default: 8000. 0: any.")
        parser.add_argument(
            "--check-free",
            action="store_true",
            help="Only say whether the port is free; an error if it is not.",
        )

    def handle(self, *args: Any, host: str, port: int, check_free: bool, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The demo's users have a known password: it runs in DEBUG only.")
        port = find_free_port(host, port)
        if check_free:
            self.stdout.write(f"{host}:{port} is free.")
            return
        call_command("migrate", interactive=False, verbosity=0)
        demo.make_data()
        self.stdout.write(welcome(f"http://{f'[{host}]' if ':' in host else host}:{port}/"))
        self.stdout.flush()
        serve(host, port)
        self.stdout.write("\nStopped.")


def find_free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0. Raises CommandError if it cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        if os.name == "posix":  # as daphne will
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise CommandError(
                f"Cannot listen on {host}:{port} ({error.args[-1]}). "
                "If another server runs there, stop it or choose another --port."
            ) from None
        free: int = probe.getsockname()[1]
        return free


def welcome(address: str) -> str:
    alice, bob = demo.USERNAMES
    return f"""
The chat is at {address}

  1. Open it and sign in as {alice} (password: {demo.PASSWORD}).
  2. Open it once more in a private window, or another browser, and sign in
     as {bob} (password: {demo.PASSWORD}). Two windows of one browser share a session.
  3. Enter the same room in both and talk. A click on a name tells who that is.
  4. Enter the Archive, whose history is long, and export it.

Ctrl-C stops it."""


def serve(host: str, port: int) -> None:
    """Run daphne until Ctrl-C."""
    try:
        # daphne has no types.
        from daphne.endpoints import (  # type: ignore[import-untyped]
            build_endpoint_description_strings,
        )
        from daphne.server import Server, twisted_loop  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise CommandError("The demo needs daphne: pip install 'wskit-channels[demo]'.") from None

    endpoints = build_endpoint_description_strings(host=host, port=port)
    Server(application=get_default_application(), endpoints=endpoints).run()
    finish(twisted_loop)


def finish(loop: asyncio.AbstractEventLoop) -> None:
    """
    End what still runs in a stopped loop.

    One idle connection of a browser is enough for daphne 4.2 to stop without ending
    its applications; Python may crash when it finds them at exit.
    """
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=10))
