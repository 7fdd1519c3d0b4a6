import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

from tests.helpers import named
from wskit_channels import Router
from wskit_channels.asgi import websocket_application
from wskit_channels.consumer import WsKitConsumer
from wskit_channels.discovery import FoundRouter, RouterNotFound, routers, served_routers

one, two = Router(), Router()


class Own(WsKitConsumer):
    router = one


class Starlette:
    """A framework around Channels, as far as it keeps what it passes on to."""

    def __init__(self, app: Any = None, routes: Any = ()) -> None:
        self.app = app
        self.path = "/mounted"
        self.routes = routes


Project = Callable[..., types.ModuleType]


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Project:
    """A module of a project; its ``application`` is what the server serves."""

    def make(**names: Any) -> types.ModuleType:
        module = types.ModuleType("project")
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, "project", module)
        settings.ASGI_APPLICATION = "project.application"
        return module

    return make


def at(url: str, router: Router[Any] = one, **options: Any) -> Any:
    return path(url, router.as_asgi(**options))


def served(url: str, router: Router[Any] = one, **facts: Any) -> FoundRouter:
    return FoundRouter(url, router, WsKitConsumer, **facts)


# -- what ASGI_APPLICATION serves


def test_the_example_project_serves_one() -> None:
    """DESIGN 10: found by importing ASGI_APPLICATION and listing what it serves."""
    from example_project.chat.handlers import router

    found = FoundRouter("ws/", router, WsKitConsumer, authenticates=True, checks_origin=True)
    assert routers() == [found]


def test_routers_are_found_with_their_paths(project: Project) -> None:
    """DESIGN 10: paths of nested routers are put together; a dead end is passed over."""
    inner: list[Any] = [at("a/"), re_path(r"b/(?P<x>\d+)/$", two.as_asgi())]
    nested: Any = URLRouter(inner)
    http: Any = get_asgi_application()
    routes: list[Any] = [at(""), path("in/", nested), path("http/", http)]
    project(application=URLRouter(routes))

    assert routers() == [served(""), served("in/a/"), served(r"in/b/(?P<x>\d+)/$", two)]


def test_a_router_served_twice_is_found_twice(project: Project) -> None:
    """Each place may be guarded in its own way."""
    application = one.as_asgi()
    stack: Any = AuthMiddlewareStack(application)
    routes: list[Any] = [path("open/", application), path("in/", stack)]
    project(application=URLRouter(routes))

    assert routers() == [served("open/"), served("in/", authenticates=True)]


@pytest.mark.parametrize(
    ("around", "authenticates", "checks_origin"),
    [
        (lambda app: app, False, False),
        (AuthMiddlewareStack, True, False),
        (AllowedHostsOriginValidator, False, True),
        (lambda app: AllowedHostsOriginValidator(AuthMiddlewareStack(app)), True, True),
        (lambda app: websocket_application([path("", app)]), True, True),
        (lambda app: websocket_application([path("", app)], session=False), False, True),
        (lambda app: ProtocolTypeRouter({"websocket": app}), False, False),
        (Starlette, False, False),
    ],
)
def test_what_stands_around_is_told(
    project: Project, around: Any, authenticates: bool, checks_origin: bool
) -> None:
    """For the check that cookies are never used without an origin check."""
    project(application=around(URLRouter([at("ws/")])))

    assert routers() == [
        served("ws/", authenticates=authenticates, checks_origin=checks_origin),
    ]


def test_routes_of_starlette_are_looked_into(project: Project) -> None:
    """A ``Mount`` has a path and an app."""
    project(application=Starlette(routes=[Starlette(URLRouter([at("ws/")]))]))

    assert routers() == [served("/mountedws/")]


def test_an_application_inside_itself_ends(project: Project) -> None:
    """A loop of applications is looked into once."""
    outer = Starlette()
    outer.app = ProtocolTypeRouter({"http": outer, "websocket": URLRouter([at("ws/")])})
    project(application=outer)

    assert routers() == [served("ws/")]


