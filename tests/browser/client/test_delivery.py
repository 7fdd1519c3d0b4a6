"""What becomes of messages and requests when the connection is not there, or breaks."""

import json

import pytest

from .conftest import OpenTab
from .pages import WATCHED, ClientServer, Tab

pytestmark = [pytest.mark.browser, pytest.mark.live]

QUICK = "reconnect: { initialDelayMs: 50, maxDelayMs: 300 }"


def restart_without(tab: Tab, server: ClientServer, script: str) -> None:
    """Run a script while the server is away, and wait until the client is back."""
    server.stop()
    tab.until("client.state === 'reconnecting'")
    tab.run(script)
    server.start()
    tab.until("client.state === 'open'")


def test_what_is_said_during_a_restart_arrives_once_and_in_order(
    alone: Tab, own_server: ClientServer
) -> None:
    alone.run(f"await make({{ {QUICK} }}).connect();")

    restart_without(
        alone,
        own_server,
        """
        for (let i = 0; i < 50; i++) client.send("NOTE", { key: "restart", text: String(i) });
        globalThis.asked = client.request("ADD", { a: 20, b: 22 });
        """,
    )

    notes = alone.run('return (await client.request("NOTES", { key: "restart" })).payload.texts')
    assert notes == [str(number) for number in range(50)]
    assert alone.run("return (await asked).payload") == {"total": 42}


def test_listener_at_open_speaks_before_the_queue(watched: Tab) -> None:
    """So that a room is joined again before what was said meanwhile is sent to it."""
    watched.run(
        """
        globalThis.texts = [];
        make().on("SAID", ({ payload }) => texts.push(payload.text));
        client.onState((state) => state === "open" && client.send("JOIN", { room: "first" }));
        client.send("SAY", { room: "first", text: "queued" });
        await client.connect();
        client.send("SAY", { room: "first", text: "last" });
        """
    )
    watched.until("texts.includes('last')")

    assert watched.run("return texts") == ["queued", "last"]


@pytest.mark.parametrize(
    ("queue", "returned", "kept", "fate"),
    [
        ("drop-newest", [True, True, False], ["1", "2"], "pending"),
        ("drop-oldest", [True, True, True], ["1", "2", "3"], "StateError"),
        ("off", [False, False, False], [], "StateError"),
    ],
)
def test_queue_policies(
    watched: Tab, queue: str, returned: list[bool], kept: list[str], fate: str
) -> None:
    outcome = watched.run(
        """
        const key = `policy ${arg}`;
        const client = make({ queue: arg, queueSize: 3 });
        const first = client.request("PING");
        let fate = "pending";
        first.catch((error) => (fate = error.name));
        const returned = ["1", "2", "3"].map((text) => client.send("NOTE", { key, text }));
        await Promise.resolve();
        await client.connect();
        return [returned, fate, (await client.request("NOTES", { key })).payload.texts, errors];
        """,
        queue,
    )
    if queue == "off":
        assert outcome == [returned, fate, kept, []]
    else:
        word = queue.removeprefix("drop-")
        message = f"3 messages wait for a connection: the {word} was dropped."
        assert outcome == [returned, fate, kept, [["overflow", message]]]


def test_request_waits_in_the_queue_only_as_long_as_it_is_told(watched: Tab) -> None:
    assert watched.run(
        """
        const client = make();
        const options = { queueTimeoutMs: 30 };
        const early = await client.request("SLEEP", { key: "early", ms: 1 }, options).catch(told);
        const late = client.request("PING", undefined, { queueTimeoutMs: 60_000 });
        await client.connect();
        const { payload } = await client.request("SLEEPERS", { key: "early" });
        return [early, payload.started, (await late).type];
        """
    ) == [["TimeoutError", "No connection within 30 ms."], 0, "PONG"]


def test_time_in_the_queue_does_not_count(watched: Tab) -> None:
    """The timeout starts when the request is sent, and all of it goes to the server."""
    watched.hold_time()
    watched.run(
        """
        make();
        globalThis.asked = client.request("WHO_AM_I", undefined, { timeoutMs: 60_000 });
        asked.catch(() => {});
        """
    )
    watched.pass_time(90_000)

    timeout = watched.run("client.connect(); return (await asked).payload.timeoutMs;")

    assert timeout == 60_000


def test_lost_request_fails_and_says_what_would_have_helped(
    alone: Tab, own_server: ClientServer
) -> None:
    alone.run(
        f"""
        await make({{ {QUICK} }}).connect();
        globalThis.lost = client.request("SLEEP", {{ key: "lost", ms: 60000 }});
        lost.catch(() => {{}});
        await client.request("PING");
        """
    )
    restart_without(alone, own_server, "")

    name, message = alone.run("return lost.catch(told)")
    assert name == "ConnectionClosedError"
    assert "before the reply to SLEEP; whether the server has acted on it is unknown" in message
    assert message.endswith("Give it an idempotencyKey to have it sent again.")
    sent = [json.loads(text)["type"] for text in alone.sent]
    assert sent.count("SLEEP") == 1


