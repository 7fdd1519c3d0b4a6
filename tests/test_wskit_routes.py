import io
import json
from typing import Any

import pytest
from channels.routing import URLRouter
from django.core.management import CommandError, call_command
from django.urls import path

from tests.shell_helpers import Number, Ping, Pong
from wskit_channels import ConnectionContext, Context, Router, Rpc, RpcContext
from wskit_channels.permissions import require_login, require_permission
from wskit_channels.routing.middleware import CallNext


class Ask(Rpc[Pong], type="ASK"):
    pass


async def count(ctx: ConnectionContext[Any], call_next: CallNext) -> None:
    await call_next()


router, guest = Router(), Router()
router.mount("guest/", guest)
guest.use(count)


@router.on(Ping)
async def ping(ctx: Context[Ping]) -> None: ...


@router.rpc(Ask, use=[require_login, require_permission("auth.add_user")])
async def ask(ctx: RpcContext[Ask]) -> Pong:
    return Pong()


@guest.on(Number)
def number(ctx: Context[Number]) -> None: ...


LINES = {
    name: function.__code__.co_firstlineno
    for name, function in globals().items()
    if name in ("ping", "ask", "number")
}

empty = Router()
patterns: list[Any] = [path("a/", router.as_asgi()), path("b/", empty.as_asgi())]
application = URLRouter(patterns)


def printed(*arguments: str) -> str:
    output = io.StringIO()
    call_command("wskit_routes", *arguments, stdout=output)
    return output.getvalue()


def test_the_table_names_everything(settings: Any) -> None:
    """DESIGN 10: the table of routes with module and line."""
    settings.ASGI_APPLICATION = f"{__name__}.application"

    rows = [[cell for cell in line.split("  ") if cell] for line in printed().splitlines()]

    here = __name__
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["a/", "3 routes"],
        ["TYPE", "KIND", "MESSAGE", "HANDLER", "WHERE", "MIDDLEWARE"],
        ["PING", "event", "tests.shell_helpers.Ping", "ping", f"{here}:{LINES['ping']}", "-"],
        [
            "ASK",
            "rpc",
            f"{here}.Ask",
            "ask",
            f"{here}:{LINES['ask']}",
            (
                "wskit_channels.permissions.require_login, "
                "wskit_channels.permissions.require_permission('auth.add_user')"
            ),
        ],
        [
            "guest/NUMBER",
            "event",
            "tests.shell_helpers.Number",
            "number",
            f"{here}:{LINES['number']}",
            f"{here}.count",
        ],
        [],
        ["b/", "0 routes"],
    ]


def test_the_columns_are_aligned() -> None:
    """A table is read down its columns."""
    _, *rows = printed("--router", f"{__name__}.router").splitlines()

    assert len({row.index("tests.") for row in rows if "tests.shell" in row}) == 1
    assert rows[0].index("MESSAGE") == rows[1].index("tests.shell_helpers.Ping")
    assert [row for row in rows if row != row.rstrip()] == []


def test_json_is_for_programs(settings: Any) -> None:
    """DESIGN 10: ``--json``."""
    settings.ASGI_APPLICATION = f"{__name__}.application"

    first, second = json.loads(printed("--json"))

    assert second == {
        "path": "b/",
        "consumer": "wskit_channels.consumer.WsKitConsumer",
        "routes": [],
    }
    assert {key: value for key, value in first.items() if key != "routes"} == {
        "path": "a/",
        "consumer": "wskit_channels.consumer.WsKitConsumer",
    }
    assert first["routes"][1] == {
        "type": "ASK",
        "kind": "rpc",
        "message": f"{__name__}.Ask",
        "handler": f"{__name__}.ask",
        "module": __name__,
        "line": LINES["ask"],
        "middleware": [
            "wskit_channels.permissions.require_login",
            "wskit_channels.permissions.require_permission('auth.add_user')",
        ],
    }


def test_a_router_can_be_named() -> None:
    """DESIGN 10: ``--router`` overrides."""
    assert printed("--router", f"{__name__}.empty") == "(no path)  0 routes\n"
    assert json.loads(printed("--json", "--router", f"{__name__}.empty")) == [
        {"path": "", "consumer": None, "routes": []}
    ]


def test_it_does_not_freeze_what_it_lists() -> None:
    """DESIGN 2: routers are frozen at the first connection, and by nothing else."""
    fresh = Router()
    globals()["fresh"] = fresh
    printed("--router", f"{__name__}.fresh")

    fresh.on(Ping)(ping)

    assert [route.type for route in fresh.routes()] == ["PING"]


def test_it_says_what_is_wrong(settings: Any) -> None:
    """STYLE 5: the way out, which is ``--router`` where none was given."""
    settings.ASGI_APPLICATION = None
    with pytest.raises(CommandError, match=r"^ASGI_APPLICATION is not set: .* See --router\.$"):
        printed()
    with pytest.raises(CommandError, match=r"^nowhere\.x cannot be imported: .*'nowhere'$"):
        printed("--router", "nowhere.x")
