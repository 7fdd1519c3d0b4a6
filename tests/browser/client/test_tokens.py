"""Tokens of the JavaScript client: fetched anew, replaced once, never printed."""

import pytest

from .pages import ClientServer, Tab

pytestmark = [pytest.mark.browser, pytest.mark.live]


def test_fresh_token_is_fetched_for_each_connection(watched: Tab, server: ClientServer) -> None:
    assert (
        watched.run(
            """
        let count = 0;
        const getToken = async () => `t${++count}`;
        const client = make({ auth: { getToken, queryParam: "access_token" } });
        await client.connect();
        client.send("CLOSE", { code: 4000, reason: "" });
        await client.onceOpen();
        while (count < 2) await new Promise((resolve) => setTimeout(resolve, 5));
        await client.onceOpen();
        return (await client.request("WHO_AM_I")).payload.name;
        """
        )
        == "t2"
    )
    assert watched.urls == [f"{server.url}?access_token=t1", f"{server.url}?access_token=t2"]


def test_refused_token_is_replaced_once(watched: Tab, server: ClientServer) -> None:
    """4401: one fresh token; the states never go through closed."""
    outcome = watched.run(
        """
        const asked = [];
        const tokens = ["expired", "fresh"];
        const getToken = ({ refresh }) => { asked.push(refresh); return tokens.shift(); };
        const client = make({ auth: { getToken }, reconnect: { initialDelayMs: 10 } });
        client.connect();
        const { payload } = await client.request("WHO_AM_I");
        return [payload.name, asked, states, infos[2].code];
        """
    )
    states = ["connecting", "open", "reconnecting", "connecting", "open"]
    assert outcome == ["fresh", [False, True], states, 4401]
    assert watched.urls == [
        f"{server.url}?access_token=expired",
        f"{server.url}?access_token=fresh",
    ]


def test_second_refused_token_is_the_end(watched: Tab) -> None:
    assert watched.run(
        """
        const auth = { getToken: () => "expired" };
        const client = make({ auth, reconnect: { initialDelayMs: 10 } });
        client.send("ECHO", { value: 1 });
        client.connect();
        const error = await client.request("PING").catch((error) => error);
        await new Promise((resolve) => setTimeout(resolve, 200));
        return [...told(error), error.code, client.state];
        """
    ) == [
        "ConnectionClosedError",
        "The connection has ended with 4401: UNAUTHENTICATED",
        4401,
        "closed",
    ]
    assert len(watched.urls) == 2


def test_without_a_token_provider_4401_is_the_end(watched: Tab) -> None:
    watched.run(
        """
        const url = "/ws/?access_token=expired";
        const client = make({ url, reconnect: { initialDelayMs: 10 } });
        client.connect();
        await client.request("PING").catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, 200));
        """
    )
    assert watched.run("return states") == ["connecting", "open", "closed"]
    assert len(watched.urls) == 1


def test_forbidden_is_the_end(watched: Tab) -> None:
    """4403: another token would not help."""
    watched.run(
        """
        const auth = { getToken: () => "forbidden" };
        const client = make({ auth, reconnect: { initialDelayMs: 10 } });
        client.connect();
        await client.request("PING").catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, 200));
        """
    )
    assert watched.run("return [states, infos.at(-1).code]") == [
        ["connecting", "open", "closed"],
        4403,
    ]
    assert len(watched.urls) == 1


def test_token_provider_that_fails_is_asked_again(watched: Tab) -> None:
    assert watched.run(
        """
        let count = 0;
        const getToken = () => { if (++count === 1) throw new Error("offline"); return null; };
        const client = make({ auth: { getToken }, reconnect: { initialDelayMs: 10 } });
        await client.connect();
        return [errors, states];
        """
    ) == [[["auth", "offline"]], ["connecting", "reconnecting", "connecting", "open"]]


@pytest.mark.parametrize(
    ("position", "offered"),
    [("append", ["chat.v1", "token.anna"]), ("prepend", ["token.anna", "chat.v1"])],
)
def test_token_travels_as_a_subprotocol(watched: Tab, position: str, offered: list[str]) -> None:
    """The names are the client's to choose; the server is told its own in its settings."""
    assert watched.run(
        """
        const names = { protocolPrefix: "token.", protocolPosition: arg };
        const auth = { getToken: () => "anna", attach: "protocol", ...names };
        const client = make({ auth, protocols: ["chat.v1", "chat.v1", ""] });
        await client.connect();
        const { payload } = await client.request("WHO_AM_I");
        const { protocol } = client;
        await client.close();
        return [protocol, payload.offered, client.protocol];
        """,
        position,
    ) == ["chat.v1", offered, ""]


def test_token_that_no_subprotocol_may_be_is_not_printed(watched: Tab) -> None:
    name, message = watched.run(
        """
        const client = make({ auth: { getToken: () => "a/secret==", attach: "protocol" } });
        return client.connect().catch(told);
        """
    )
    assert name == "ConnectionClosedError"
    assert "secret" not in message
    assert message.endswith('use auth.attach "query".')
