"""
Play conformance scenarios against a running server.

    python -m tests.conformance.run ws://127.0.0.1:8301/ [FILE_OR_FOLDER ...]

Prints one line per failed scenario and a closing count; exits 1 if any failed.
Needs the ``websockets`` package and nothing else.
"""

# ruff: noqa: T201 - a command: it prints

import argparse
import asyncio
import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

SCENARIOS = Path(__file__).parent / "scenarios"
FRAME_TIMEOUT = 30.0  # seconds to wait for a frame that must come

Scenario = dict[str, Any]
Step = dict[str, Any]


class Mismatch(Exception):
    """The server did something else than the scenario says."""


class Socket(Protocol):
    """
    One client's end: a ``websockets`` connection, or something that behaves like one.

    ``recv`` may be cancelled without losing a frame, and raises
    ``ConnectionClosed`` when the server has closed.
    """

    @property
    def subprotocol(self) -> str | None: ...
    async def send(self, message: str | bytes, /) -> None: ...
    async def recv(self) -> str | bytes: ...
    async def close(self, code: int = 1000, /) -> None: ...


def build(value: Any) -> str:
    """Expand {"repeat": [text, n]} and lists of parts into one string."""
    if isinstance(value, list):
        return "".join(build(part) for part in value)
    if isinstance(value, dict):
        text, times = value["repeat"]
        return str(text) * int(times)
    return str(value)


def check(pattern: Any, value: Any, where: str = "frame") -> None:
    """
    Compare a value with a pattern, key sets included.

    Raises:
        Mismatch: At the first place that differs.
    """
    if isinstance(pattern, list) and pattern and pattern[0] == "$meta":
        check({"timestamp": "$now", "correlationId": pattern[1]}, value, where)
    elif pattern == "$meta":
        check({"timestamp": "$now"}, value, where)
    elif is_token(pattern):
        if not matches_token(pattern, value):
            raise Mismatch(f"{where}: expected {pattern}, got {value!r}")
    elif isinstance(pattern, dict) and "$has" in pattern:
        check_has(pattern["$has"], value, where)
    elif isinstance(pattern, dict):
        if not isinstance(value, dict) or set(pattern) != set(value):
            raise Mismatch(f"{where}: expected keys {sorted(pattern)}, got {value!r}")
        check_has(pattern, value, where)
    elif isinstance(pattern, list):
        if not isinstance(value, list) or len(pattern) != len(value):
            raise Mismatch(f"{where}: expected {pattern!r}, got {value!r}")
        for index, inner in enumerate(pattern):
            check(inner, value[index], f"{where}[{index}]")
    elif type(pattern) is not type(value) or pattern != value:
        raise Mismatch(f"{where}: expected {pattern!r}, got {value!r}")


