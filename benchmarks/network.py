"""
The benchmarks over real sockets, against real server processes.

Each takes its turns round by round: in a round every peer is measured once, and the one
that begins moves on, so that a machine that drifts drifts for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, TypeVar

from benchmarks.load import Job
from benchmarks.peers import BURST, CALL, CHANNELS, OURS, PEERS, Peer
from benchmarks.processes import (
    Environment,
    JobFailed,
    Server,
    hold,
    let_go,
    result_of,
    run_job,
    run_module,
    serve,
    stand,
)
from benchmarks.records import Cell, Records

__all__ = ["NETWORK", "Plan", "Run"]

T = TypeVar("T")
Steps = list[list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    seconds: float = 1.0
    """Measured in each cell, after a warm-up."""

    rounds: int = 5
    load: float = 0.0
    """The machine's load average before the run: others' work, which spoils figures."""

    quick: bool = False
    """Fewer sizes and peers: to see that all works, and roughly where things stand."""

    @property
    def few(self) -> int:
        """Rounds of cells that no floor hangs on."""
        return max(1, self.rounds * 3 // 5)


@dataclass(slots=True)
class Run:
    """A run under way."""

    plan: Plan
    environment: Environment
    records: Records
    say: Callable[[str], None]

    def job(self, cell: Cell, peer: str, turn: int, work: Callable[[], dict[str, Any]]) -> None:
        """Measure one peer in one cell; what fails is noted, and the run goes on."""
        where = f"{cell.bench} {cell.server} {cell.layer} {cell.size} {peer}".replace("  ", " ")
        try:
            values = work()
        except (JobFailed, RuntimeError, OSError) as error:
            self.records.problems.append(f"{where}, round {turn}: {error}")
            self.say(f"{where}: {error}")
            return
        self.records.add(cell, peer, turn, values)
        shown = ("rate", "p99", "milliseconds", "lost", "kilobytes", "microseconds")
        figures = [f"{name} {values[name]:,.4g}" for name in shown if name in values]
        self.say(f"{where}: {', '.join(figures)}")


def in_turns(items: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Every item once a round; each round begins with another."""
    for turn in range(rounds):
        shift = turn % len(items)
        for item in [*items[shift:], *items[:shift]]:
            yield turn, item


def greeting(peer: Peer) -> Steps:
    return [list(step) for step in peer.greeting]


def echo_job(run: Run, peer: Peer, size: int) -> Job:
    return Job(
        "echo",
        path=peer.path,
        greeting=greeting(peer),
        frame=peer.echo,
        connections=size,
        seconds=run.plan.seconds,
    )


def ceiling(run: Run) -> None:
    """What the load generator can do, beside the fastest server that it has to drive."""
    with stand(run.environment) as up:
        bare = PEERS["bare"]
        rivals = {
            "reflector": up.server("reflector", ""),
            **{name: up.server(name, bare.application) for name in ("daphne", "uvicorn", "uvloop")},
        }
        for turn, name in in_turns(list(rivals), run.plan.few):
            job = echo_job(run, bare, 50)
            cell = Cell("ceiling", size=50)
            run.job(cell, name, turn, partial(run_job, job, rivals[name]))


def echo(run: Run) -> None:
    """One message in, one out: every peer under every server."""
    servers = ("daphne", "uvicorn") if run.plan.quick else ("daphne", "uvicorn", "uvloop")
    for server in servers:
        sizes = (50,) if run.plan.quick or server == "uvloop" else (50, 1, 500)
        peers = [peer for peer in PEERS.values() if server in peer.servers]
        with stand(run.environment) as up:
            running = {peer.name: up.server(server, peer.application) for peer in peers}
            for size in sizes:
                rounds = run.plan.rounds if size == 50 else run.plan.few
                for turn, peer in in_turns(peers, rounds):
                    job = echo_job(run, peer, size)
                    target = running[peer.name]
                    cell = Cell("echo", server, size=size)
                    run.job(cell, peer.name, turn, partial(run_job, job, target))


