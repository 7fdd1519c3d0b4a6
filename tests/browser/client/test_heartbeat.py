"""The JavaScript client notices a server that stands still."""

import os
import signal
from typing import Any

import pytest

from .pages import ClientServer, Tab

pytestmark = [pytest.mark.browser, pytest.mark.live]


def stopped(server: ClientServer, number: int) -> None:
    assert server.running is not None
    os.kill(server.running.process.pid, number)


def test_server_that_is_silent_is_noticed(alone: Tab, own_server: ClientServer) -> None:
    """A process that stands still keeps its sockets: only a heartbeat tells."""
    alone.run(
        """
        const heartbeat = { intervalMs: 100, timeoutMs: 200 };
        await make({ heartbeat, reconnect: { initialDelayMs: 100 } }).connect();
        await new Promise((resolve) => setTimeout(resolve, 600));
        """
    )
    assert alone.run("return states") == ["connecting", "open"]

    stopped(own_server, signal.SIGSTOP)
    alone.until("states.includes('reconnecting')")
    lost: dict[str, Any] = alone.run("return infos[2]")
    stopped(own_server, signal.SIGCONT)
    alone.until("client.state === 'open'")

    assert (lost["code"], lost["reason"]) == (4000, "HEARTBEAT_TIMEOUT")


def test_user_who_is_back_has_the_connection_probed(alone: Tab, own_server: ClientServer) -> None:
    """After a sleep the socket may be dead, and the next heartbeat far away."""
    alone.run("await make({ heartbeat: { intervalMs: 600_000, timeoutMs: 100 } }).connect();")
    stopped(own_server, signal.SIGSTOP)

    alone.run("document.dispatchEvent(new Event('visibilitychange'))")
    alone.until("states.includes('reconnecting')")

    stopped(own_server, signal.SIGCONT)
    assert alone.run("return states.slice(0, 2)") == ["connecting", "open"]


def test_close_over_a_dead_network_does_not_wait_for_ever(
    alone: Tab, own_server: ClientServer
) -> None:
    alone.run("await make().connect();")
    stopped(own_server, signal.SIGSTOP)

    waited = alone.run(
        """
        const started = performance.now();
        await client.close({ code: 1000 });
        return performance.now() - started;
        """
    )

    stopped(own_server, signal.SIGCONT)
    assert waited < 5_000
    assert alone.run("return states.slice(-2)") == ["closing", "closed"]
