"""
Plays client scenarios with the Python client; ``README.md`` says what the steps mean.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.clients import router as contract
from wskit_channels import Message, Rpc, message
from wskit_channels.client import (
    Auth,
    Client,
    ConnectionClosed,
    Reconnect,
    ServerError,
    StateError,
)
from wskit_channels.client.call import Call
from wskit_channels.protocol.messages import DynamicRpc, response_of, type_of

PATIENCE = 10.0
ANY = "$any"
Step = dict[str, Any]

SCENARIOS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "scenarios.json").read_text(encoding="utf-8")
)
CLASSES: dict[str, type[Message]] = {
    type_: found
    for found in vars(contract).values()
    if isinstance(found, type)
    and issubclass(found, Message)
    and (type_ := type_of(found)) is not None
}
REPLIES: dict[str, type[Message]] = {
    type_: response_of(found) for type_, found in CLASSES.items() if issubclass(found, Rpc)
} | {"ECHO": contract.Echoed}


def matches(expected: Any, found: Any) -> bool:
    """Whether a value is the expected one, where ``$any`` stands for any."""
    if expected == ANY:
        return found is not None
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(
            matches(each, found[key]) for key, each in expected.items()
        )
    return bool(expected == found)


def body(type_: str, found: Any) -> Step:
    """A message as the scenarios write it."""
    payload = found.model_dump(mode="json", by_alias=True)
    return {"type": type_, "payload": payload} if payload else {"type": type_}


def error_of(error: BaseException) -> Step:
    """An outcome as the scenarios write it."""
    if isinstance(error, ServerError):
        return {"kind": "server"} | error_body(error)
    if isinstance(error, TimeoutError):
        return {"kind": "timeout"}
    if isinstance(error, ConnectionClosed):
        return {"kind": "closed", "code": error.code}
    if isinstance(error, StateError):
        return {"kind": "state"}
    if isinstance(error, asyncio.CancelledError):
        return {"kind": "aborted"}
    raise error


def error_body(error: ServerError) -> Step:
    found: Step = {"code": error.code, "message": error.message, "retryable": error.retryable}
    if error.details:
        found["details"] = dict(error.details)
    if error.retry_after is not None:
        found["retryAfterMs"] = round(error.retry_after * 1000)
    return found


class Player:
    """One client, and everything that it hands to handlers."""

    def __init__(self, url: str, given: Step, events: set[str]) -> None:
        self.events: asyncio.Queue[Step] = asyncio.Queue()
        self.calls: dict[str, asyncio.Task[Any]] = {}
        self.progress: dict[str, list[Any]] = {}
        self._turn = asyncio.Event()
        self.client = Client(url, **options_of(given))
        self.client.on_state(lambda state: self._turn.set())
        self.client.on_error(self._on_error)
        for type_ in sorted(events & CLASSES.keys()):
            self.client.on(CLASSES[type_])(self._collector(type_))

    async def connect(self, step: Step) -> None:
        if "error" not in step:
            await self.client.connect()
            return
        (found,) = await asyncio.gather(self.client.connect(), return_exceptions=True)
        assert found is not None, "connecting did not fail"
        assert matches(step["error"], error_of(found)), found

    async def send(self, step: Step) -> None:
        fields = dict.fromkeys(step.get("payload", {}), Any)
        sent = self.client.send(message(step["type"], fields)(**step.get("payload", {})))
        assert sent is step.get("returns", True)

    async def request(self, step: Step) -> None:
        name = step.get("call") or f"unnamed {len(self.calls)}"
        self.progress[name] = []
        self.calls[name] = asyncio.create_task(self._request(step, self.progress[name]))
        await asyncio.sleep(0)  # until it is queued
        if "call" not in step:
            await self.outcome({**step, "call": name})

    async def outcome(self, step: Step) -> None:
        task = self.calls.pop(step["call"])
        await asyncio.wait({task})
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        found = error_of(error) if error is not None else task.result()
        if step.get("error", {}).get("kind") == "closed" and "code" not in step["error"]:
            found.pop("code", None)
        assert matches(step["error"] if "error" in step else step["reply"], found), found
        if "progress" in step:
            assert self.progress[step["call"]] == step["progress"]

    async def progress_step(self, step: Step) -> None:
        first = step["first"]
        while len(self.progress[step["call"]]) < len(first):
            self._turn.clear()
            await self._turn.wait()
        assert self.progress[step["call"]][: len(first)] == first

    async def abort(self, step: Step) -> None:
        self.calls[step["call"]].cancel()
        await asyncio.sleep(0)

    async def event(self, step: Step) -> None:
        expected = {"type": step["type"]}
        if "payload" in step:
            expected["payload"] = step["payload"]
        found = await self.events.get()
        assert matches(expected, found), found

    async def silence(self, step: Step) -> None:
        if self.client.is_connected:
            await self.client.request(contract.Ping())
        await asyncio.sleep(0)  # for the handlers of what came before
        assert self.events.empty(), self.events.get_nowait()

    async def state(self, step: Step) -> None:
        while self.client.state != step["is"] or (
            "code" in step and self.client.close_code != step["code"]
        ):
            self._turn.clear()
            await self._turn.wait()

    async def protocol(self, step: Step) -> None:
        assert self.client.protocol == step["is"]

    async def close(self, step: Step) -> None:
        await self.client.close()

    async def end(self) -> None:
        await self.client.close(drain=False)
        for task in self.calls.values():
            task.cancel()
        await asyncio.gather(*self.calls.values(), return_exceptions=True)

    async def _request(self, step: Step, progress: list[Any]) -> Step:
        response = REPLIES.get(step["type"], contract.Pong)
        call = self._call(step, response)
        async for value in call:
            progress.append(value)
            self._turn.set()
        return body(type_of(response) or "", await call)

    def _call(self, step: Step, response: type[Message]) -> Call[Any, Any]:
        payload = step.get("payload", {})
        request = request_class(step["type"], payload, response)(**payload)
        timeout = step.get("timeoutMs", 30_000) / 1000
        return self.client.call(
            request, timeout=timeout, idempotency_key=step.get("idempotencyKey")
        )

    def _collector(self, type_: str) -> Callable[[Any], None]:
        return lambda found: self.events.put_nowait(body(type_, found))

    def _on_error(self, error: Exception) -> None:
        if not isinstance(error, ServerError):
            raise error
        self.events.put_nowait({"type": "ERROR", "payload": error_body(error)})


def request_class(type_: str, payload: Step, response: type[Message]) -> type[DynamicRpc]:
    """A request whose fields are not checked here: the server is to see what is wrong."""
    fields: dict[str, Any] = {"__annotations__": dict.fromkeys(payload, Any)}
    keywords = {"type": type_, "response": response}
    made = types.new_class("Asked", (DynamicRpc,), keywords, lambda body: body.update(fields))
    assert issubclass(made, DynamicRpc)
    return made


def options_of(given: Step) -> Any:
    """The Python names and units of a client's options."""
    reconnect = given.get("reconnect", {})
    made: dict[str, Any] = {
        "subprotocols": given.get("protocols", []),
        "reconnect": Reconnect(
            enabled=reconnect.get("enabled", True),
            max_attempts=reconnect.get("maxAttempts"),
            initial_delay=reconnect.get("initialDelayMs", 20) / 1000,
            max_delay=reconnect.get("maxDelayMs", 200) / 1000,
            jitter=reconnect.get("jitter", "full"),
        ),
    }
    if tokens := given.get("tokens"):
        turns: Iterator[str] = itertools.chain(tokens, itertools.repeat(tokens[-1]))
        by: Any = "subprotocol" if given.get("attach") == "protocol" else "query"
        made["auth"] = Auth(lambda: next(turns), by=by)
    for theirs, ours in [
        ("queue", "queue"),
        ("queueSize", "queue_size"),
        ("pendingRequestsLimit", "pending_requests_limit"),
    ]:
        if theirs in given:
            made[ours] = given[theirs]
    if "resendWindowMs" in given:
        made["resend_window"] = given["resendWindowMs"] / 1000
    return made


async def play(scenario: dict[str, Any], url: str) -> None:
    """Play one scenario; an AssertionError says which step was not as it should be."""
    scenario = json.loads(json.dumps(scenario).replace("$key", uuid4().hex))
    players: dict[str, Player] = {}
    events = {step["type"] for step in scenario["steps"] if step["do"] == "event"}
    try:
        for number, step in enumerate(scenario["steps"]):
            name = step.get("client", "a")
            if name not in players:
                players[name] = Player(url, scenario.get("clients", {}).get(name, {}), events)
            act = "progress_step" if step["do"] == "progress" else step["do"]
            try:
                async with asyncio.timeout(PATIENCE):
                    await getattr(players[name], act)(step)
            except BaseException as error:
                error.add_note(f"step {number}: {step}")
                raise
    finally:
        for player in players.values():
            await player.end()
