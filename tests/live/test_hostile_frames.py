"""Frames made to break a parser, against real servers: each is answered and survived."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.live.clients import RECEIVE_TIMEOUT, client, receive, send
from tests.live.servers import Server

pytestmark = pytest.mark.live


def echo(value: str) -> str:
    """Put raw JSON text where any JSON may stand."""
    return f'{{"type":"ECHO","payload":{{"value":{value}}}}}'


def invent_keys(count: int) -> str:
    return ",".join(f'"key{n}":1' for n in range(count))


MALFORMED: dict[str, str | bytes] = {
    "empty binary": b"",
    "bad UTF-8": b'{"type":"\xff\xfe"}',
    "overlong UTF-8": b'{"type":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"type":"\xed\xa0\x80"}',
    "UTF-16": '{"type":"PING"}'.encode("utf-16"),
    "NUL": "\0",
    "deep arrays": echo("[" * 100_000),
    "deep balanced arrays": echo("[" * 100_000 + "]" * 100_000),
    "deep objects": '{"a":' * 100_000,
    "NaN": echo("NaN"),
    "Infinity": echo("Infinity"),
    "-Infinity": echo("[-Infinity]"),
    "1e999": echo("1e999"),
    "-1e999, nested": echo('{"a":[-1e999]}'),
    "NaN in a float field": '{"type":"WEIGH","payload":{"grams":NaN}}',
    "1e999 in a float field": '{"type":"WEIGH","payload":{"grams":1e999}}',
    "1e999 in meta": '{"type":"PING","meta":{"timestamp":1e999},"payload":{"text":"x"}}',
    "5,000 digits": echo("9" * 5000),
    "500,000 digits": echo("9" * 500_000),
    "lone high surrogate": echo(r'"\ud800"'),
    "lone low surrogate": echo(r'"\udc00 "'),
    "lone surrogate as a key": echo(r'{"\ud800":1}'),
    "lone surrogate in a typed field": r'{"type":"PING","payload":{"text":"\udfff"}}',
    "lone surrogate as the type": r'{"type":"\ud800"}',
    "two values": '{"type":"PING"}{"type":"PING"}',
    "trailing comma": '{"type":"PING",}',
    "comment": '{"type":"PING"/**/}',
    "single quotes": "{'type':'PING'}",
    "bare control character": '{"type":"PI\nNG"}',
}

SURVIVED: dict[str, str] = {
    "nested 100 deep": echo("[" * 100 + "]" * 100),
    "nested 190 deep": echo("[" * 190 + "]" * 190),
    "nested 250 deep": echo("[" * 250 + "]" * 250),
    "nested 900 deep": echo("[" * 900 + "]" * 900),
    "objects nested 190 deep": echo('{"a":' * 190 + "1" + "}" * 190),
    "more than 64 bits": echo(str(2**64)),
    "4,300 digits": echo("9" * 4300),
    "1e308": echo("1e308"),
    "1e-400": echo("1e-400"),
    "a huge number for an int": '{"type":"SAY","payload":{"room":"x","number":1e300}}',
    "noncharacters": echo(r'"\ufffe\uffff"'),
    "a surrogate pair": echo(r'"\ud83d\ude00"'),
    "NUL in a string": echo(r'"\u0000"'),
    "NUL in a type": r'{"type":"PI\u0000NG"}',
    "JavaScript's own keys": echo('{"__proto__":{"a":1},"constructor":null}'),
    "duplicate keys": '{"type":"NO","type":"PING","payload":{"text":"x","text":"y"}}',
    "reserved type": '{"type":"$ws:nothing"}',
    "an error from a client": '{"type":"ERROR","payload":{"code":"X","message":"x"}}',
    "an object for an id": '{"type":"PING","meta":{"correlationId":{}},"payload":{"text":"x"}}',
    "a long id": echo("1")[:-1] + ',"meta":{"correlationId":"' + "x" * 100_000 + '"}}',
    "ten thousand unknown keys": f'{{"type":"PING","payload":{{{invent_keys(10_000)}}}}}',
}


async def answers_to(frame: str | bytes, url: str) -> list[dict[str, Any]]:
    """Send a frame, then a ``PING``, on one connection; return what came before the ``PONG``."""
    async with asyncio.timeout(RECEIVE_TIMEOUT), client(url) as socket:
        await socket.send(frame)
        await send(socket, "PING", text="still here")
        return await until_pong(socket)


async def until_pong(socket: ClientConnection) -> list[dict[str, Any]]:
    answers = []
    while (answer := await receive(socket))["payload"] != {"text": "still here"}:
        answers.append(answer)
    return answers


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_json_is_answered_and_survived(server: Server, frame: str | bytes) -> None:
    """PROTOCOL 2: in typed and in ``Any`` fields alike."""
    [answer] = await answers_to(frame, server.url)

    assert (answer["type"], answer["payload"]["code"]) == ("ERROR", "INVALID_ARGUMENT")


@pytest.mark.parametrize("frame", SURVIVED.values(), ids=SURVIVED)
async def test_an_odd_frame_is_survived(server: Server, frame: str) -> None:
    """Accepted or refused, it gets one answer at most."""
    assert len(await answers_to(frame, server.url)) <= 1


async def test_a_frame_of_a_megabyte_is_refused_with_figures(server: Server) -> None:
    frame = '{"type":"PING","payload":{"text":"' + "x" * 1_010_000 + '"}}'

    [answer] = await answers_to(frame, server.url)

    assert answer["payload"]["code"] == "RESOURCE_EXHAUSTED"
    assert answer["payload"]["details"] == {"observed": len(frame), "limit": 1_000_000}


async def test_an_endless_type_is_cut_in_the_answer(server: Server) -> None:
    [answer] = await answers_to('{"type":"' + "x" * 900_000 + '"}', server.url)

    assert answer["payload"]["code"] == "UNIMPLEMENTED"
    assert answer["payload"]["details"] == {"type": "x" * 128}


async def test_a_bug_in_a_handler_leaves_one_traceback(server: Server) -> None:
    """What the next test finds none of is there to be found."""
    before = len(server.log.read_text())

    [answer] = await answers_to('{"type":"BREAK"}', server.url)

    assert answer["payload"]["message"] == "Internal server error"
    assert server.log.read_text()[before:].count("Traceback") == 1


async def test_no_frame_leaves_a_traceback(server: Server) -> None:
    before = len(server.log.read_text())

    async with asyncio.timeout(RECEIVE_TIMEOUT), client(server.url) as socket:
        for frame in [*MALFORMED.values(), *SURVIVED.values()]:
            await socket.send(frame)
        await send(socket, "PING", text="still here")
        answers = await until_pong(socket)

    assert len(answers) >= len(MALFORMED)
    assert "Traceback" not in server.log.read_text()[before:]
