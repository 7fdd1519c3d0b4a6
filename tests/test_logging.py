import ast
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.urls import path

import wskit_channels
from tests.canaries import CANARY, CanaryWatch, said_by
from tests.shell_helpers import Caught, Client, RemoteLayer, connect, layer_in_use, until
from wskit_channels import Context, Limits, Message, Router, Rpc, RpcContext
from wskit_channels.asgi import websocket_application

PAYLOAD = f"{CANARY}-payload\r\n\x1b[31mWARNING forged\u2028"


class Tell(Message, type="TELL"):
    text: str


class Told(Message, type="TOLD"):
    text: str = ""
    number: float = 0.0


class Ask(Rpc[Told], type="ASK"):
    text: str


class Broken(Exception):
    """A bug of the application's, whose text gives nothing away."""


Drive = Callable[[Client], Awaitable[None]]


@dataclass
class Failure:
    """One way in which things go wrong, and the line that the operator gets."""

    line: str
    level: int
    router: Router[Any] = field(default_factory=Router)
    drive: Drive | None = None
    accepted: bool = True
    closes: bool = False


FAILURES: dict[str, Callable[[], Failure]] = {}


def failure(make: Callable[[], Failure]) -> Callable[[], Failure]:
    FAILURES[make.__name__.replace("_", " ")] = make
    return make


async def tell(client: Client) -> None:
    client.write("TELL", {"text": PAYLOAD}, correlationId=f"{CANARY}-id")
    client.write("ASK", {"text": PAYLOAD}, correlationId=f"{CANARY}-id")


def breaking(name: str, line: str, level: int = logging.ERROR, **options: Any) -> Failure:
    """A failure of a hook that raises."""
    found = Failure(line, level, drive=tell, **options)

    async def hook(*args: Any) -> None:
        raise Broken

    getattr(found.router, name)(hook)
    return found


@failure
def a_handler_raises() -> Failure:
    found = Failure("handler failed: type=%s client=%s", logging.ERROR, drive=tell)

    @found.router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        text = ctx.payload.text  # what a traceback must not show
        raise Broken(len(text))

    return found


@failure
def a_plain_handler_raises() -> Failure:
    found = Failure("handler failed: type=%s client=%s", logging.ERROR, drive=tell)

    @found.router.rpc(Ask)
    def handler(ctx: RpcContext[Ask]) -> Told:
        raise Broken

    return found


@failure
def a_call_is_not_answered() -> Failure:
    line = "the handler finished without a reply: type=%s"
    found = Failure(line, logging.ERROR, drive=tell)

    @found.router.rpc(Ask)
    async def handler(ctx: RpcContext[Ask]) -> None: ...

    return found


@failure
def a_call_fails_after_its_answer() -> Failure:
    line = "a call failed after it had ended: %s"
    found = Failure(line, logging.WARNING, drive=tell)

    @found.router.rpc(Ask)
    async def handler(ctx: RpcContext[Ask]) -> None:
        ctx.reply(Told(text=ctx.payload.text))
        raise Broken

    return found


@failure
def a_call_is_answered_twice() -> Failure:
    found = Failure("answer dropped: %s", logging.DEBUG, drive=tell)

    @found.router.rpc(Ask)
    async def handler(ctx: RpcContext[Ask]) -> None:
        ctx.reply(Told(text=ctx.payload.text))
        ctx.reply(Told(text=ctx.payload.text))

    return found


@failure
def middleware_drops_an_event() -> Failure:
    found = Failure("%s was dropped by middleware %s", logging.DEBUG, drive=tell)

    @found.router.on(Tell, use=[lambda ctx, call_next: None])
    async def handler(ctx: Context[Tell]) -> None: ...

    return found


@failure
def a_message_cannot_be_published() -> Failure:
    found = Failure("a message cannot be published", logging.ERROR, drive=tell)

    @found.router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        await ctx.publish("topic", Told(text=ctx.payload.text, number=float("nan")))

    return found


@failure
def authorising_a_publish_fails() -> Failure:
    found = Failure("authorising a publish failed", logging.ERROR, drive=tell)

    @found.router.authorize_topic
    async def authorize(action: str, topic: str, ctx: Any) -> bool:
        raise Broken

    @found.router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        await ctx.publish(f"{CANARY}-topic", Told(text=ctx.payload.text))

    return found


