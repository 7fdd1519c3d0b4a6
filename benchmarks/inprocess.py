"""
Microseconds a message without sockets: applications called as a server calls them.

Run in a process of its own, ``python -m benchmarks.inprocess SECONDS ROUNDS``; prints
JSON. One loop serves all cases, in turns.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from benchmarks.harness import Client, Echoes, open_clients
from benchmarks.network import in_turns
from benchmarks.peers import CALL, CHANNELS, MSGSPEC, OURS, PEERS, PYDANTIC

__all__ = ["CASES", "Case", "prepared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One application and what is said to it."""

    name: str
    module: str
    path: str = "/echo/"
    frame: str
    join: str = ""
    subscribers: int = 0
    """0: an echo. Otherwise a publish to so many."""

    attribute: str = "application"
    validates: bool = False
    """Only what the module's validator does for the message and its answer."""


def _echo(name: str) -> Case:
    peer = PEERS[name]
    return Case(name=name, module=peer.module, path=peer.path, frame=peer.echo)


def _publish(name: str, subscribers: int) -> Case:
    peer = PEERS[name]
    # A room of its own: all cases share one process.
    room = f'"room":"lobby-{subscribers}"'
    return Case(
        name=f"{name}, publish to {subscribers}",
        module=peer.module,
        path=peer.room_path,
        frame=peer.shout.replace('"room":"lobby"', room),
        join=peer.join.replace('"room":"lobby"', room),
        subscribers=subscribers,
    )


_OURS = PEERS[OURS].module
CASES: dict[str, Case] = {
    case.name: case
    for case in (
        _echo("bare"),
        _echo(CHANNELS),
        _echo("channels-json"),
        _echo("chanx"),
        _echo(OURS),
        Case(name="call", module=_OURS, frame=CALL),
        Case(name="layered", module=_OURS, path="/layered/", frame=PEERS[OURS].echo),
        Case(name="msgspec", module="wskit_msgspec", frame=PEERS[OURS].echo),
        Case(name=PYDANTIC, module=_OURS, frame=PEERS[OURS].echo, validates=True),
        Case(name=MSGSPEC, module="wskit_msgspec", frame=PEERS[OURS].echo, validates=True),
        _publish(CHANNELS, 100),
        _publish(OURS, 100),
        _publish(OURS, 5000),
    )
}


class Prepared:
    """A case with its connections open."""

    def __init__(self, case: Case, clients: list[Client]) -> None:
        self.case = case
        self.clients = clients
        listeners = clients[1:] if case.subscribers else clients
        self.echoes = Echoes(case.frame, clients, listeners=listeners)
        self.deliveries = max(case.subscribers, 1)

    async def microseconds(self, seconds: float) -> float:
        """Time of one message, or of one delivery of a publish."""
        await self.echoes.run(2 if self.case.subscribers else 50)
        begun, messages, batch = time.perf_counter(), 0, 1 if self.case.subscribers else 100
        elapsed = 0.0
        while not messages or elapsed < seconds:
            await self.echoes.run(batch)
            messages += batch
            elapsed = time.perf_counter() - begun
        return elapsed / messages / self.deliveries * 1e6

    async def close(self) -> None:
        await asyncio.gather(*(client.leave() for client in self.clients))


class Validation:
    """A frame received, its answer built and encoded, without a connection or an event loop."""

    deliveries = 1

    def __init__(self, case: Case, module: Any) -> None:
        from wskit_channels.protocol.calls import CallTable
        from wskit_channels.protocol.connection import Connection
        from wskit_channels.protocol.limits import DEFAULTS
        from wskit_channels.protocol.validation import schema_of
        from wskit_channels.routing.publishing import encode

        self.case = case
        route: Any = SimpleNamespace(schema=schema_of(module.Say), is_call=False)
        self._receive = Connection(
            {"SAY": route}, DEFAULTS, CallTable(1, 30.0), client_id="", new_id=str
        ).receive
        self._answer = module.Said
        self._encode = encode

    def exchange(self) -> str:
        received: Any = self._receive(self.case.frame, now=0.0, wall=0.0)
        said = received.payload
        return self._encode(self._answer(room=said.room, text=said.text))

    async def microseconds(self, seconds: float) -> float:
        """Time of one message and its answer."""
        begun, messages, elapsed = time.perf_counter(), 0, 0.0
        while not messages or elapsed < seconds:
            for _ in range(100):
                self.exchange()
            messages += 100
            elapsed = time.perf_counter() - begun
        return elapsed / messages * 1e6

    async def close(self) -> None:
        """Nothing is open."""


async def prepared(case: Case) -> Prepared:
    """
    Open a case's connections and have its subscribers join.

    Raises:
        ImportError: If what its module needs is missing.
    """
    module = imported(case)
    application = getattr(module, case.attribute)
    clients = await open_clients(application, case.path, case.subscribers + 1)
    for client in clients[1:]:
        await client.ask(case.join)
    return Prepared(case, clients)


def imported(case: Case) -> Any:
    return importlib.import_module(f"benchmarks.peers.{case.module}")


async def measure(cases: Sequence[Case], seconds: float, rounds: int) -> dict[str, Any]:
    """Microseconds by case and round, and why cases are missing."""
    times: dict[str, list[float]] = {}
    problems: list[str] = []
    ready: list[Prepared | Validation] = []
    for case in cases:
        try:
            if case.validates:
                ready.append(Validation(case, imported(case)))
            else:
                ready.append(await prepared(case))
        except ImportError as error:
            problems.append(f"in-process {case.name}: {error}")
    for _, one in in_turns(ready, rounds):
        times.setdefault(one.case.name, []).append(await one.microseconds(seconds))
    for one in ready:
        await one.close()
    return {"microseconds": times, "problems": problems}


def main() -> None:
    seconds, rounds = float(sys.argv[1]), int(sys.argv[2])
    print(json.dumps(asyncio.run(measure(list(CASES.values()), seconds, rounds))))


if __name__ == "__main__":
    main()
