from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.http import Http404
from pydantic import BaseModel

from example_project.chat.models import Room
from tests.shell_helpers import Client, Ping, Pong, connect
from wskit_channels import Context, Router, Rpc, RpcContext, WsKitError


class Call(Rpc[Pong], type="CALL"):
    pass


class Age(BaseModel):
    years: int


def raising(error: Any) -> Any:
    """An application whose PING and CALL raise."""
    router = Router()

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        raise error() if callable(error) else error

    @router.rpc(Call)
    async def call(ctx: RpcContext[Call]) -> Pong:
        raise error() if callable(error) else error

    return router.as_asgi()


async def answers(error: Any) -> list[tuple[str, Any]]:
    """What an event and a call that raise are answered with."""
    client: Client = await connect(raising(error))
    client.write("PING", {})
    found = [await client.receive()]
    client.write("CALL", correlationId="1")
    found.append(await client.receive())
    await client.disconnect()
    return found


NOT_FOUND = {"code": "NOT_FOUND", "message": "Not found", "retryable": False}
DENIED = {"code": "PERMISSION_DENIED", "message": "Permission denied", "retryable": False}
INTERNAL = {"code": "INTERNAL", "message": "Internal server error", "retryable": False}


@pytest.mark.parametrize(
    ("error", "payload"),
    [
        (Http404("no such page"), NOT_FOUND),
        (ObjectDoesNotExist("secret"), NOT_FOUND),
        (Room.DoesNotExist("secret"), NOT_FOUND),
        (PermissionDenied("secret"), DENIED),
        (WsKitError("NOT_FOUND"), NOT_FOUND),
        (Room.MultipleObjectsReturned("secret"), INTERNAL),
        (RuntimeError("secret"), INTERNAL),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_an_exception_is_answered_with(
    error: Exception, payload: dict[str, Any]
) -> None:
    """DESIGN 2: Django's own exceptions mean what they mean over HTTP; no text gets out."""
    assert await answers(error) == [("ERROR", payload), ("RPC_ERROR", payload)]


@pytest.mark.parametrize(
    ("error", "issues"),
    [
        (ValidationError("Too short"), [([], "Too short")]),
        (ValidationError(["One", "Two"]), [([], "One"), ([], "Two")]),
        (ValidationError("%(n)s is odd", params={"n": 3}), [([], "3 is odd")]),
        (
            ValidationError({"name": ["Too short", "Taken"], "age": "Negative"}),
            [
                (["payload", "name"], "Too short"),
                (["payload", "name"], "Taken"),
                (["payload", "age"], "Negative"),
            ],
        ),
    ],
    ids=["one", "several", "with parameters", "by field"],
)
async def test_djangos_validation_errors_have_issues(error: Any, issues: Any) -> None:
    """DESIGN 2: INVALID_ARGUMENT with issues, in the shape of PROTOCOL 3."""
    payload = {
        "code": "INVALID_ARGUMENT",
        "message": "Invalid message",
        "details": {
            "issues": [
                {"path": path, "message": message, "type": "invalid"} for path, message in issues
            ]
        },
        "retryable": False,
    }

    assert await answers(error) == [("ERROR", payload), ("RPC_ERROR", payload)]


async def test_there_are_at_most_twenty_issues() -> None:
    """PROTOCOL 3."""
    (_, event), (_, call) = await answers(ValidationError([f"No. {n}" for n in range(30)]))

    found = [issue["message"] for issue in event["details"]["issues"]]
    assert found == [f"No. {n}" for n in range(20)]
    assert call == event


async def test_a_pydantic_error_inside_a_handler_is_our_bug() -> None:
    """DESIGN 2: INTERNAL; only what the client sent can be the client's fault."""
    found = await answers(lambda: Age.model_validate({"years": "secret"}))

    assert found == [("ERROR", INTERNAL), ("RPC_ERROR", INTERNAL)]


async def test_a_projects_own_mapping_comes_first() -> None:
    """DESIGN 2: ``@router.exception`` maps an exception to a ``WsKitError``."""
    router = Router()

    @router.exception(Http404)
    def gone(error: Http404) -> WsKitError:
        return WsKitError("FAILED_PRECONDITION")

    @router.on(Ping)
    async def ping(ctx: Context[Ping]) -> None:
        raise Http404

    client = await connect(router.as_asgi())
    client.write("PING", {})
    _, payload = await client.receive()
    await client.disconnect()

    assert payload["code"] == "FAILED_PRECONDITION"