def test_idempotent_request_is_sent_again_under_the_same_key(
    alone: Tab, own_server: ClientServer
) -> None:
    alone.run(f"await make({{ {QUICK} }}).connect(); await client.request('PING');")
    with own_server.standing_still():  # and does not answer before it is gone
        alone.run(
            """
            const options = { idempotencyKey: "order-7", timeoutMs: 60_000 };
            globalThis.kept = client.request("SLEEP", { key: "kept", ms: 1 }, options);
            kept.catch(() => {});
            """
        )
        own_server.crash()
    restart_without(alone, own_server, "")

    assert alone.run("return (await kept).payload") == {"ms": 1}
    first, second = [f for f in map(json.loads, alone.sent) if f["type"] == "SLEEP"]
    assert first["meta"]["idempotencyKey"] == second["meta"]["idempotencyKey"] == "order-7"
    assert first["payload"] == second["payload"]
    # What is left of the time, and not all of it again.
    assert second["meta"]["timeoutMs"] < first["meta"]["timeoutMs"] == 60_000


@pytest.mark.parametrize(
    ("options", "request_options", "expected"),
    [
        ("resendWindowMs: 30,", "timeoutMs: 60_000", "ConnectionClosedError"),
        ("", "timeoutMs: 300", "TimeoutError"),
    ],
)
def test_idempotent_request_whose_time_is_up_is_not_sent_again(
    alone: Tab, own_server: ClientServer, options: str, request_options: str, expected: str
) -> None:
    """Neither after the window for resending, nor after its own timeout."""
    alone.run(f"await make({{ {options} {QUICK} }}).connect();")
    with own_server.standing_still():  # or it might say first that the time is up
        alone.run(
            f"""
            const options = {{ idempotencyKey: "order-8", {request_options} }};
            globalThis.gone = client.request("SLEEP", {{ key: "gone", ms: 60000 }}, options);
            gone.catch(() => {{}});
            """
        )
        own_server.crash()
    restart_without(
        alone, own_server, "await gone.catch((error) => (globalThis.failure = error.name));"
    )

    assert alone.run("return failure") == expected
    counted = alone.run('return (await client.request("SLEEPERS", { key: "gone" })).payload')
    assert counted == {"started": 0, "cancelled": 0}


def test_refused_connection_loses_nothing_and_doubles_nothing(watched: Tab) -> None:
    """A refused client's frames are not read (PROTOCOL 8): they are sent on the next socket."""
    assert watched.run(
        """
        const tokens = ["expired", "fresh"];
        const auth = { getToken: () => tokens.shift() };
        const client = make({ auth, reconnect: { initialDelayMs: 10 } });
        client.send("NOTE", { key: "refused", text: "1" });
        const sum = client.request("ADD", { a: 1, b: 1 }, { timeoutMs: 60_000 });
        client.send("NOTE", { key: "refused", text: "2" });
        await client.connect();
        client.send("NOTE", { key: "refused", text: "3" });
        const { payload } = await sum;
        const notes = await client.request("NOTES", { key: "refused" });
        return [payload, notes.payload.texts, states.filter((state) => state === "open").length];
        """
    ) == [{"total": 2}, ["1", "2", "3"], 2]


def test_closing_forgets_the_queue_and_fails_its_requests(watched: Tab) -> None:
    """What one user typed is not sent under the next one's name."""
    assert watched.run(
        """
        const client = make();
        client.connect();
        client.send("NOTE", { key: "forgotten", text: "secret" });
        const asked = client.request("PING").catch(told);
        await client.close();
        await client.connect();
        return [await asked, (await client.request("NOTES", { key: "forgotten" })).payload.texts];
        """
    ) == [["ConnectionClosedError", "The client was closed."], []]


def test_after_giving_up_messages_wait_for_the_next_connect(watched: Tab) -> None:
    assert watched.run(
        """
        const tokens = ["forbidden", "good"];
        const client = make({ auth: { getToken: () => tokens.shift() } });
        client.send("NOTE", { key: "patient", text: "kept" });
        client.connect();
        while (client.state !== "closed") await new Promise((resolve) => setTimeout(resolve, 5));
        await client.connect();
        return (await client.request("NOTES", { key: "patient" })).payload.texts;
        """
    ) == ["kept"]


def test_two_tabs_have_a_connection_each(open_tab: OpenTab, server: ClientServer) -> None:
    tabs = [open_tab(server), open_tab(server)]
    for tab in tabs:
        tab.run(
            WATCHED
            + """
            globalThis.texts = [];
            make().on("SAID", ({ payload }) => texts.push(payload.text));
            await client.connect();
            const joined = new Promise((resolve) => client.on("JOINED", resolve));
            client.send("JOIN", { room: "tabs" });
            await joined;
            """
        )

    tabs[0].run('client.send("SAY", { room: "tabs", text: "from the first" });')
    tabs[1].until("texts.length === 1")
    tabs[1].run('client.send("SAY", { room: "tabs", text: "from the second" });')
    tabs[0].until("texts.length === 2")
    tabs[0].run("await client.close();")
    tabs[1].run('client.send("SAY", { room: "tabs", text: "alone" });')
    tabs[1].until("texts.length === 3")

    assert tabs[0].run("return texts") == ["from the first", "from the second"]
    assert tabs[1].run("return texts") == ["from the first", "from the second", "alone"]
