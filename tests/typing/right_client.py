"""User code with the Python client; no line of it is an error. See ``checkers.py``."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

from tests.typing.right import Export, GetUser, Joined, Leave, Stage, UserResponse
from wskit_channels import rpc
from wskit_channels.client import (
    Auth,
    Call,
    Client,
    ConnectionClosed,
    Heartbeat,
    Reconnect,
    ServerError,
    SyncCall,
    SyncClient,
    UnknownMessage,
)

GetThing = rpc("GET_THING", {"id": str}, "THING", {"name": str})


async def fetch() -> str | None:
    return "token"


client = Client(
    "wss://example.org/ws/",
    auth=fetch,
    messages=[Joined],
    reconnect=Reconnect(max_delay=60),
    heartbeat=Heartbeat(interval=20),
    queue="drop-oldest",
)
Client("ws://h/", auth="token", reconnect=False)
Client("ws://h/", auth=lambda: "token", headers=lambda: {"Cookie": "sessionid=1"})
Client("ws://h/", auth=Auth(fetch, by="query"))


def show(stage: Stage) -> None: ...


async def requests() -> None:
    async with client:
        assert_type(await client.request(GetUser(id="1")), UserResponse)
        assert_type((await client.request(GetUser(id="1"), timeout=None)).name, str)
        assert_type(await client.request(Export(fmt=""), on_progress=show), UserResponse)
        assert_type(await client.request(Export(fmt=""), on_progress=print), UserResponse)
        await client.request(GetThing(id="1"), idempotency_key="k", meta={"trace": "t"})


async def calls() -> None:
    async with client.call(Export(fmt="csv")) as call:
        assert_type(call, Call[UserResponse, Stage])
        async for step in call:
            assert_type(step, Stage)
        assert_type(await call, UserResponse)
    async for anything in client.call(GetUser(id="1")):
        assert_type(anything, Any)
    client.call(GetUser(id="1")).abort()


async def messages() -> None:
    assert_type(client.send(Leave(why="")), bool)
    async for message in client:
        match message:
            case Joined(user_id=user_id):
                assert_type(user_id, str)
            case UnknownMessage(type=type_):
                assert_type(type_, str)
            case _:
                pass
    async with client.listen(Joined, Leave) as both:
        async for one in both:
            assert_type(one, Joined | Leave)
    assert_type(await client.wait_closed(), ConnectionClosed | None)


@client.on(Joined)
async def joined(message: Joined) -> None:
    assert_type(message.user_id, str)


@client.on(Joined)
def joined_plain(message: Joined) -> None: ...


client.off(Joined, joined)


@client.on_error
def failed(error: Exception) -> None:
    if isinstance(error, ServerError):
        assert_type(error.retry_after, float | None)


def script() -> None:
    with SyncClient("ws://h/", auth="token", timeout=5) as sync:
        assert_type(sync.request(GetUser(id="1")), UserResponse)
        call = sync.call(Export(fmt=""))
        assert_type(call, SyncCall[UserResponse, Stage])
        assert_type(list(call), list[Stage])
        assert_type(call.result(), UserResponse)
        sync.on(Joined)(joined_plain)