@failure
def a_subscription_fails() -> Failure:
    found = Failure("joining a group failed: %s", logging.WARNING, drive=tell)

    @found.router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        await ctx.topics.subscribe(f"{CANARY}-topic")

    return found


@failure
def a_publish_fails() -> Failure:
    line = "publishing through the channel layer failed: %s"
    found = Failure(line, logging.WARNING, drive=tell)

    @found.router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        await ctx.publish(f"{CANARY}-topic", Told(text=ctx.payload.text))

    return found


@failure
def details_are_left_out() -> Failure:
    found = Failure("left out of a %s error: %s", logging.WARNING, drive=tell)

    @found.router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        ctx.error("NOT_FOUND", ctx.payload.text, details={"a\nb": Broken(ctx.payload.text)})

    return found


@failure
def a_spawned_task_fails() -> Failure:
    found = Failure("a spawned task failed", logging.ERROR, drive=tell)

    async def task() -> None:
        raise Broken

    @found.router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        ctx.spawn(task())

    return found


@failure
def a_cancel_callback_fails() -> Failure:
    found = Failure("cancel callback failed: callback=%s", logging.ERROR)

    def callback() -> None:
        raise Broken

    @found.router.rpc(Ask)
    async def handler(ctx: RpcContext[Ask]) -> None:
        ctx.on_cancel(callback)
        ctx.progress(ctx.payload.text)
        await ctx.wait_cancelled()

    async def drive(client: Client) -> None:
        await tell(client)
        while (await client.frame())["type"] != "$ws:rpc-progress":
            pass
        client.write("$ws:abort", correlationId=f"{CANARY}-id")

    found.drive = drive
    return found


@failure
def on_error_raises() -> Failure:
    found = breaking("on_error", "hook failed: hook=%s")

    @found.router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        raise Broken

    return found


@failure
def on_publish_raises() -> Failure:
    found = breaking("on_publish", "hook failed: hook=%s")

    @found.router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        await ctx.publish("topic", Told(text=ctx.payload.text))

    return found


@failure
def on_open_raises() -> Failure:
    return breaking("on_open", "on_open failed", closes=True)


@failure
def on_close_raises() -> Failure:
    return breaking("on_close", "on_close failed: hook=%s")


@failure
def on_upgrade_raises() -> Failure:
    return breaking("on_upgrade", "hook failed: hook=%s")


@failure
def authenticate_raises() -> Failure:
    return breaking("authenticate", "authentication failed: hook=%s", closes=True)


@failure
def a_frame_is_too_large() -> Failure:
    router = Router(limits=Limits(max_payload_bytes=64))
    return Failure("limit exceeded: %s %s over %s", logging.INFO, router, tell)


REFUSED = [
    PAYLOAD,
    f"{CANARY} \ud800".encode("utf-8", "surrogatepass"),
    json.dumps([PAYLOAD]),
    json.dumps({"type": PAYLOAD}),
    json.dumps({"type": f"$ws:{PAYLOAD}"}),
    json.dumps({"type": "TELL", "payload": {"text": 1, PAYLOAD: 1}}),
    json.dumps({"type": "TELL", PAYLOAD: PAYLOAD, "payload": {"text": PAYLOAD}}),
    json.dumps({"type": "TELL", "meta": {PAYLOAD: 1}, "payload": {"text": PAYLOAD}}),
    json.dumps({"type": "ASK", "meta": {"correlationId": 300 * PAYLOAD}}),
    json.dumps({"type": "ASK", "meta": {"timeoutMs": PAYLOAD}}),
    f'{{"type": "TELL", "payload": {{"text": NaN, "{CANARY}": 1e999}}}}',
]


@failure
def too_many_frames_are_refused() -> Failure:
    line = "closing: code=%s reason=%s client=%s"
    router = Router(limits=Limits(max_protocol_errors=len(REFUSED) - 2))
    found = Failure(line, logging.INFO, router, closes=True)

    @router.on(Tell)
    async def on_tell(ctx: Context[Tell]) -> None: ...

    @router.rpc(Ask)
    async def on_ask(ctx: RpcContext[Ask]) -> None: ...

    async def drive(client: Client) -> None:
        for frame in REFUSED:
            kind = "text" if isinstance(frame, str) else "bytes"
            client.inbox.put_nowait({"type": "websocket.receive", kind: frame})

    found.drive = drive
    return found


