"""Messages of the JavaScript client: handlers, strays, and frames that are none."""

import json

import pytest

from .pages import Tab
from .test_requests import CLIENT

pytestmark = [pytest.mark.browser, pytest.mark.live]


def test_handlers_run_in_order_until_they_are_taken_back(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const seen = [];
        const stop = client.on("ECHOED", () => { seen.push("first"); stop(); stop(); });
        client.on({ type: "ECHOED" }, ({ payload }) => seen.push(payload.value));
        client.send("ECHO", { value: 1 });
        client.send("ECHO", { value: 2 });
        await client.request("PING");
        return seen;
        """
    ) == ["first", 1, 2]


def test_handler_that_throws_takes_nobody_with_it(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const seen = [];
        client.onError(() => { throw new Error("so does this"); });
        client.on("ECHOED", () => { throw new Error("broken"); });
        client.on("ECHOED", ({ payload }) => seen.push(payload.value));
        client.send("ECHO", { value: 1 });
        await client.request("PING");
        return [seen, errors, client.state];
        """
    ) == [[1], [["handler", "Error", "broken"]], "open"]


def test_message_without_a_handler_goes_to_onunhandled(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const seen = [];
        const stop = client.onUnhandled(({ type, payload }) => seen.push([type, payload]));
        client.send("ECHO", { value: 1 });
        await client.request("PING");
        stop();
        client.send("ECHO", { value: 2 });
        await client.request("PING");
        return seen;
        """
    ) == [["ECHOED", {"value": 1}]]


def test_error_of_no_request_is_an_event_and_is_reported(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const seen = [];
        client.on("ERROR", ({ type, payload }) => seen.push([type, payload.code]));
        client.send("NO_SUCH_TYPE");
        const stray = JSON.stringify({ type: "RPC_ERROR", payload: { code: "OWN" } });
        client.send("RAW", { frames: [stray] });
        await client.request("PING");
        return [seen, errors.map(([type, name]) => [type, name])];
        """
    ) == [[["ERROR", "UNIMPLEMENTED"], ["RPC_ERROR", "OWN"]], [["server", "ServerError"]] * 2]


def test_errors_that_nobody_listens_for_are_on_the_console(page: Tab) -> None:
    with page.page.expect_console_message(lambda it: it.type == "error") as said:
        page.run(
            """
            const client = wskit.wsClient({ url: "/ws/" });
            client.send("NO_SUCH_TYPE");
            await client.connect();
            await client.request("PING");
            """
        )
    assert "ServerError" in said.value.text


def test_frames_that_are_none_are_reported_and_survived(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const seen = [];
        client.onUnhandled(({ type }) => seen.push(type));
        client.send("RAW", { frames: arg });
        await client.request("PING");
        return [seen, errors.map(([type]) => type), client.state];
        """,
        [
            "no json",
            "null",
            '{"meta":{}}',
            '{"type":1}',
            '{"type":"$ws:unknown","meta":{}}',
            '{"type":"__heartbeat_ack","meta":{"ts":1}}',
            '{"type":"$ws:rpc-progress","meta":{"correlationId":"nobody"},"data":1}',
            '{"type":"$ws:pong","meta":null}',
            '{"type":"STRAY"}',
        ],
    ) == [["STRAY"], ["parse"] * 4, "open"]


def test_ping_of_the_server_is_answered_with_its_timestamp(page: Tab) -> None:
    """PROTOCOL 7."""
    page.run(
        CLIENT
        + """
        client.send("RAW", { frames: ['{"type":"$ws:ping","meta":{"timestamp":12345}}'] });
        await client.request("PING");
        await client.request("PING");
        """
    )
    pongs = [frame for frame in map(json.loads, page.sent) if frame["type"] == "$ws:pong"]
    assert [pong["meta"]["echo"] for pong in pongs] == [12345]


def test_first_frame_is_a_ping(page: Tab) -> None:
    """What is sent before its answer comes was not read, if the server refuses the client."""
    page.run(CLIENT + 'client.onceOpen(); await client.request("PING");')

    assert [json.loads(text)["type"] for text in page.sent] == ["$ws:ping", "PING"]