VARIANTS = {
    "event": ("/echo/", PEERS[OURS].echo),
    "call": ("/echo/", CALL),
    "layered": ("/layered/", PEERS[OURS].echo),
}
"""Of this library, by path and frame: all in one server process."""


def variants(run: Run) -> None:
    """A call against an event, and five middlewares and three hooks against none."""
    for server in ("uvicorn",) if run.plan.quick else ("daphne", "uvicorn"):
        with serve(run.environment, server, PEERS[OURS].application) as target:
            for turn, name in in_turns(list(VARIANTS), run.plan.rounds):
                path, frame = VARIANTS[name]
                job = Job("echo", path=path, frame=frame, connections=50, seconds=run.plan.seconds)
                cell = Cell("variants", server, size=50)
                run.job(cell, name, turn, partial(run_job, job, target))


# -- topics


SPARE_FILES = 100
"""Open files of a process beside its sockets."""


def fanout(run: Run) -> None:
    """One publish to many subscribers of one process."""
    sizes = [100, 1000] if run.plan.quick else [100, 1000, 5000]
    while sizes[-1] + SPARE_FILES > run.environment.files:
        problem = f"fanout {sizes.pop()}: a process may open {run.environment.files} files only"
        run.records.problems.append(problem)
    for server in ("uvicorn", "daphne"):
        _fanout(run, server, "memory", sizes)
    if run.environment.redis and not run.plan.quick:
        _fanout(run, "uvicorn", "redis", (100, 1000))


def _fanout(run: Run, server: str, layer: str, sizes: Sequence[int]) -> None:
    peers = [peer for peer in PEERS.values() if peer.join and server in peer.servers]
    with stand(run.environment) as up:
        running = {peer.name: up.server(server, peer.application, layer) for peer in peers}
        for turn in range(run.plan.few):
            for size in sizes:
                # At 5,000 the others need seconds for each publish: once must do for them.
                taking_part = [
                    peer for peer in peers if size < 5000 or not turn or peer.name == OURS
                ]
                for _, peer in in_turns(taking_part, 1):
                    target = running[peer.name]
                    cell = Cell("fanout", server, layer, size)
                    job = _room_job(run, "fanout", peer, size)
                    run.job(cell, peer.name, turn, partial(fanout_values, job, target))


def _room_job(run: Run, kind: str, peer: Peer, size: int) -> Job:
    return Job(
        kind,
        path=peer.room_path,
        greeting=greeting(peer),
        join=peer.join,
        frame=peer.shout,
        connections=size,
        seconds=run.plan.seconds,
    )


def fanout_values(job: Job, server: Server) -> dict[str, Any]:
    """Median milliseconds until the last subscriber had a publish, and per delivery."""
    result = run_job(job, server)
    if not result["samples"]:
        raise JobFailed(f"of one publish to {job.connections} sockets, {result['lost']} were lost")
    milliseconds = median(result["samples"]) * 1000
    return {
        "milliseconds": milliseconds,
        "microseconds_each": milliseconds * 1000 / job.connections,
        "publishes": len(result["samples"]),
        "lost": result["lost"],
        "generator_cpu": result["generator_cpu"],
        **{name: result[name] for name in ("cpu_microseconds",) if name in result},
    }


BURST_SOCKETS = 100

QUICK_BURSTS = (("redis", False, (OURS,)), ("redis", True, (OURS,)))
BURSTS = (
    ("redis", False, (CHANNELS, "socketio", OURS)),
    ("redis", True, (CHANNELS, "socketio", OURS)),
    ("redis-pubsub", False, (CHANNELS, OURS)),
    ("redis-pubsub", True, (CHANNELS, OURS)),
    ("redis-default", True, (CHANNELS,)),
)
"""Over Redis: a layer, whether another process publishes, and who takes part."""


