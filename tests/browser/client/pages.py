"""
A page with nothing in it but the JavaScript client, and the server it talks to.

The server is a process that can be stopped and started again at the same address. What
runs of ``client.js`` is recorded for all pages of the session: see ``coverage.py`` here.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.browser.client.coverage import Recorder
from tests.live.servers import Server, free_port, python

WATCHED = """
globalThis.states = [];
globalThis.infos = [];
globalThis.errors = [];
globalThis.make = (options) => {
    const client = wskit.wsClient({ url: "/ws/", ...options });
    client.onState((state, info) => { states.push(state); infos.push(info); });
    client.onError((error, { type }) => errors.push([type, error.message]));
    return (globalThis.client = client);
};
globalThis.told = (error) => [error.name, error.message];
"""
"""``make(options)`` makes ``client``, whose states and errors are kept."""


class ClientServer:
    """``python -m tests.clients.server``, which can be stopped and started again."""

    def __init__(self, log: Path, server: str = "daphne") -> None:
        self._log = log
        self._name = server
        self._stack = ExitStack()
        self.port = free_port()
        self.running: Server | None = None

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self) -> None:
        argv = ["-m", "tests.clients.server", "--port", str(self.port), "--server", self._name]
        server = python(argv, port=self.port, log=self._log)
        self.running = self._stack.enter_context(server)

    def stop(self) -> None:
        self._stack.close()
        self.running = None

    def crash(self) -> None:
        """Stop it as it is, even while it stands still."""
        assert self.running is not None
        self.running.process.kill()
        self.stop()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """For as long as the block runs, the process does nothing, and keeps its sockets."""
        assert self.running is not None
        process = self.running.process
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # the signal takes effect a little later
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)  # unless it has ended

    def __enter__(self) -> "ClientServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Tab:
    """A page that keeps what its sockets sent and received, and what it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sent: list[str] = []
        self.received: list[str] = []
        self.urls: list[str] = []
        """The address of each socket, in the order of their making."""
        page.on("websocket", self._watch)

    def _watch(self, socket: Any) -> None:
        self.urls.append(socket.url)
        socket.on("framesent", lambda payload: self.sent.append(payload))
        socket.on("framereceived", lambda payload: self.received.append(payload))

    def run(self, script: str, argument: Any = None) -> Any:
        """Run a function's body in the page, and return what it does; ``arg`` is the argument."""
        return self.page.evaluate(f"async (arg) => {{ {script} }}", argument)

    def until(self, condition: str) -> None:
        """Wait until an expression of the page is true."""
        self.page.wait_for_function(condition, timeout=60_000)

    def hold_time(self) -> None:
        """From now on the page's time goes on only by ``pass_time``, and by ``let_time_go``."""
        self.page.clock.install(time=0)
        self.page.clock.pause_at(1000)

    def pass_time(self, milliseconds: int) -> None:
        self.page.clock.run_for(milliseconds)

    def let_time_go(self) -> None:
        self.page.clock.resume()

    def wait_for_pongs(self, count: int) -> None:
        """Wait until the server has answered so many of the client's pings."""
        give_up = time.monotonic() + 60
        while sum(json.loads(text)["type"] == "$ws:pong" for text in self.received) < count:
            assert time.monotonic() < give_up, self.received
            self.page.wait_for_timeout(10)


@contextmanager
def tab(context: BrowserContext, address: str, recorder: Recorder) -> Iterator[Tab]:
    """Open the client's page in a tab of its own, and record what runs there."""
    page = context.new_page()
    with recorder.recording(page):
        made = Tab(page)
        page.goto(address)
        page.wait_for_function("window.ready === true")
        yield made
    page.close()
