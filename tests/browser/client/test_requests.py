"""Requests of the JavaScript client: outcome, progress, abort, time, errors."""

import json
from typing import Any

import pytest

from .pages import ClientServer, Tab

pytestmark = [pytest.mark.browser, pytest.mark.live]

CLIENT = """
const client = wskit.wsClient({ url: "/ws/" });
const errors = [];
client.onError((error, { type }) => errors.push([type, error.name, error.message]));
await client.connect();
const told = (error) => [error.name, error.message];
"""
"""A connected client, and what it reported."""


def frames(texts: list[str]) -> list[dict[str, Any]]:
    """Frames without the first, which is the client's ping or its pong, and without timestamps."""
    found = [json.loads(text) for text in texts[1:]]
    for frame in found:
        assert isinstance(frame["meta"].pop("timestamp"), int)
    return found


def test_reply_is_the_whole_message(page: Tab) -> None:
    reply = page.run(
        CLIENT + 'return client.request("ADD", { a: 2, b: 3 }, { correlationId: "x" })'
    )

    timestamp = reply["meta"].pop("timestamp")
    assert isinstance(timestamp, int)
    assert reply == {"type": "SUM", "meta": {"correlationId": "x"}, "payload": {"total": 5}}


def test_frames_hold_what_the_protocol_asks_for_and_nothing_else(page: Tab) -> None:
    """PROTOCOL 1: no payload where there is none; the reserved keys never go out."""
    page.run(
        CLIENT
        + """
        const meta = { clientId: "me", receivedAt: 1, correlationId: "sneaky" };
        await client.request("PING", undefined, { meta, correlationId: "p", timeoutMs: 60_000.5 });
        await client.request("PAY", { key: "once" }, { correlationId: "q", idempotencyKey: "k",
            timeoutMs: Infinity }).catch(() => {});
        """
    )

    first, second, *_ = frames(page.sent)
    assert first == {"type": "PING", "meta": {"correlationId": "p", "timeoutMs": 60_001}}
    assert second == {
        "type": "PAY",
        "meta": {"correlationId": "q", "idempotencyKey": "k"},
        "payload": {"key": "once"},
    }


def test_progress_is_iterated_over_and_the_reply_awaited(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const call = client.request("COUNT", { to: 3, delayMs: 20 });
        const seen = [];
        for await (const value of call) seen.push(value.n);
        return [seen, (await call).payload];
        """
    ) == [[1, 2, 3], {"n": 3}]


def test_slow_reader_of_progress_misses_none(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const seen = [];
        for await (const value of client.request("COUNT", { to: 4, delayMs: 5 })) {
            seen.push(value.n);
            await new Promise((resolve) => setTimeout(resolve, 60));
        }
        return seen;
        """
    ) == [1, 2, 3, 4]


def test_iteration_fails_as_the_request_does(page: Tab) -> None:
    """Nor does the promise, which nobody looks at, count as unhandled."""
    assert page.run(
        CLIENT
        + """
        const unhandled = [];
        addEventListener("unhandledrejection", ({ reason }) => unhandled.push(told(reason)));
        const follow = async (call) => {
            try { for await (const value of call); } catch (error) { return told(error); }
        };
        const failed = await follow(client.request("FAIL", { code: "NOT_FOUND", message: "No" }));
        const refused = await follow(client.request("PING", undefined, { timeoutMs: -1 }));
        await new Promise((resolve) => setTimeout(resolve, 20));
        return [failed, refused, unhandled];
        """
    ) == [
        ["ServerError", "No"],
        ["ValidationError", "timeoutMs is a number above 0, not -1."],
        [],
    ]


def test_leaving_the_iteration_leaves_the_request_alone(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const call = client.request("COUNT", { to: 3, delayMs: 20 });
        for await (const value of call) break;
        return (await call).payload;
        """
    ) == {"n": 3}


def test_progress_callback_that_throws_does_not_cost_the_reply(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const seen = [];
        const onProgress = ({ n }) => { seen.push(n); throw new Error(`broken ${n}`); };
        const { payload } = await client.request("COUNT", { to: 2, delayMs: 0 }, { onProgress });
        return [seen, payload, errors];
        """
    ) == [
        [1, 2],
        {"n": 2},
        [["handler", "Error", "broken 1"], ["handler", "Error", "broken 2"]],
    ]


@pytest.mark.parametrize("abort", ["controller.abort('enough')", "call.abort()"])
def test_abort_cancels_the_handler_and_nobody_hears_of_it_again(page: Tab, abort: str) -> None:
    """PROTOCOL 5.5: the server's CANCELLED finds nobody waiting, and is no stray error."""
    outcome = page.run(
        CLIENT
        + f"""
        const controller = new AbortController();
        const {{ signal }} = controller;
        const options = {{ signal, correlationId: "s" }};
        const call = client.request("SLEEP", {{ key: {abort!r}, ms: 60000 }}, options);
        await client.request("PING");
        {abort};
        {abort};
        const error = await call.catch((error) => error);
        const {{ payload }} = await client.request("SLEEPERS", {{ key: {abort!r} }});
        return [...told(error), error instanceof wskit.StateError, error.cause, payload, errors];
        """
    )

    cause = "enough" if "enough" in abort else None
    counted = {"started": 1, "cancelled": 1}
    assert outcome == ["StateError", "Request aborted.", True, cause, counted, []]
    aborts = [frame for frame in frames(page.sent) if frame["type"] == "$ws:abort"]
    assert aborts == [{"type": "$ws:abort", "meta": {"correlationId": "s"}}]
    answers = [frame for frame in frames(page.received) if frame["type"] == "RPC_ERROR"]
    assert [answer["payload"]["code"] for answer in answers] == ["CANCELLED"]