def burst(run: Run) -> None:
    """500 publishes to 100 sockets, as fast as they can be made: how many messages are lost."""
    peers = [peer for peer in PEERS.values() if peer.burst]
    for peer in peers:
        _burst(run, peer, "memory", elsewhere=False)
    if not run.environment.redis:
        run.records.problems.append("burst: no Valkey, so that only the in-memory layer was used")
        return
    for layer, elsewhere, names in QUICK_BURSTS if run.plan.quick else BURSTS:
        for name in names:
            _burst(run, PEERS[name], layer, elsewhere=elsewhere)


def _burst(run: Run, peer: Peer, layer: str, *, elsewhere: bool) -> None:
    bench = "burst from another process" if elsewhere else "burst"
    cell = Cell(bench, "uvicorn", layer, BURST_SOCKETS)
    job = Job(
        "burst",
        path=peer.room_path,
        greeting=greeting(peer),
        join=peer.join,
        frame="" if elsewhere else peer.burst,
        connections=BURST_SOCKETS,
        expected=BURST,
    )

    def measure() -> dict[str, Any]:
        with serve(run.environment, "uvicorn", peer.application, layer) as server:
            if not elsewhere:
                return run_job(job, server)
            with hold(job, server) as generator:
                arguments = ("benchmarks.publisher", peer.module, str(BURST))
                run_module(run.environment, layer, *arguments)
                return result_of(generator)

    run.job(cell, peer.name, 0, measure)


# -- connections


def connects(run: Run) -> None:
    """Handshakes a second with session and user loaded from sqlite."""
    cookie = run_module(run.environment, "memory", "benchmarks.project")
    for server in ("uvicorn",) if run.plan.quick else ("daphne", "uvicorn"):
        peers = [PEERS[CHANNELS], PEERS[OURS]]
        with stand(run.environment) as up:
            running = {peer.name: up.server(server, peer.application) for peer in peers}
            for turn, peer in in_turns(peers, run.plan.rounds):
                target = running[peer.name]
                origin = f"http://127.0.0.1:{target.port}"
                job = Job(
                    "connects",
                    path="/auth/",
                    headers=[["Cookie", cookie], ["Origin", origin]],
                    frame=peer.echo,
                    connections=20,
                    seconds=run.plan.seconds,
                )
                cell = Cell("connects", server, size=20)
                run.job(cell, peer.name, turn, partial(run_job, job, target))


def memory(run: Run) -> None:
    """Resident memory that one idle connection takes, in a process of its own each time."""
    size = 500 if run.plan.quick else 1000
    names = (CHANNELS, OURS) if run.plan.quick else ("bare", CHANNELS, "chanx", OURS)
    for server in ("uvicorn",) if run.plan.quick else ("daphne", "uvicorn"):
        for turn, name in in_turns(names, run.plan.few):
            cell = Cell("memory", server, size=size)
            run.job(cell, name, turn, partial(idle_memory, run, server, PEERS[name], size))


def idle_memory(run: Run, server: str, peer: Peer, size: int) -> dict[str, Any]:
    """
    Kilobytes a connection, above a server that has seen some and let them go.

    Raises:
        JobFailed: Where the system does not tell.
    """
    with serve(run.environment, server, peer.application) as target:
        for count in (50, size):
            job = Job("idle", path=peer.path, greeting=greeting(peer), connections=count)
            before = target.resident_bytes()
            with hold(job, target) as generator:
                time.sleep(0.3)  # what the last handshakes leave to be done is done then
                after = target.resident_bytes()
                let_go(generator)
        if before is None or after is None:
            raise JobFailed("this system has no /proc to read resident memory from")
        return {"kilobytes": (after - before) / 1024 / size}


NETWORK: dict[str, Callable[[Run], None]] = {
    "ceiling": ceiling,
    "echo": echo,
    "variants": variants,
    "fanout": fanout,
    "burst": burst,
    "connects": connects,
    "memory": memory,
}