def test_the_consumer_is_told(project: Project) -> None:
    """A subclass serves the router of its class, or the one it is given."""
    routes: list[Any] = [path("own/", Own.as_asgi()), path("two/", Own.as_asgi(router=two))]
    project(application=URLRouter(routes))

    assert routers() == [FoundRouter("own/", one, Own), FoundRouter("two/", two, Own)]


# -- what a dotted path leads to


@pytest.mark.parametrize("dotted", ["project.thing", "project:thing"])
def test_a_router_can_be_named(project: Project, dotted: str) -> None:
    """DESIGN 10: ``--router`` overrides; written as for daphne, too."""
    project(thing=one)

    assert routers(dotted) == [FoundRouter("", one, None)]


@pytest.mark.parametrize(
    ("thing", "found"),
    [
        (lambda: Own, [FoundRouter("", one, Own)]),
        (one.as_asgi, [served("")]),
        (lambda: [at("a/"), at("b/", two)], [served("a/"), served("b/", two)]),
        (lambda: URLRouter([at("a/")]), [served("a/")]),
    ],
    ids=["consumer", "application", "patterns", "URLRouter"],
)
def test_what_serves_a_router_can_be_named(
    project: Project, thing: Any, found: list[FoundRouter]
) -> None:
    """DESIGN 10."""
    project(thing=thing())

    assert routers("project.thing") == found


# -- what is not there


@pytest.mark.parametrize("thing", [None, "text", 7, object(), [], int, URLRouter([])], ids=named)
def test_what_serves_no_router_is_said(project: Project, thing: Any) -> None:
    """STYLE 5: what, where and the way out."""
    project(thing=thing)

    with pytest.raises(RouterNotFound, match=r"^project.thing is no router and serves none\.$"):
        routers("project.thing")


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("nowhere.x", "nowhere.x cannot be imported: ModuleNotFoundError: No module named 'nowh"),
        ("router", "router cannot be imported: ImportError: router doesn't look like a module"),
        ("project.x", 'project.x cannot be imported: ImportError: Module "project" does not def'),
    ],
)
def test_what_cannot_be_imported_is_said(project: Project, dotted: str, message: str) -> None:
    """STYLE 5."""
    project()

    with pytest.raises(RouterNotFound) as caught:
        routers(dotted)

    assert str(caught.value).startswith(message)
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize("value", [None, ""])
def test_no_application_is_said(settings: Any, value: Any) -> None:
    """STYLE 5."""
    settings.ASGI_APPLICATION = value

    with pytest.raises(RouterNotFound, match=r"^ASGI_APPLICATION is not set: .* name a router\.$"):
        routers()


def test_an_application_that_cannot_be_imported_is_said(settings: Any) -> None:
    """STYLE 5."""
    settings.ASGI_APPLICATION = "nowhere.application"

    with pytest.raises(
        RouterNotFound, match=r"^ASGI_APPLICATION, nowhere\.application, cannot be imported: Mod"
    ):
        routers()


def test_an_application_behind_a_function_is_said(project: Project) -> None:
    """A function cannot be looked into; whoever wrote it can name the router."""
    inner = URLRouter([at("ws/")])

    async def around(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    project(application=around)

    with pytest.raises(RouterNotFound, match=r"^No router was found in project\.application\. .*"):
        routers()


def test_patterns_that_cannot_be_imported_are_said(project: Project) -> None:
    """The server would say so at the first connection only."""
    project(application=websocket_application("nowhere.patterns"))

    with pytest.raises(RouterNotFound, match=r"patterns that websocket_application\(\) was given"):
        routers()


@pytest.mark.parametrize("application", ["nowhere.application", "project.application", None])
def test_checks_find_nothing_instead(project: Project, settings: Any, application: Any) -> None:
    """DESIGN 10: a check must not fail for what the server reports better."""
    project(application=websocket_application("nowhere.patterns"))
    settings.ASGI_APPLICATION = application

    assert served_routers() == []


def test_checks_find_what_is_served(project: Project) -> None:
    """DESIGN 10."""
    project(application=URLRouter([at("ws/")]))

    assert served_routers() == [served("ws/")]
