"""The watch over every frame of a test run sees what a ws-kit client would drop."""

import json
from typing import Any

import pytest

from tests.frame_watch import FrameWatch, problem_of
from tests.shell_helpers import Ping, connect, disconnect
from wskit_channels import Context, Router, Rpc, RpcContext


class Ask(Rpc[Ping], type="ASK"):
    pass


def frame(**changes: Any) -> str:
    """A frame that is right, but for the changes; None takes a key out."""
    whole = {"type": "PONG", "meta": {"timestamp": 1}, "payload": {"n": 1}} | changes
    return json.dumps({key: value for key, value in whole.items() if value is not ...})


ERROR = {"code": "INTERNAL", "message": "Internal error"}
WRONG = {
    "another root key": frame(data=1),
    "no type": frame(type=...),
    "no meta": frame(meta=...),
    "payload before meta": '{"type":"PONG","payload":{},"meta":{"timestamp":1}}',
    "payload null": frame(payload=None),
    "payload a list": frame(payload=[]),
    "no timestamp": frame(meta={"correlationId": "a"}),
    "timestamp a float": frame(meta={"timestamp": 1.5}),
    "another meta key": frame(meta={"timestamp": 1, "trace": "x"}),
    "the server's own key": frame(meta={"timestamp": 1, "clientId": "x"}),
    "id last": frame(meta={"timestamp": 1, "known": 1, "correlationId": "a"}),
    "id blank": frame(meta={"timestamp": 1, "correlationId": " "}),
    "id of a call": frame(meta={"timestamp": 1, "correlationId": "open"}),
    "error without code": frame(type="ERROR", payload={"message": "x"}),
    "error with more": frame(type="ERROR", payload={**ERROR, "retry_after": 1}),
    "error without payload": frame(type="ERROR", payload=...),
    "call's error without id": frame(type="RPC_ERROR", payload=ERROR),
}
RIGHT = [
    frame(),
    frame(payload=...),
    frame(meta={"timestamp": 1, "correlationId": "a", "known": 1}),
    frame(type="ERROR", payload=ERROR),
    frame(type="RPC_ERROR", meta={"timestamp": 1, "correlationId": "a"}, payload=ERROR),
    '{"type":"$ws:rpc-progress","meta":{"timestamp":1,"correlationId":"open"},"data":1}',
    '{"type":"__heartbeat_ack","meta":{"ts":1}}',
]


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_a_client_would_drop_is_seen(text: str) -> None:
    assert problem_of(text, {"known"}, {"open"}) is not None


@pytest.mark.parametrize("text", RIGHT)
def test_what_a_client_takes_is_let_pass(text: str) -> None:
    assert problem_of(text, {"known"}, {"open"}) is None


async def test_every_frame_of_a_connection_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What handlers send, what is published, errors, and answers; with the ids of open calls."""
    seen: list[tuple[str, list[str]]] = []

    def look_at(watch: FrameWatch, text: str, open_ids: Any = ()) -> None:
        seen.append((json.loads(text)["type"], [id_ for id_ in ("a", "b") if id_ in open_ids]))

    monkeypatch.setattr(FrameWatch, "look_at", look_at)
    router: Router[Any] = Router()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        await ctx.topics.subscribe("room")
        await ctx.publish("room", Ping())

    @router.rpc(Ask)
    async def ask(ctx: RpcContext[Ask]) -> Ping:
        ctx.send(Ping())
        return Ping()

    client = await connect(router.as_asgi())
    client.write("PING", {"text": "x"})
    await client.receive()
    client.write("ASK", correlationId="a")
    await client.receive()
    await client.receive()
    client.write("NONE")
    await client.receive()
    await disconnect(client)

    assert seen == [("PING", []), ("PING", ["a"]), ("PING", []), ("ERROR", [])]
