from typing import Any, Literal

import pytest

from wskit_channels.client import Auth
from wskit_channels.client.auth import Target

URL = "ws://host/ws/?room=1&access_token=old"


async def fetch() -> str:
    return "s3 cret"


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("header", (URL, {"X-A": "1", "Authorization": "Bearer s3 cret"}, ["chat"])),
        ("query", ("ws://host/ws/?room=1&access_token=s3+cret", {"X-A": "1"}, ["chat"])),
        ("subprotocol", (URL, {"X-A": "1"}, ["chat", "bearer.s3 cret"])),
    ],
)
@pytest.mark.parametrize("token", ["s3 cret", lambda: "s3 cret", fetch])
async def test_a_token_travels_in_one_of_three_ways(
    by: Literal["header", "query", "subprotocol"], expected: Any, token: Any
) -> None:
    """PROTOCOL 9."""
    target = await Auth(token, by=by).apply(Target(URL, {"X-A": "1"}, ["chat"]))

    assert (target.url, target.headers, target.subprotocols) == expected


@pytest.mark.parametrize(
    ("by", "expected"),
    [("query", ("ws://h/?key=t", [])), ("subprotocol", ("ws://h/", ["key.t"]))],
)
async def test_its_name_may_be_another(
    by: Literal["query", "subprotocol"], expected: tuple[str, list[str]]
) -> None:
    """PROTOCOL 9: both names are settings of the server."""
    name = "key" if by == "query" else "key."
    target = await Auth("t", by=by, name=name).apply(Target("ws://h/"))

    assert (target.url, list(target.subprotocols)) == expected


@pytest.mark.parametrize("token", ["", lambda: None])
async def test_without_a_token_nothing_is_added(token: Any) -> None:
    target = Target("ws://h/")

    assert await Auth(token).apply(target) is target


def test_only_a_function_can_give_another_token() -> None:
    assert [Auth("t").can_refresh, Auth(fetch).can_refresh] == [False, True]


async def test_nothing_prints_a_token() -> None:
    """PROTOCOL 9: tokens are never logged."""
    auth = Auth("s3cret", by="query")
    target = await auth.apply(Target("ws://h/"))

    assert "s3cret" not in repr(auth) + repr(target)
