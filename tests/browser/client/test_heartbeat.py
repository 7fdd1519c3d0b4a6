"""The JavaScript client notices a server that stands still."""

from typing import Any

import pytest

from .pages import ClientServer, Tab

pytestmark = [pytest.mark.browser, pytest.mark.live]


def test_server_that_is_silent_is_noticed(alone: Tab, own_server: ClientServer) -> None:
    """A process that stands still keeps its sockets: only a heartbeat tells."""
    alone.hold_time()
    alone.run(
        """
        const heartbeat = { intervalMs: 1000, timeoutMs: 200 };
        const reconnect = { initialDelayMs: 100, jitter: "none" };
        await make({ heartbeat, reconnect }).connect();
        """
    )
    alone.wait_for_pongs(1)
    for pings in (2, 3, 4):
        alone.pass_time(1000)
        alone.wait_for_pongs(pings)
        alone.pass_time(500)  # what was answered in time has no end
        assert alone.run("return states") == ["connecting", "open"]
        alone.run("await client.request('PING')")  # from here the next interval counts

    with own_server.standing_still():
        alone.pass_time(1199)
        assert alone.run("return client.state") == "open"
        alone.pass_time(1)
        lost: dict[str, Any] = alone.run("return infos[2]")
        assert alone.run("return states") == ["connecting", "open", "reconnecting"]
    alone.let_time_go()
    alone.until("client.state === 'open'")

    assert (lost["code"], lost["reason"]) == (4000, "HEARTBEAT_TIMEOUT")


def test_user_who_is_back_has_the_connection_probed(alone: Tab, own_server: ClientServer) -> None:
    """After a sleep the socket may be dead, and the next heartbeat far away."""
    alone.run("await make({ heartbeat: { intervalMs: 600_000, timeoutMs: 100 } }).connect();")
    alone.run("await client.request('PING')")  # nothing is on its way that could be a sign of life
    with own_server.standing_still():
        alone.run("document.dispatchEvent(new Event('visibilitychange'))")
        alone.until("states.includes('reconnecting')")

    assert alone.run("return states.slice(0, 2)") == ["connecting", "open"]


def test_close_over_a_dead_network_does_not_wait_for_ever(
    alone: Tab, own_server: ClientServer
) -> None:
    alone.hold_time()
    alone.run("await make().connect();")
    with own_server.standing_still():
        alone.run("globalThis.closed = client.close({ code: 1000 });")
        assert alone.run("return client.state") == "closing"

        alone.pass_time(5_000)

        assert alone.run("return states.slice(-2)") == ["closing", "closed"]
    alone.run("await closed;")
