"""
A probe for a terminal: prints the frames of a connection, and sends lines.

    python -m wskit_channels.client ws://localhost:8000/ws/ --token T

A line is a frame as JSON, or ``TYPE {json payload}``, or ``TYPE`` alone. Everything after
the last line, at end of input, is printed until the server has been quiet for ``--wait``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TextIO

from wskit_channels.client.auth import Auth
from wskit_channels.client.client import Client
from wskit_channels.client.errors import ConnectFailed, ConnectionClosed
from wskit_channels.protocol import wire

__all__ = ["frame_of", "main"]


def frame_of(line: str, *, now: float) -> str:
    """
    The frame that a line stands for.

    Raises:
        ValueError: With a sentence for whoever typed it.
    """
    if line.startswith("{"):
        return line
    type_, _, rest = line.partition(" ")
    payload = rest.strip() or None
    if payload is not None:
        try:
            wire.parse(payload)
        except (ValueError, RecursionError):
            raise ValueError(
                "not sent: a line is a frame as JSON, or TYPE, or TYPE {json payload}"
            ) from None
    return wire.frame(wire.prefix(type_), now, "", payload)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the probe; 0 at the end of input, 1 where the connection ended first, 130 on Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        client = Client(
            options.url,
            auth=Auth(options.token, options.token_by) if options.token else None,
            headers=dict(options.header),
            origin=options.origin,
            subprotocols=options.subprotocol,
            reconnect=options.reconnect,
        )
        return asyncio.run(_probe(client, options.wait, sys.stdin))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wskit_channels.client",
        description="Print the frames of a connection, and send lines: a frame as JSON, "
        "TYPE, or TYPE {json payload}.",
    )
    parser.add_argument("url", help="ws:// or wss://")
    parser.add_argument("--token", help="sent with the handshake")
    ways: list[Literal["header", "query", "subprotocol"]] = ["header", "query", "subprotocol"]
    parser.add_argument("--token-by", choices=ways, default="header", help="how the token travels")
    parser.add_argument("--header", action="append", type=_header, default=[], metavar="NAME:VALUE")
    parser.add_argument("--origin", help="the Origin header")
    parser.add_argument("--subprotocol", action="append", default=[])
    parser.add_argument("--reconnect", action="store_true", help="come back when it is lost")
    parser.add_argument(
        "--wait",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="at end of input, listen until the server is quiet for so long (default 1)",
    )
    return parser


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:VALUE")
    return name.strip(), value.strip()


async def _probe(client: Client, wait: float, source: TextIO) -> int:
    heard = asyncio.Event()

    @client.on_frame
    def show(direction: Literal["in", "out"], text: str) -> None:
        _print("<" if direction == "in" else ">", text)
        heard.set()

    client.on_state(lambda state: _print("-", state))
    client.on_error(lambda error: None)  # its frame is printed as it came
    try:
        await client.connect()
    except (ConnectFailed, ConnectionClosed) as error:
        _print("!", str(error))
        return 1
    ended = asyncio.create_task(client.wait_closed())
    typed = asyncio.create_task(_send_lines(client, source))
    await asyncio.wait({ended, typed}, return_when=asyncio.FIRST_COMPLETED)
    typed.cancel()
    while not ended.done():
        heard.clear()
        hearing = asyncio.create_task(heard.wait())
        await asyncio.wait({ended, hearing}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        hearing.cancel()
        if not heard.is_set():
            break
    lost = client.closed_by
    await client.close()
    await ended
    if lost is None:
        return 0
    _print("!", str(lost))
    return 1


async def _send_lines(client: Client, source: TextIO) -> None:
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def put(line: str | None) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    # A daemon: a read from a terminal cannot be cancelled, and must not keep us from ending.
    threading.Thread(target=_read, args=(source, put), daemon=True).start()
    while (line := await lines.get()) is not None:
        if not line.strip():
            continue
        try:
            text = frame_of(line.strip(), now=time.time())
        except ValueError as error:
            _print("!", str(error))
        else:
            client.send_frame(text)
            await client.drain()


def _read(source: Iterable[str], put: Callable[[str | None], None]) -> None:
    try:
        for line in source:
            put(line)
        put(None)
    except RuntimeError:
        return  # the loop has gone, and with it whoever would want the line


def _print(mark: str, text: str) -> None:
    print(f"{mark} {text}", flush=True)  # noqa: T201 - a terminal program
