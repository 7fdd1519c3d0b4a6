"""Who may see the documentation page, and what it is told."""

import json
import re
import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import include, path, re_path, reverse

import wskit_channels
from wskit_channels import Context, Message, Router, Rpc, RpcContext, WsKitError, views
from wskit_channels.asgi import websocket_application
from wskit_channels.page import description

STATIC = Path(wskit_channels.__file__).parent / "static" / "wskit_channels" / "docs"
PAGES = ["/docs/", "/docs/contract.json", "/docs/asyncapi/1.json"]

urlpatterns = [path("admin/", admin.site.urls), path("docs/", include("wskit_channels.urls"))]


class Said(Message, type="HEARD"):
    text: str


class Answer(Message, type="ANSWER"):
    pass


class Say(Message, type="SAY"):
    """Say it."""

    text: str


class Ask(Rpc[Answer, int], type="ASK"):
    pass


class RoomFull(WsKitError, code="DOCS_ROOM_FULL", retryable=True):
    """Too many are in there."""


router: Router[Any] = Router(subprotocols=("chat.v1",))


@router.on(Say, sends=[Said])
async def say(ctx: Context[Say, Any]) -> None:
    """Tell everybody."""


@router.rpc(Ask)
async def ask(ctx: RpcContext[Ask, Any]) -> Answer:
    return Answer()


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, settings: Any) -> types.ModuleType:
    """A project that serves ``router`` at one path, its pages at ``/docs/``."""
    module = types.ModuleType("docs_project")
    monkeypatch.setitem(sys.modules, "docs_project", module)
    settings.ASGI_APPLICATION = "docs_project.application"
    settings.ROOT_URLCONF = __name__
    serve(module, path("ws/", router.as_asgi()))
    return module


def serve(module: types.ModuleType, *patterns: Any) -> None:
    socket = websocket_application(list(patterns))
    vars(module)["application"] = ProtocolTypeRouter({"websocket": socket})


def user(name: str, **facts: Any) -> Any:
    return get_user_model().objects.create_user(name, **facts)


@pytest.fixture
def staff_client(client: Client, db: None) -> Client:
    client.force_login(user("boss", is_staff=True))
    return client


# -- who may see it


@pytest.mark.parametrize("url", PAGES)
def test_debug_lets_everybody_in(client: Client, settings: Any, url: str) -> None:
    settings.DEBUG = True

    assert client.get(url).status_code == 200


@pytest.mark.parametrize("url", PAGES)
def test_staff_is_let_in(staff_client: Client, url: str) -> None:
    answer = staff_client.get(url)

    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize("url", PAGES)
@pytest.mark.django_db
def test_other_users_are_refused(client: Client, url: str) -> None:
    client.force_login(user("guest"))

    assert client.get(url).status_code == 403


@pytest.mark.parametrize("url", PAGES)
def test_who_is_not_signed_in_is_sent_to_the_admins_login(client: Client, url: str) -> None:
    answer = client.get(f"{url}?a=1")

    assert isinstance(answer, HttpResponse)
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={url}%3Fa%3D1")
    assert answer["Cache-Control"] == "no-store"


def test_without_an_admin_it_is_login_url(client: Client, settings: Any) -> None:
    settings.ROOT_URLCONF = "wskit_channels.urls"
    settings.LOGIN_URL = "/enter/"
    request = RequestFactory().get("/docs/")
    request.user = AnonymousUser()

    assert views.index(request)["Location"] == "/enter/?next=/docs/"


def test_a_project_without_users_has_it_under_debug_only(settings: Any) -> None:
    request = RequestFactory().get("/docs/")

    with pytest.raises(PermissionDenied):
        views.index(request)
    settings.DEBUG = True
    assert views.index(request).status_code == 200


def test_it_can_only_be_read(staff_client: Client) -> None:
    assert [staff_client.post(url).status_code for url in PAGES] == [405, 405, 405]


# -- a strict Content-Security-Policy


