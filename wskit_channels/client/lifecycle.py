"""
The client's connections, one after the other: dial, serve, decide whether to dial again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wskit_channels.client.auth import Target
from wskit_channels.client.errors import ConnectFailed, ConnectionClosed
from wskit_channels.client.hooks import Hooks, State
from wskit_channels.client.link import Dial, DialFailed, Link, LinkClosed
from wskit_channels.client.policy import STALE, Ended, Retries
from wskit_channels.client.settings import ClientSettings
from wskit_channels.client.traffic import Traffic
from wskit_channels.protocol.heartbeat import Beat, Heartbeat, Pulse

__all__ = ["Lifecycle"]


class Lifecycle:
    """
    Owns one task from ``start()`` until the client is closed or gives up.

    Everything that can be waited for, a token included, is waited for inside that task, so
    that closing ends it wherever it is.
    """

    def __init__(
        self,
        url: str,
        settings: ClientSettings,
        traffic: Traffic,
        hooks: Hooks,
        *,
        dial: Dial,
        random: Callable[[], float],
        on_end: Callable[[ConnectionClosed], object],
    ) -> None:
        self._url = url
        self._settings = settings
        self._traffic = traffic
        self._hooks = hooks
        self._dial = dial
        self._random = random
        self._on_end = on_end
        self._retries = self._new_retries()
        self._task: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._heard_at = 0.0
        self._stale = False
        self.state: State = "closed"
        self.subprotocol: str | None = None
        self.final: ConnectionClosed | None = None
        """How the client came to its end, once it has."""
        self.last: Ended | None = None
        """How the latest connection or attempt ended."""

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to connect. The caller sees to it that the lifecycle is not running."""
        self._retries = self._new_retries()
        self.final = self.last = None
        self._traffic.started()
        self._become("connecting")
        self._task = asyncio.create_task(self._run())

    async def opened(self, within: float | None) -> None:
        """
        Wait until a connection stands.

        Raises:
            ConnectFailed: If there is none in time.
            ConnectionClosed: If there will be none.
        """
        if self.state == "open":
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            async with asyncio.timeout(within):
                await waiter
        except TimeoutError:
            cause = self.last.cause if self.last is not None else None
            text = f"no connection within {within:g} s" + (f": {cause}" if cause else "")
            raise ConnectFailed(text) from cause
        finally:
            self._waiting.discard(waiter)

    async def close(self) -> None:
        """End the connection, and every attempt to make one."""
        if self._task is None or not self.running:
            return
        self._become("closing")
        if self._link is not None:
            await self._link.close(1000, "")  # the reader sees it end, and the task too
        else:
            self._task.cancel()
        if self._task is not asyncio.current_task():  # what gives the token may close us
            await asyncio.wait({self._task})

    async def wait_ended(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})

    def _new_retries(self) -> Retries:
        auth = self._settings.credentials
        can_refresh = auth is not None and auth.can_refresh
        policy = self._settings.reconnect_policy
        return Retries(policy, can_refresh=can_refresh, random=self._random)

    async def _run(self) -> None:
        ended = Ended(1000)
        try:
            while True:
                self.last = ended = await self._connect_and_serve()
                delay = self._retries.next_delay(ended, self._now())
                if delay is None or self.state == "closing":
                    break
                self._become("reconnecting")
                await asyncio.sleep(delay)
        except asyncio.CancelledError:
            ended = Ended(1000)
            raise
        finally:
            self._finish(ended)

    def _finish(self, ended: Ended) -> None:
        closing = self.state == "closing"
        explanation = "the client was closed" if closing else _explain(ended)
        code, reason = (1000, "") if closing else (ended.code, ended.reason)
        self.final = ConnectionClosed(code, reason, explanation)
        self.final.__cause__ = ended.cause
        self._traffic.stopped(self.final, keep_messages=not closing)
        self._on_end(self.final)
        self._become("closed")
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(self.final.again())

    async def _connect_and_serve(self) -> Ended:
        try:
            link = await self._connect()
        except DialFailed as error:
            return Ended(status=error.status, cause=error)
        except Exception as error:  # noqa: BLE001 - a token source may raise anything
            self._hooks.failed(error, "what gives the token or the headers")
            return Ended(cause=error)
        self._link, self.subprotocol = link, link.subprotocol
        self._retries.opened(self._now())
        self._traffic.opened(lambda: self._become("open"))
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        ended = Ended()
        try:
            ended = await self._serve(link)
        finally:
            self._link = None
            self._traffic.lost(ended)
        return ended

    async def _connect(self) -> Link:
        headers = self._settings.headers
        headers = headers() if callable(headers) else headers
        target = Target(self._url, dict(headers), list(self._settings.subprotocols))
        if (auth := self._settings.credentials) is not None:
            target = await auth.apply(target)
        return await self._dial(target)

    async def _serve(self, link: Link) -> Ended:
        """Carry frames both ways until the link ends; how it did."""
        self._stale, self._heard_at = False, self._now()
        helpers = [asyncio.create_task(self._write(link))]
        if (heartbeat := self._settings.heartbeat) is not None:
            helpers.append(asyncio.create_task(self._watch(link, heartbeat)))
        try:
            while True:
                text = await link.receive()
                self._heard_at = self._now()
                if (bye := self._traffic.receive(text)) is not None:
                    self._retries.said_bye(bye)
                self._retries.heard()
        except LinkClosed as closed:
            if self._stale:
                return Ended(STALE, "HEARTBEAT_TIMEOUT")
            return Ended(closed.code, closed.reason)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
            link.abort()

    async def _write(self, link: Link) -> None:
        # Between this look and the write nothing else runs: what is taken is written.
        while link.is_open:
            text = self._traffic.take()
            if text is None:
                await self._traffic.wait_for_work()
                continue
            self._hooks.frame("out", text)
            try:
                await link.send(text)
            except LinkClosed:
                return  # the reader learns how

    async def _watch(self, link: Link, heartbeat: Heartbeat) -> None:
        """Ping a server that is silent, and leave it when it stays so."""
        pulse = Pulse(heartbeat, now=self._now())
        while True:
            await asyncio.sleep(pulse.due - self._now())
            beat = pulse.check(heard_at=self._heard_at, now=self._now())
            if beat is Beat.PING:
                self._traffic.ping()
            elif beat is Beat.STALE:
                self._stale = True
                link.abort()
                return

    def _become(self, state: State) -> None:
        if state != self.state and not (self.state == "closing" and state != "closed"):
            self.state = state
            self._hooks.state(state)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _explain(ended: Ended) -> str:
    if ended.cause is not None:
        return str(ended.cause)
    return "the client does not connect again"
