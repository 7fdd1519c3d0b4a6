"""The JavaScript client comes back: when, how often, and woken by whom."""

import pytest

from .pages import ClientServer, Tab

pytestmark = [pytest.mark.browser, pytest.mark.live]


UNHURRIED = '{ reconnect: { initialDelayMs: 600_000, maxDelayMs: 600_000, jitter: "none" } }'
"""Options of a client that comes back in ten minutes, if nothing wakes it."""


def test_restart_of_the_server_never_looks_closed(alone: Tab, own_server: ClientServer) -> None:
    alone.run("await make({ reconnect: { initialDelayMs: 50, maxDelayMs: 200 } }).connect();")

    own_server.stop()
    alone.until("states.filter((state) => state === 'reconnecting').length > 2")
    own_server.start()
    alone.until("client.state === 'open'")

    states = alone.run("return states")
    attempts = (len(states) - 3) // 2
    assert states == ["connecting", "open", *["reconnecting", "connecting"] * attempts, "open"]


def test_attempts_come_to_an_end_if_they_are_counted(alone: Tab, own_server: ClientServer) -> None:
    own_server.stop()
    outcome = alone.run(
        """
        const reconnect = { initialDelayMs: 40, maxDelayMs: 100, maxAttempts: 4 };
        const error = await make({ reconnect }).connect().catch((error) => error);
        const delays = infos.flatMap(({ retryInMs = [] }) => retryInMs);
        return [delays, error.name, error.code, states];
        """
    )

    delays, *rest = outcome
    tries = ["connecting", "reconnecting"] * 4
    assert rest == ["ConnectionClosedError", 1006, [*tries, "connecting", "closed"]]
    assert len(delays) == len(set(delays)) == 4
    for delay, ceiling in zip(delays, [40, 80, 100, 100], strict=True):
        assert 0 <= delay < ceiling


def test_without_reconnection_the_first_failure_is_the_last(
    alone: Tab, own_server: ClientServer
) -> None:
    own_server.stop()
    outcome = alone.run(
        """
        const client = make({ reconnect: { enabled: false } });
        const error = await client.connect().catch((error) => error);
        return [error.name, error.code, states];
        """
    )
    assert outcome == ["ConnectionClosedError", 1006, ["connecting", "closed"]]


def test_server_that_drains_is_visited_later_and_not_by_all_at_once(watched: Tab) -> None:
    """$ws:bye: after retryAfterMs, spread over a backoff; waking does not cut it short."""
    delays = watched.run(
        """
        const clients = Array.from({ length: 12 }, async () => {
            let delay, since, waited;
            const wsFactory = (url, protocols) => {
                const socket = new WebSocket(url, protocols);
                // Before the client hears of it, and looks at the clock in its turn.
                socket.addEventListener("close", () => (since ??= performance.now()));
                return socket;
            };
            const reconnect = { initialDelayMs: 100 };
            const client = wskit.wsClient({ url: "/ws/", reconnect, wsFactory });
            client.onState((state, info) => {
                if (state === "reconnecting") delay = info.retryInMs;
                if (state === "connecting" && since) waited ??= performance.now() - since;
            });
            await client.connect();
            client.send("RESTART", { retryAfterMs: 300 });
            while (!delay) await new Promise((resolve) => setTimeout(resolve, 5));
            dispatchEvent(new Event("online"));
            await client.onceOpen();
            await client.close();
            return [delay, waited];
        });
        return Promise.all(clients);
        """
    )
    asked = [delay for delay, _ in delays]
    assert all(300 <= delay < 400 for delay in asked)
    assert len(set(asked)) == 12
    assert all(waited >= 290 for _, waited in delays)


def test_goodbye_for_good_is_the_end(watched: Tab) -> None:
    """$ws:bye with reconnect false, and then a close that would otherwise not be final."""
    bye = '{"type":"$ws:bye","meta":{},"data":{"code":1012,"reconnect":false}}'
    assert (
        watched.run(
            """
        const client = make({ reconnect: { initialDelayMs: 10 } });
        await client.connect();
        client.send("RAW", { frames: [arg] });
        client.send("CLOSE", { code: 4012, reason: "" });
        while (client.state !== "closed") await new Promise((resolve) => setTimeout(resolve, 5));
        return infos.at(-1).code;
        """,
            bye,
        )
        == 4012
    )


def test_after_the_goodbye_messages_wait_for_the_next_connection(watched: Tab) -> None:
    bye = '{"type":"$ws:bye","meta":{}}'
    assert watched.run(
        """
        const client = make({ reconnect: { initialDelayMs: 10 } });
        const seen = [];
        client.on("ECHOED", ({ payload }) => seen.push(payload.value));
        await client.connect();
        client.send("RAW", { frames: [arg, '{"type":"LAST"}'] });
        await new Promise((resolve) => client.on("LAST", resolve));
        client.send("ECHO", { value: "later" });
        await new Promise((resolve) => setTimeout(resolve, 100));
        const early = [...seen];
        await client.close();
        return [early, client.isConnected];
        """,
        bye,
    ) == [[], False]


def test_network_that_is_back_wakes_the_client(alone: Tab, own_server: ClientServer) -> None:
    alone.run(f"await make({UNHURRIED}).connect();")
    own_server.stop()
    alone.until("client.state === 'reconnecting'")
    own_server.start()

    alone.page.context.set_offline(True)
    alone.page.context.set_offline(False)

    alone.until("client.state === 'open'")
    assert alone.run("return client.isConnected")


@pytest.mark.parametrize(
    "wake", ["document.dispatchEvent(new Event('visibilitychange'))", "client.connect()"]
)
def test_user_who_is_back_wakes_the_client(alone: Tab, own_server: ClientServer, wake: str) -> None:
    """Or who says so. A page that is hidden again does not."""
    alone.run(f"await make({UNHURRIED}).connect();")
    own_server.stop()
    alone.until("client.state === 'reconnecting'")
    own_server.start()

    hidden = """
        const as = (value) =>
            Object.defineProperty(document, "visibilityState", { value, configurable: true });
        as("hidden");
        document.dispatchEvent(new Event("visibilitychange"));
        await new Promise((resolve) => setTimeout(resolve, 50));
        as("visible");
        return client.state;
        """
    assert alone.run(hidden) == "reconnecting"
    alone.run(wake)

    alone.until("client.state === 'open'")


def test_connection_that_breaks_in_no_time_does_not_start_the_backoff_anew(watched: Tab) -> None:
    """Else a server that closes at once would be visited without a pause for ever."""
    delays = watched.run(
        """
        const client = make({ reconnect: { initialDelayMs: 10, jitter: "none" } });
        const broken = { code: 1011, reason: "" };
        client.onState((state) => state === "open" && client.send("CLOSE", broken));
        client.connect();
        const delays = () => infos.flatMap(({ retryInMs = [] }) => retryInMs);
        while (delays().length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
        await client.close();
        return delays();
        """
    )
    assert delays == [10, 20, 40, 80]
