"""The JavaScript client's states: connecting, closing, and what is refused."""

import pytest

from .pages import ClientServer, Tab

pytestmark = [pytest.mark.browser, pytest.mark.live]


def test_states_of_a_quiet_life(watched: Tab) -> None:
    assert watched.run(
        """
        const client = make();
        const before = [client.state, client.isConnected, client.protocol];
        const connected = client.connect();
        const during = client.state;
        await Promise.all([connected, client.connect(), client.onceOpen()]);
        await client.connect();
        await client.onceOpen();
        const open = client.isConnected;
        const closing = client.close({ code: 4001, reason: "enough" });
        await Promise.all([closing, client.close()]);
        await client.close();
        return [before, during, open, states, infos.at(-1)];
        """
    ) == [
        ["closed", False, ""],
        "connecting",
        True,
        ["connecting", "open", "closing", "closed"],
        {"code": 4001, "reason": "enough"},
    ]
    assert len(watched.urls) == 1


def test_listener_is_taken_back(watched: Tab) -> None:
    assert watched.run(
        """
        const client = make();
        const seen = [];
        const stop = client.onState((state) => { seen.push(state); stop(); });
        await client.connect();
        return seen;
        """
    ) == ["connecting"]


def test_close_code_that_browsers_refuse_is_refused_before_anything_happens(watched: Tab) -> None:
    assert watched.run(
        """
        const client = make();
        await client.connect();
        const error = await client.close({ code: 1002 }).catch(told);
        return [error, client.state];
        """
    ) == [["TypeError", "A page may close with 1000 or 3000 to 4999, not 1002."], "open"]


def test_close_in_the_middle_of_connecting_leaves_no_socket_behind(watched: Tab) -> None:
    assert watched.run(
        """
        const client = make();
        const connected = client.connect().catch(told);
        await Promise.resolve();
        await Promise.resolve();
        await client.close();
        const outcome = await connected;
        await new Promise((resolve) => setTimeout(resolve, 200));
        return [outcome, states];
        """
    ) == [
        ["ConnectionClosedError", "The client was closed."],
        ["connecting", "closing", "closed"],
    ]


def test_close_while_the_token_is_fetched_makes_no_socket(watched: Tab) -> None:
    """A token that comes late must not open a connection that nobody wants."""
    assert watched.run(
        """
        let give;
        const getToken = () => new Promise((resolve) => (give = resolve));
        const client = make({ auth: { getToken } });
        client.connect();
        await client.close();
        give("late");
        await new Promise((resolve) => setTimeout(resolve, 200));
        return states;
        """
    ) == ["connecting", "closing", "closed"]
    assert watched.urls == []


def test_close_in_a_listener_is_the_last_word(watched: Tab) -> None:
    assert watched.run(
        """
        const client = make();
        client.onState((state) => state === "open" && client.close());
        const outcome = await client.connect().catch(told);
        await new Promise((resolve) => setTimeout(resolve, 100));
        return [outcome, states];
        """
    ) == [
        ["ConnectionClosedError", "The client was closed."],
        ["connecting", "open", "closing", "closed"],
    ]


def test_connect_after_close_waits_for_the_old_socket(watched: Tab) -> None:
    assert watched.run(
        """
        const client = make();
        await client.connect();
        client.close();
        await client.connect();
        return [states, (await client.request("PING")).type];
        """
    ) == [["connecting", "open", "closing", "closed", "connecting", "open"], "PONG"]


def test_first_message_connects_if_asked(watched: Tab) -> None:
    """And only the first: after close() the application has spoken."""
    assert watched.run(
        """
        const client = make({ autoConnect: true });
        const { type } = await client.request("PING");
        await client.close();
        client.send("ECHO", { value: 1 });
        await new Promise((resolve) => setTimeout(resolve, 100));
        return [type, client.state];
        """
    ) == ["PONG", "closed"]


@pytest.mark.parametrize(
    "options",
    [
        "{}",
        "{ url: '/ws/', queue: 'drop-all' }",
        "{ url: '/ws/', reconnect: { jitter: 'half' } }",
        "{ url: '/ws/', auth: { attach: 'header' } }",
        "{ url: '/ws/', auth: { protocolPosition: 'middle' } }",
        "{ url: '/ws/', auth: { protocolPrefix: 'my token' } }",
        "{ url: '/ws/', auth: { protocolPrefix: '' } }",
    ],
)
def test_options_that_make_no_sense_are_refused(watched: Tab, options: str) -> None:
    assert (
        watched.run(f"try {{ wskit.wsClient({options}); }} catch (error) {{ return error.name; }}")
        == "TypeError"
    )


def test_relative_address_is_the_pages_own(watched: Tab, server: ClientServer) -> None:
    watched.run("await make({ url: '/ws/?room=1#part' }).connect();")

    assert watched.urls == [f"{server.url}?room=1"]


def test_address_that_is_none_fails_and_is_not_tried_again(watched: Tab) -> None:
    outcome = watched.run(
        """
        const error = await make({ url: "ftp://nowhere" }).connect().catch((error) => error);
        return [error.name, error.cause.name, states];
        """
    )
    assert outcome == ["ConnectionClosedError", "SyntaxError", ["connecting", "closed"]]