def check_has(pattern: dict[str, Any], value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise Mismatch(f"{where}: expected an object, got {value!r}")
    for key, inner in pattern.items():
        if key not in value:
            raise Mismatch(f"{where}: no key {key!r} in {value!r}")
        check(inner, value[key], f"{where}.{key}")


def is_token(pattern: Any) -> bool:
    # Message types of the protocol's own start with a dollar too.
    return isinstance(pattern, str) and pattern.startswith("$") and not pattern.startswith("$ws:")


def matches_token(token: str, value: Any) -> bool:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if token.startswith("$re:"):
        return isinstance(value, str) and re.fullmatch(token[4:], value) is not None
    match token:
        case "$any":
            return True
        case "$string":
            return isinstance(value, str) and value != ""
        case "$int":
            return is_int
        case "$now":
            return is_int and abs(value - time.time() * 1000) < 60_000
        case "$uuid":
            return is_uuid(value)
    raise ValueError(f"unknown pattern {token}")


def is_uuid(value: Any) -> bool:
    try:
        uuid.UUID(value)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


async def receive(socket: Socket) -> Any:
    try:
        frame = await asyncio.wait_for(socket.recv(), FRAME_TIMEOUT)
    except TimeoutError:
        raise Mismatch(f"no frame within {FRAME_TIMEOUT} s") from None
    except ConnectionClosed as closed:
        raise Mismatch(f"connection closed: {closed.rcvd}") from None
    if not isinstance(frame, str):
        raise Mismatch("server sent a binary frame")
    return json.loads(frame)


async def receive_set(patterns: list[Any], socket: Socket) -> None:
    left = list(patterns)
    while left:
        frame = await receive(socket)
        for pattern in left:
            try:
                check(pattern, frame)
            except Mismatch:
                continue
            left.remove(pattern)
            break
        else:
            raise Mismatch(f"unexpected frame {frame!r}")


async def receive_nothing(seconds: float, socket: Socket) -> None:
    try:
        frame = await asyncio.wait_for(socket.recv(), seconds)
    except TimeoutError:
        return
    except ConnectionClosed as closed:
        raise Mismatch(f"connection closed: {closed.rcvd}") from None
    raise Mismatch(f"expected silence, got {frame!r}")


async def receive_close(expected: int, socket: Socket) -> None:
    try:
        frame = await asyncio.wait_for(socket.recv(), FRAME_TIMEOUT)
    except TimeoutError:
        raise Mismatch("the server did not close") from None
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else None
        if code != expected:
            raise Mismatch(f"closed with {code}") from None
        return
    raise Mismatch(f"expected a close, got {frame!r}")


async def run_step(step: Step, socket: Socket) -> None:
    match step:
        case {"send": value}:
            await socket.send(json.dumps(value))
        case {"send_text": value}:
            await socket.send(build(value))
        case {"send_hex": value}:
            await socket.send(bytes.fromhex(value))
        case {"expect": pattern}:
            check(pattern, await receive(socket))
        case {"expect_set": patterns}:
            await receive_set(patterns, socket)
        case {"silence": seconds}:
            await receive_nothing(seconds, socket)
        case {"expect_close": code}:
            await receive_close(code, socket)
        case {"close": code}:
            await socket.close(code)
        case {"expect_subprotocol": name}:
            if socket.subprotocol != name:
                raise Mismatch(f"subprotocol {socket.subprotocol!r} selected")
        case {"sleep": seconds}:
            await asyncio.sleep(seconds)
        case _:
            raise ValueError(f"unknown step {step}")


def client_names(scenario: Scenario) -> list[str]:
    names: list[str] = scenario.get("clients", ["a"])
    return names


async def run_steps(scenario: Scenario, sockets: dict[str, Socket]) -> None:
    """Play a scenario's steps with sockets that are connected already, one a client."""
    first = client_names(scenario)[0]
    for number, step in enumerate(scenario["steps"], 1):
        try:
            await run_step(step, sockets[step.get("client", first)])
        except Mismatch as mismatch:
            raise Mismatch(f"step {number} {json.dumps(step)[:120]}: {mismatch}") from None


async def run_scenario(url: str, scenario: Scenario) -> None:
    options = scenario.get("connect", {})
    target = url + options.get("query", "")
    offered = options.get("subprotocols")
    sockets: dict[str, Socket] = {}
    try:
        for name in client_names(scenario):
            sockets[name] = await connect(
                target,
                subprotocols=offered and [Subprotocol(each) for each in offered],
                max_size=None,
                open_timeout=FRAME_TIMEOUT,
                proxy=None,
            )
        await run_steps(scenario, sockets)
    finally:
        for socket in sockets.values():
            await socket.close()


def load(paths: Iterable[Path]) -> Iterator[tuple[str, Scenario]]:
    """Yield each scenario under its file's name and its own."""
    for path in paths:
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            for scenario in json.loads(file.read_text()):
                yield f"{file.stem}: {scenario['name']}", scenario


async def main(url: str, paths: list[Path]) -> int:
    passed = failed = 0
    for name, scenario in load(paths):
        try:
            await run_scenario(url, scenario)
        except Exception as error:
            failed += 1
            print(f"FAIL {name}\n     {type(error).__name__}: {error}")
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("paths", nargs="*", type=Path)
    options = parser.parse_args()
    raise SystemExit(asyncio.run(main(options.url, options.paths or [SCENARIOS])))
