"""
The least a WebSocket echo can cost: answers whatever arrives with one prepared frame.

No server that keeps the protocol is as fast, so that the rate at which the load
generator drives this one is the generator's own ceiling, or near it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import selectors
import socket
import sys
from collections.abc import Callable

from benchmarks.frames import unmasked

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
REPLY = unmasked(b'{"room":"lobby","text":"as long as the frames of the other peers are"}')


def serve(port: int) -> None:
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)

    def accept() -> None:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(client, selectors.EVENT_READ, _opening(client, selector))

    selector.register(listener, selectors.EVENT_READ, accept)
    while True:
        for key, _ in selector.select():
            key.data()


def _opening(client: socket.socket, selector: selectors.BaseSelector) -> Callable[[], None]:
    def upgrade() -> None:
        request = client.recv(65536)
        found = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
        if found is None:
            selector.unregister(client)
            client.close()
            return
        accept = base64.b64encode(hashlib.sha1(found[1] + GUID, usedforsecurity=False).digest())
        client.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        selector.modify(client, selectors.EVENT_READ, reflect)

    def reflect() -> None:
        try:
            data = client.recv(65536)
            if data and data[0] != 0x88:
                client.send(REPLY)
                return
        except OSError:
            pass
        selector.unregister(client)
        client.close()

    return upgrade


if __name__ == "__main__":
    serve(int(sys.argv[1]))
