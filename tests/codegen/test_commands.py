import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.urls import path

from wskit_channels import Router, message

SAMPLE = "tests.codegen.sample.handlers.router"


def run(command: str, *args: Any) -> str:
    out = io.StringIO()
    call_command(command, *map(str, args), stdout=out, no_color=True)
    return out.getvalue()


def failure(command: str, *args: Any) -> tuple[str, str]:
    """What a command that fails printed, and what it failed with."""
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(command, *map(str, args), stdout=out, no_color=True)
    return out.getvalue(), str(caught.value)


@pytest.mark.parametrize("command", ["wskit_typescript", "wskit_asyncapi"])
def test_a_file_is_what_is_printed_and_then_up_to_date(command: str, tmp_path: Path) -> None:
    """DESIGN 10: they write files, --check is for CI."""
    file = tmp_path / "made" / "contract"
    printed = run(command, "--router", SAMPLE)

    assert run(command, "--router", SAMPLE, "--out", file) == f"Wrote {file}.\n"
    assert file.read_text(encoding="utf-8") == printed
    checked = run(command, "--router", SAMPLE, "--out", file, "--check")
    assert checked == f"{file} is up to date.\n"


@pytest.mark.parametrize("command", ["wskit_typescript", "wskit_asyncapi"])
def test_without_a_router_it_is_the_one_that_the_project_serves(command: str) -> None:
    """DESIGN 10: found by importing ASGI_APPLICATION."""
    assert "SEND_MESSAGE" in run(command)


def test_a_stale_file_fails_the_check_and_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "contract.ts"
    file.write_text("old")

    told = failure("wskit_typescript", "--router", SAMPLE, "--out", file, "--check")

    assert told == ("", f"{file} is out of date: run the command without --check.")
    assert file.read_text() == "old"


def test_a_check_needs_a_file_that_can_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing"

    assert failure("wskit_asyncapi", "--check")[1] == "--check needs --out: the file to look at."
    said = failure("wskit_asyncapi", "--router", SAMPLE, "--check", "--out", missing)[1]
    assert said.startswith(f"{missing} cannot be read: ")


def committed(tmp_path: Path, change: Any) -> Path:
    """The sample's document as it was before a change."""
    document = json.loads(run("wskit_asyncapi", "--router", SAMPLE))
    change(document)
    file = tmp_path / "asyncapi.json"
    file.write_text(json.dumps(document))
    return file


def without_find(document: Any) -> None:
    del document["operations"]["receive.FIND"]


def with_another(document: Any) -> None:
    event = document["operations"]["receive.LEAVE"]
    document["operations"]["receive.GONE"] = event
    messages = document["components"]["messages"]
    messages["received.GONE"] = {**messages["received.LEAVE"], "name": "GONE"}
    document["operations"]["receive.GONE"] = {
        **event,
        "messages": [{"$ref": "#/channels/socket/messages/received.GONE"}],
    }


def test_a_stale_document_is_told_with_its_changes(tmp_path: Path) -> None:
    file = committed(tmp_path, with_another)

    told = failure("wskit_asyncapi", "--router", SAMPLE, "--out", file, "--check")

    assert told == (
        "breaking: GONE: no longer taken\n",
        f"{file} is out of date: run the command without --check.",
    )


def test_against_an_earlier_document_only_what_breaks_fails(tmp_path: Path) -> None:
    file = committed(tmp_path, without_find)
    said = run("wskit_asyncapi", "--router", SAMPLE, "--against", file)
    assert said == f"compatible: FIND: now taken\nNothing breaks clients of {file}.\n"

    file = committed(tmp_path, with_another)
    told = failure("wskit_asyncapi", "--router", SAMPLE, "--against", file)
    assert told == (
        "breaking: GONE: no longer taken\n",
        f"1 of 1 changes break clients of {file}.",
    )


@pytest.mark.parametrize("text", ["{}", "no json"])
def test_what_is_no_document_of_ours_is_not_compared(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)

    said = failure("wskit_asyncapi", "--router", SAMPLE, "--against", file)[1]

    assert said.startswith(f"{file} cannot be compared with: ")


def test_against_is_run_by_itself(tmp_path: Path) -> None:
    said = failure("wskit_asyncapi", "--against", "a.json", "--out", "b.json")[1]

    assert said == "--against goes with neither --out nor --check: run it by itself."


def test_the_document_has_the_projects_names() -> None:
    """PROTOCOL 9: names of cookie and token are settings."""
    options = ("--title", "Shapes", "--api-version", "3.0.0")
    with override_settings(SESSION_COOKIE_NAME="sid"):
        document = json.loads(run("wskit_asyncapi", *options))

    assert document["info"] == {"title": "Shapes", "version": "3.0.0"}
    assert document["channels"]["socket"]["address"] == "/ws/"
    assert document["components"]["securitySchemes"]["session"]["name"] == "sid"


first, second = Router[Any](), Router[Any]()
twice = [message("TWICE", {"a": int}), message("TWICE", {"a": str})]
patterns = [path("a/<int:number>/", first.as_asgi()), path("b/", second.as_asgi())]
one_pattern = patterns[:1]
contradicts = Router[Any]().sends(*twice)


def test_of_several_routers_one_is_to_be_chosen() -> None:
    said = failure("wskit_typescript", "--router", f"{__name__}.patterns")[1]

    assert said == (
        "There are several routers, at /a/<int:number>/, /b/. A file has the contract of one: "
        "choose it by --router."
    )


def test_parameters_of_the_path_are_written_as_asyncapi_has_them() -> None:
    document = json.loads(run("wskit_asyncapi", "--router", f"{__name__}.one_pattern"))

    assert document["channels"]["socket"]["address"] == "/a/{number}/"


def test_what_cannot_be_written_is_said_in_one_sentence() -> None:
    assert failure("wskit_asyncapi", "--router", "no.such")[1].startswith("no.such cannot be")
    said = failure("wskit_asyncapi", "--router", f"{__name__}.contradicts")[1]
    assert said.startswith("'TWICE' is sent as ")


def test_the_client_is_imported_from_where_one_says() -> None:
    text = run("wskit_typescript", "--router", SAMPLE, "--client", "@/ws/client.js")

    assert '} from "@/ws/client.js";\n' in text