def test_request_aborted_beforehand_is_not_sent(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const signal = AbortSignal.abort();
        return client.request("PING", undefined, { signal }).catch(told);
        """
    ) == ["StateError", "Request aborted before it was sent."]
    assert frames(page.sent) == []


def test_timeout_is_told_to_the_server_and_its_late_answer_is_dropped(
    page: Tab, server: ClientServer
) -> None:
    """PROTOCOL 5.4: both sides let go."""
    page.run(CLIENT + "Object.assign(globalThis, { client, errors, told });")
    with server.standing_still():  # its answer is a late one for sure
        page.run(
            """
            const options = { timeoutMs: 80, correlationId: "t" };
            const call = client.request("SLEEP", { key: "timeout", ms: 60000 }, options);
            globalThis.error = await call.catch((error) => error);
            """
        )
    outcome = page.run(
        """
        const { payload } = await client.request("SLEEPERS", { key: "timeout" });
        return [...told(error), error.timeoutMs, payload, errors];
        """
    )

    assert outcome[:3] == ["TimeoutError", "No reply within 80 ms.", 80]
    assert outcome[3:] == [{"started": 1, "cancelled": 1}, []]
    assert frames(page.sent)[0]["meta"] == {"correlationId": "t", "timeoutMs": 80}


def test_a_timeout_beyond_what_timers_can_count_does_not_fire_at_once(page: Tab) -> None:
    assert (
        page.run(
            CLIENT
            + 'return (await client.request("ADD", { a: 1, b: 1 }, { timeoutMs: 2 ** 40 })).type'
        )
        == "SUM"
    )


def test_types_are_strings_or_objects_that_name_their_response(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const Add = { type: "ADD", response: { type: "SUM" } };
        const Wrong = { type: "ADD", response: "PONG" };
        const payload = { a: 1, b: 1 };
        const types = [
            await client.request(Add, payload),
            await client.request("ADD", payload, "SUM"),
            await client.request("ADD", payload, { type: "SUM" }, { correlationId: "named" }),
            await client.request("ADD", payload, undefined, { correlationId: "options" }),
        ].map(({ type, meta }) => [type, meta.correlationId.length > 10 || meta.correlationId]);
        const error = await client.request(Wrong, payload).catch((error) => error);
        return [types, ...told(error), error.issues];
        """
    ) == [
        [["SUM", True], ["SUM", True], ["SUM", "named"], ["SUM", "options"]],
        "ValidationError",
        "The reply to ADD is SUM, not PONG.",
        [{"path": ["type"], "message": "The reply to ADD is SUM, not PONG."}],
    ]


def test_what_is_no_json_is_refused_and_not_sent(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const names = async (promise) => (await promise.catch((error) => error)).name;
        return [
            client.send("ECHO", { value: 1n }),
            client.send(undefined, { value: 1 }),
            client.send({ type: "" }),
            client.send("ECHO", { value: 1 }, { meta: { big: 1n } }),
            await names(client.request("ADD", { a: 1n, b: 1 })),
            await names(client.request(null)),
            await names(client.request("PING", undefined, { meta: { big: 1n } })),
            errors.map(([type, name]) => [type, name]),
        ];
        """
    ) == [
        *[False] * 4,
        *["ValidationError"] * 3,
        [["validation", "ValidationError"]] * 3 + [["validation", "TypeError"]],
    ]
    assert frames(page.sent) == []


def test_two_pending_requests_cannot_have_one_id(page: Tab) -> None:
    assert page.run(
        CLIENT
        + """
        const options = { correlationId: "i" };
        const first = client.request("SLEEP", { key: "ids", ms: 50 }, options);
        const second = await client.request("PING", undefined, options).catch(told);
        await first;
        return [second, (await client.request("PING", undefined, options)).type];
        """
    ) == [["StateError", "A request with this correlationId is pending."], "PONG"]


def test_server_error_says_all_that_the_frame_says(page: Tab) -> None:
    """PROTOCOL 4."""
    assert page.run(
        CLIENT
        + """
        const asked = { code: "NOT_FOUND", message: "No" };
        const call = client.request("FAIL", asked, { correlationId: "e" });
        const error = await call.catch((error) => error);
        const { name, code, message, details, retryable, retryAfterMs, correlationId } = error;
        const same = error instanceof wskit.RpcError && error instanceof wskit.WsKitError;
        return [same, name, code, message, details, retryable, retryAfterMs, correlationId];
        """
    ) == [True, "ServerError", "NOT_FOUND", "No", {"kind": "thing"}, False, None, "e"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"code": "UNAVAILABLE", "message": "m"}, ["UNAVAILABLE", True, "absent"]),
        ({"code": "OWN", "message": "m"}, ["OWN", False, "absent"]),
        ({"code": "OWN", "message": "m", "retryAfterMs": 0}, ["OWN", True, 0]),
        (
            {"code": "ABORTED", "message": "m", "retryable": True, "retryAfterMs": None},
            ["ABORTED", False, "null"],
        ),
        (None, ["INTERNAL", False, "absent"]),
    ],
)
def test_whether_to_retry_is_always_known(
    page: Tab, payload: dict[str, Any] | None, expected: list[Any]
) -> None:
    """PROTOCOL 4: null is never, a number is later, nothing is as the code's table says."""
    assert (
        page.run(
            CLIENT
            + """
        const heard = new Promise((resolve) => client.onError(resolve));
        client.send("RAW", { frames: [JSON.stringify({ type: "ERROR", meta: {}, payload: arg })] });
        const { code, retryable, retryAfterMs } = await heard;
        const after = retryAfterMs === null ? "null" : retryAfterMs ?? "absent";
        return [code, retryable, after];
        """,
            payload,
        )
        == expected
    )