class Inline(HTMLParser):
    """Whatever a policy without 'unsafe-inline' would forbid, and where the rest comes from."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in given):
            self.found.append(tag)
        self.found += [name for name in given if name == "style" or name.startswith("on")]
        if tag in ("script", "link", "img"):
            self.sources.append(given.get("src") or given.get("href") or "")


def test_nothing_is_inline_or_from_elsewhere(staff_client: Client) -> None:
    page = Inline()
    page.feed(staff_client.get(PAGES[0]).content.decode())

    assert page.found == []
    assert len(page.sources) == 5
    assert all(url.startswith("/static/wskit_channels/docs/") for url in page.sources)


def test_modules_import_only_each_other_and_write_no_markup() -> None:
    modules = {file.name: file.read_text() for file in STATIC.glob("*.js")}
    imported = {name for text in modules.values() for name in re.findall(r'from "(.+?)"', text)}

    assert imported == {f"./{name}" for name in modules.keys() - {"main.js"}}
    assert [name for name, text in modules.items() if re.search(r"innerHTML|\beval\(", text)] == []


def test_sheets_load_nothing() -> None:
    sheets = [file.read_text() for file in STATIC.glob("*.css")]

    assert len(sheets) == 2
    assert [text for text in sheets if re.search(r"url\(|@import", text)] == []


# -- what the page is told


def test_contract_names_routes_and_where_they_are_served(staff_client: Client) -> None:
    told = staff_client.get(PAGES[1]).json()

    assert told["problem"] == ""
    assert told["token"] == {"parameter": "access_token", "prefix": "bearer."}
    (served,) = told["routers"]
    assert served["paths"] == [
        {"pattern": "ws/", "template": "/ws/", "prefix": "/", "parameters": [], "session": True}
    ]
    assert served["subprotocols"] == ["chat.v1"]
    ask_route, say_route = served["routes"]
    line = say_route.pop("source").removeprefix(f"{__name__}:")
    assert line.isdigit()
    assert say_route == {
        "message": {
            "type": "SAY",
            "name": "Say",
            "doc": "Say it.",
            "payload": {"$ref": "#/$defs/Say"},
            "meta": None,
        },
        "doc": "Tell everybody.",
        "response": None,
        "progress": None,
        "sends": ["HEARD"],
        "idempotent": False,
    }
    assert (ask_route["response"]["type"], ask_route["progress"]) == ("ANSWER", {"type": "integer"})
    assert "HEARD" in [message["type"] for message in served["sent"]]
    assert "DOCS_ROOM_FULL" in [error["code"] for error in served["errors"]]
    assert "$ws:bye" in [frame["type"] for frame in told["control"]]


@pytest.mark.parametrize(
    ("pattern", "template", "parameters"),
    [
        (path("a/<slug:room>/<int:n>/", router.as_asgi()), "/a/{room}/{n}/", ["slug", "int"]),
        (path("a/<room>/", router.as_asgi()), "/a/{room}/", ["str"]),
        (re_path(r"^a/(?P<room>\w+)/b\.c$", router.as_asgi()), "/a/{room}/b.c", ["regex"]),
        (re_path(r"^a/(\d+|x)/$", router.as_asgi()), None, []),
    ],
)
def test_paths_become_templates(
    project: types.ModuleType, pattern: Any, template: str | None, parameters: list[str]
) -> None:
    serve(project, pattern)

    (told,) = description()["routers"][0]["paths"]

    assert (told["template"], [one["kind"] for one in told["parameters"]]) == (template, parameters)


def test_a_router_at_two_paths_is_one(project: types.ModuleType) -> None:
    other: Router[Any] = Router()
    serve(
        project,
        path("one/", router.as_asgi()),
        path("other/", other.as_asgi()),
        path("two/", router.as_asgi()),
    )

    told = description()["routers"]

    assert [[at["pattern"] for at in one["paths"]] for one in told] == [
        ["one/", "two/"],
        ["other/"],
    ]


def test_no_router_is_said_and_not_raised(staff_client: Client, settings: Any) -> None:
    settings.ASGI_APPLICATION = "nowhere.application"

    told = staff_client.get(PAGES[1]).json()

    assert (told["routers"], "nowhere.application" in told["problem"]) == ([], True)
    assert staff_client.get(PAGES[0]).status_code == 200
    assert staff_client.get(PAGES[2]).status_code == 404


def test_a_message_without_schema_is_said_and_not_raised(
    project: types.ModuleType, staff_client: Client
) -> None:
    class Odd(Message, type="ODD"):
        model_config = {"arbitrary_types_allowed": True}
        when: types.SimpleNamespace

    broken: Router[Any] = Router()

    @broken.on(Odd)
    async def odd(ctx: Context[Odd, Any]) -> None:
        pass

    serve(project, path("ws/", router.as_asgi()), path("odd/", broken.as_asgi()))

    fine, bad = staff_client.get(PAGES[1]).json()["routers"]

    assert (fine["problem"], "has no JSON Schema" in bad["problem"]) == ("", True)
    assert staff_client.get("/docs/asyncapi/2.json").status_code == 404


def test_asyncapi_is_a_file_to_keep(staff_client: Client) -> None:
    answer = staff_client.get(PAGES[2])
    document = json.loads(answer.content)

    assert answer["Content-Disposition"] == 'attachment; filename="asyncapi.json"'
    assert document["channels"]["socket"]["address"] == "/ws/"
    assert "tokenParameter" not in document["components"]["securitySchemes"]
    assert staff_client.get("/docs/asyncapi/2.json").status_code == 404


# -- the example


@pytest.mark.parametrize(("debug", "staff", "shown"), [(1, 0, 1), (0, 1, 1), (0, 0, 0)])
@pytest.mark.django_db
def test_the_example_links_to_it_for_those_who_may_see_it(
    client: Client, settings: Any, debug: int, staff: int, shown: int
) -> None:
    settings.ROOT_URLCONF = "example_project.urls"
    settings.DEBUG = bool(debug)
    client.force_login(user("somebody", is_staff=bool(staff)))

    html = client.get("/").content.decode()

    assert (f'href="{reverse("wskit_channels:docs")}"' in html) is bool(shown)
