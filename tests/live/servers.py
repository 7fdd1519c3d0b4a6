"""
Server processes for the tests that need a real one.

A process is started with its output in a file, waited for until it accepts
connections, and stopped by its own id.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0

PATIENT = ["--websocket_connect_timeout", "60"]
"""For daphne, which gives a handshake up after 5 s: a machine that is busy may take longer."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server process on loopback."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    """Everything the process has printed."""

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"


_given: set[int] = set()


def free_port() -> int:
    """
    A port that is free, and that nobody else of this test run is given.

    Its server binds it a while later: until then another worker must not find it free, too.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
        # Halved, since a system may give out odd numbers only.
        if port // 2 % workers == worker % workers and port not in _given:
            _given.add(port)
            return port


@contextmanager
def daphne(application: str, log: Path) -> Iterator[Server]:
    """Serve ``module:name`` under daphne."""
    port = free_port()
    argv = ["-m", "daphne", *PATIENT, "-b", "127.0.0.1", "-p", str(port), application]
    with python(argv, port=port, log=log) as server:
        yield server


@contextmanager
def uvicorn(application: str, log: Path) -> Iterator[Server]:
    """Serve ``module:name`` under uvicorn."""
    port = free_port()
    argv = ["-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), application]
    with python(argv, port=port, log=log) as server:
        yield server


SERVERS = {"daphne": daphne, "uvicorn": uvicorn}


@contextmanager
def python(argv: Sequence[str], *, port: int, log: Path, cwd: Path = ROOT) -> Iterator[Server]:
    """
    Run ``python ARGV``, which serves ``port``, for as long as the block runs.

    Raises:
        RuntimeError: If the process ends, or accepts nothing within 60 s; with its output.
    """
    # Not the settings module of the pytest run: these processes bring their own.
    env = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    env |= {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *argv],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Server(process=process, port=port, log=log)
        _wait_until_accepting(server)
        yield server
    finally:
        _stop(process)


def _wait_until_accepting(server: Server) -> None:
    give_up = time.monotonic() + START_TIMEOUT
    while True:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended at once:\n{server.log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            if time.monotonic() > give_up:
                raise RuntimeError(f"the server never came up:\n{server.log.read_text()}") from None
            time.sleep(0.05)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
