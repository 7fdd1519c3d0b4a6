"""
The load generator's jobs; a process of its own, which reads one and prints what it measured.

A job is a line of JSON on standard input, by ``Job``. Some kinds print ``{"ready": true}``
once all is connected; the last line printed is the result, or an error.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.frames import CLOSE, masked
from benchmarks.load import PATIENCE, Connection, Failed, Job, Load, Stopwatch
from benchmarks.stats import percentile

QUIET = 1.5
"""Seconds without a frame after which a burst is over."""


def echo(load: Load) -> dict[str, Any]:
    """Each connection sends its next message when its last is answered."""
    job = load.job
    frame = masked(job.frame.encode())
    connections = load.connect(job.connections)
    latencies: list[float] = []
    clock = time.perf_counter
    for connection in connections:
        connection.on_data = _echoer(connection, frame, latencies, clock)
    warm_up_ends = clock() + min(0.2, job.seconds / 4)
    for connection in connections:
        connection.sent_at = clock()
        connection.send(frame)
    load.until(lambda: clock() >= warm_up_ends)
    latencies.clear()
    watch = Stopwatch(job.server_pid)
    end = clock() + job.seconds
    while clock() < end:
        load.turn(0.1)
    elapsed, shares = watch.elapsed, watch.shares(len(latencies))
    if len(load.open) < job.connections:
        raise Failed(f"{job.connections - len(load.open)} connections were lost")
    return {
        "messages": len(latencies),
        "rate": len(latencies) / elapsed,
        "p50": percentile(latencies, 0.50),
        "p99": percentile(latencies, 0.99),
        **shares,
    }


def _echoer(
    connection: Connection, frame: bytes, latencies: list[float], clock: Callable[[], float]
) -> Callable[[bytes], None]:
    reader, send, record = connection.reader, connection.send, latencies.append

    def on_data(data: bytes) -> None:
        # Nearly always one short text frame: told by its first two bytes.
        if data[0] != 0x81 or len(data) - 2 != data[1] or data[1] > 125:
            messages = reader.count(data)
            if reader.pings:
                connection.answer_pings()
            if not messages:
                return
        now = clock()
        record(now - connection.sent_at)
        connection.sent_at = now
        send(frame)

    return on_data


def fanout(load: Load) -> dict[str, Any]:
    """One client publishes; how long until the last of the subscribers has it, again and again."""
    job = load.job
    subscribers = load.connect(job.connections)
    load.ask_all(subscribers, job.join)
    publisher = load.connect(1)[0]
    counter = Counter()
    for connection in subscribers:
        connection.on_data = counter.of(connection)
    frame, clock = masked(job.frame.encode()), time.perf_counter
    samples: list[float] = []
    lost = 0
    watch = Stopwatch(job.server_pid)
    while len(samples) < 3 or (watch.elapsed < job.seconds and len(samples) < 1000):
        counter.messages = 0
        start = clock()
        publisher.send(frame)
        if not load.until(lambda: counter.messages >= job.connections, 30.0):
            lost += job.connections - counter.messages
            break
        samples.append(counter.last - start)
        if watch.elapsed > 5 * job.seconds + 10:
            break
    shares = watch.shares(len(samples) * job.connections)
    return {"samples": samples, "lost": lost, **shares}


class Counter:
    """Counts messages of many connections, and keeps when the last came."""

    def __init__(self) -> None:
        self.messages = 0
        self.last = 0.0

    def of(self, connection: Connection) -> Callable[[bytes], None]:
        reader = connection.reader

        def on_data(data: bytes) -> None:
            self.messages += reader.count(data)
            self.last = time.perf_counter()
            if reader.pings:
                connection.answer_pings()

        return on_data


def burst(load: Load) -> dict[str, Any]:
    """
    Count what a burst of publishes leaves.

    The publisher is a client if there is a frame to send, else somebody else, who waits
    for our readiness.
    """
    job = load.job
    subscribers = load.connect(job.connections)
    load.ask_all(subscribers, job.join)
    counter = Counter()
    for connection in subscribers:
        connection.on_data = counter.of(connection)
    expected = job.expected * job.connections
    start = counter.last = time.perf_counter()
    if job.frame:
        load.connect(1)[0].send(masked(job.frame.encode()))
    else:
        say({"ready": True})
    load.until(lambda: counter.messages > 0)

    def over() -> bool:
        quiet = time.perf_counter() - counter.last > QUIET
        return counter.messages >= expected or quiet

    load.until(over, 10 * PATIENCE)
    return {
        "expected": expected,
        "received": counter.messages,
        "lost": expected - counter.messages,
        "seconds": counter.last - start,
        "connections_lost": job.connections - sum(one in load.open for one in subscribers),
    }


def connects(load: Load) -> dict[str, Any]:
    """Open and leave, with ``connections`` handshakes under way at a time."""
    job = load.job
    proof = load.connect(1)
    if job.frame:
        load.ask_all(proof, job.frame)  # somebody who is not logged in gets no answer
    goodbye = masked((1000).to_bytes(2), CLOSE)
    made = 0

    def opened(connection: Connection) -> Callable[[bytes], None]:
        def on_data(data: bytes) -> None:
            nonlocal made
            if not data.startswith(b"HTTP/1.1 101"):
                raise Failed(f"the handshake was answered with {data[:80]!r}")
            made += 1
            connection.send(goodbye)
            load.forget(connection)
            start_another()

        return on_data

    def start_another() -> None:
        connection = load.start()
        connection.on_data = opened(connection)

    watch = Stopwatch(job.server_pid)
    for _ in range(job.connections):
        start_another()
    load.until(lambda: watch.elapsed >= job.seconds)
    return {"connects": made, "rate": made / watch.elapsed, **watch.shares(made)}


def idle(load: Load) -> dict[str, Any]:
    """Hold connections open between a "ready" and the next line of input."""
    load.connect(load.job.connections)
    say({"ready": True})
    sys.stdin.readline()
    # The answers to pings that came meanwhile would be late by now.
    return {"held": len(load.open)}


KINDS: dict[str, Callable[[Load], dict[str, Any]]] = {
    "echo": echo,
    "fanout": fanout,
    "burst": burst,
    "connects": connects,
    "idle": idle,
}


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def raise_file_limit() -> int:
    """Allow as many open sockets as the system lets us; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main() -> None:
    raise_file_limit()
    load = Load(Job(**json.loads(sys.stdin.readline())))
    try:
        result = KINDS[load.job.kind](load)
    except (Failed, OSError) as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    load.close()
    say(result)


if __name__ == "__main__":
    main()
