"""User code with the Python client in which every line marked by an E must be a type error."""

from __future__ import annotations

from tests.typing.right import Export, GetUser, Join, Joined, Leave
from tests.typing.right_client import client
from wskit_channels.client import Auth, Client, Reconnect, SyncClient

Client("ws://h/", timout=3)  # E misspelt
Client("ws://h/", queue="drop")  # E
Client("ws://h/", auth=3)  # E
Client("ws://h/", auth=lambda: 3)  # E
Client("ws://h/", messages=Joined)  # E one class and not several
Client("ws://h/", incoming_policy="wait")  # E
Reconnect(max_delay="1")  # E
Auth("token", by="cookie")  # E
SyncClient("ws://h/", timout=3)  # E


def takes_joined(joined: Joined) -> None: ...


async def wrong_requests() -> None:
    await client.request(Join(room_id=""))  # E no request
    await client.request(GetUser)  # E a class
    await client.request({"id": "1"})  # E no message
    (await client.request(GetUser(id="1"))).romo  # E
    client.request(GetUser(id="1"))  # E not awaited
    await client.request(Export(fmt=""), on_progress=takes_joined)  # E other progress
    await client.request(GetUser(id="1"), timeout="3")  # E
    await client.request(GetUser(id="1"), idempotency_key=3)  # E
    user: Joined = await client.request(GetUser(id="1"))  # E another response
    print(user)


async def wrong_calls() -> None:
    async with client.call(Export(fmt="")) as call:
        async for step in call:
            step.satge  # E
        (await call).satge  # E
    client.call(Leave(why=""))  # E no request
    list(client.call(Export(fmt="")))  # E not async


async def wrong_messages() -> None:
    async for message in client:
        message.user_id  # E may be any
    async with client.listen(Joined, Leave) as both:
        async for one in both:
            one.user_id  # E may be the other
    client.listen(Joined(user_id="1"))  # E no class


@client.on(Joined)  # E another message
async def on_other(message: Leave) -> None: ...


@client.on(Joined)  # E no message
def on_nothing() -> None: ...


@client.on_state  # E no such argument
def on_state(state: int) -> None: ...


@client.on_error  # E not every error
def on_error(error: KeyError) -> None: ...


def wrong_script(sync: SyncClient) -> None:
    sync.request(GetUser(id="1")).nmae  # E
    sync.request(Leave(why=""))  # E
    for step in sync.call(Export(fmt="")):
        step.satge  # E