@pytest.fixture
def everything() -> Iterator[Caught]:
    """Every record that anything logs meanwhile."""
    root, ours, caught = logging.getLogger(), logging.getLogger("wskit_channels"), Caught()
    levels = root.level, ours.level
    root.addHandler(caught)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    yield caught
    root.removeHandler(caught)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def failing_layer() -> RemoteLayer:
    layer = RemoteLayer()
    layer.break_down("group_add", "group_send", "receive")
    return layer


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_gives_nothing_away(name: str, everything: Caught) -> None:
    """DESIGN 10: never a payload, a token, a cookie or a query; PROTOCOL 9."""
    found = FAILURES[name]()
    patterns: list[Any] = [path("", found.router.as_asgi())]
    application = websocket_application(patterns, session=False, allowed_origins=["*"])
    with layer_in_use(failing_layer()):
        client = await connect(
            application,
            headers=[
                (b"cookie", f"sessionid={CANARY}-cookie".encode()),
                (b"authorization", f"Bearer {CANARY}-header".encode()),
                (b"user-agent", f"{CANARY}\x1b[31m".encode()),
            ],
            subprotocols=["chat", f"bearer.{CANARY}-offer"],
            query=f"q={CANARY}-query&access_token={CANARY}-token",
        )
        if found.drive is not None and not found.closes:
            await found.drive(client)
            if found.level != logging.ERROR or "on_close" not in found.line:
                await until(lambda: found.line in {one.msg for one in everything.records})
            await client.disconnect(4000, f"{CANARY}-reason\r\n")
        else:
            if found.drive is not None:
                await found.drive(client)
            await client.ended()

    assert (found.line, found.level) in {(one.msg, one.levelno) for one in everything.records}
    lines = [logging.Formatter().format(one) for one in everything.records]
    assert [line for line in lines if CANARY in line] == []
    assert [one for one in map(said_by, everything.records) if CANARY in one] == []
    ours = [one for one in everything.records if one.name.startswith("wskit_channels")]
    assert [one.getMessage() for one in ours if not one.getMessage().isprintable()] == []


async def test_an_exceptions_own_text_is_the_applications(everything: Caught) -> None:
    """docs/logging.md: a traceback says what the application put into its exception."""
    router = Router()

    @router.on(Tell)
    async def handler(ctx: Context[Tell]) -> None:
        raise Broken(f"cannot tell {ctx.payload.text}")

    client = await connect(router.as_asgi())
    client.write("TELL", {"text": PAYLOAD})
    assert (await client.receive())[0] == "ERROR"
    await client.disconnect()

    ours = [one for one in everything.records if one.name.startswith("wskit_channels")]
    (failed,) = [one for one in ours if one.msg.startswith("handler failed")]
    assert failed.exc_info is not None
    assert CANARY in str(failed.exc_info[1])
    assert CANARY not in said_by(failed)


def test_the_watch_over_the_run_would_see_one() -> None:
    """tests/conftest.py: the run fails if a canary was logged, as text or in an extra field."""
    watch = CanaryWatch()
    logger = logging.Logger("wskit_channels.test")  # noqa: LOG001 - this test's own
    logger.addHandler(watch)

    logger.warning("fine")
    logger.warning("%s", CANARY)
    logger.warning("extra", extra={"token": CANARY})

    assert len(watch.found) == 2


# -- what is documented

PACKAGE = Path(wskit_channels.__file__).parent
DOCS = PACKAGE.parent / "docs" / "logging.md"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def levels_in(source: str) -> set[tuple[str, str]]:
    """The loggers that a module logs by, each with a level."""
    tree, own, found = ast.parse(source), "", set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "logging.getLogger"
            and isinstance(node.args[0], ast.Constant)
        ):
            own = str(node.args[0].value)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        level, by = node.func.attr, ast.unparse(node.func.value)
        if level in LEVELS and re.search(r"(^|\.)_?(logger|log)$", by):
            name = own if by == "logger" else "wskit_channels.connection"
            found.add((name, "error" if level == "exception" else level))
    return found


def test_every_logger_and_level_is_documented() -> None:
    """Issue: loggers and levels documented; a row of docs/logging.md each."""
    used: set[tuple[str, str]] = set()
    for module in PACKAGE.rglob("*.py"):
        used |= levels_in(module.read_text())

    row = re.compile(r"^\| `(wskit_channels[\w.]*)` \| ([a-z, ]+) \|", re.MULTILINE)
    rows = row.findall(DOCS.read_text())
    documented = {(name, level) for name, levels in rows for level in levels.split(", ")}

    assert documented == used
