import io
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.layers import InMemoryChannelLayer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import SessionMiddlewareStack
from channels_redis.core import RedisChannelLayer
from django.core import checks as django_checks
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.urls import path

from tests.shell_helpers import RemoteLayer, layer_in_use
from wskit_channels import Router
from wskit_channels.asgi import websocket_application
from wskit_channels.consumer import WsKitConsumer

Serve = Callable[[Any], None]


def found(*, deploy: bool = False) -> list[str]:
    """The ids of this library's messages, as ``manage.py check`` would print them."""
    messages = django_checks.run_checks(include_deployment_checks=deploy)
    ours = [message for message in messages if (message.id or "").startswith("wskit_channels.")]
    assert all(message.msg and message.hint for message in ours)
    return [str(message.id).removeprefix("wskit_channels.") for message in ours]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Serve:
    """Make something the project's ``ASGI_APPLICATION``."""
    module = types.ModuleType("project_asgi")
    monkeypatch.setitem(sys.modules, "project_asgi", module)

    def use(websocket: Any) -> None:
        vars(module)["application"] = ProtocolTypeRouter(
            {"http": get_asgi_application(), "websocket": websocket}
        )
        settings.ASGI_APPLICATION = "project_asgi.application"

    return use


def patterns(**options: Any) -> list[Any]:
    return [path("ws/", Router(**options).as_asgi())]


def test_the_example_project_is_clean() -> None:
    """DESIGN 10: nothing to say where nothing is wrong."""
    assert found() == []


# -- E001


@pytest.mark.parametrize("given", [{"RPC_TIMOUT": 1}, {"RPC_TIMEOUT": "1"}, []], ids=str)
def test_e001_settings_that_are_not_known(settings: Any, given: Any) -> None:
    """DESIGN 10: Error: unknown settings."""
    settings.WSKIT = given

    assert found() == ["E001"]


def test_e001_is_silent_about_known_settings(settings: Any) -> None:
    """DESIGN 10."""
    settings.WSKIT = {"RPC_TIMEOUT": 1, "MAX_PAYLOAD_BYTES": 1}

    assert found() == []


# -- E002


def routed(application: Any) -> Any:
    entries: list[Any] = [path("ws/", application)]
    return URLRouter(entries)


class Own(WsKitConsumer):
    router = Router()


@pytest.mark.parametrize(
    "unguarded",
    [
        lambda: AuthMiddlewareStack(URLRouter(patterns())),
        lambda: SessionMiddlewareStack(URLRouter(patterns())),
        lambda: AuthMiddlewareStack(routed(URLRouter(patterns()))),
        lambda: routed(AuthMiddlewareStack(Router().as_asgi())),
        lambda: AuthMiddlewareStack(routed(Own.as_asgi())),
    ],
    ids=["auth", "session", "nested", "inside", "subclass"],
)
def test_e002_cookies_without_an_origin_check(serve: Serve, unguarded: Any) -> None:
    """DESIGN 10: Error: a router served to cookie users without an origin check."""
    serve(unguarded())

    assert found() == ["E002"]


def test_e002_is_of_each_place_where_a_router_is_served(serve: Serve) -> None:
    """DESIGN 10: one guarded place does not make up for another."""
    application = Router().as_asgi()
    guarded = AllowedHostsOriginValidator(AuthMiddlewareStack(routed(application)))
    serve(ProtocolTypeRouter({"a": guarded, "b": AuthMiddlewareStack(routed(application))}))
    messages = [one for one in django_checks.run_checks() if one.id == "wskit_channels.E002"]

    (message,) = messages
    assert message.msg == (
        "<Router with 0 handlers, 0 merged> is served at 'ws/' to users of a cookie session "
        "without an origin check."
    )


@pytest.mark.parametrize(
    "guarded",
    [
        lambda: websocket_application(patterns()),
        lambda: websocket_application(patterns(), session=False),
        lambda: AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(patterns()))),
        lambda: AuthMiddlewareStack(AllowedHostsOriginValidator(URLRouter(patterns()))),
        lambda: URLRouter(patterns()),
        lambda: AuthMiddlewareStack(URLRouter([])),
    ],
    ids=["ours", "token only", "channels'", "inside out", "no cookies", "no router"],
)
def test_e002_is_silent_where_there_is_one_or_none_is_needed(serve: Serve, guarded: Any) -> None:
    """DESIGN 10."""
    serve(guarded())

    assert found() == []


# -- W001, W002


def test_w001_runserver_would_serve_no_websockets(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 10: Warning: daphne missing."""
    settings.DEBUG = True
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "daphne"]
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed

    assert found() == ["W001"]


@pytest.mark.parametrize("other", ["production", "uvicorn"])
def test_w001_is_silent_where_daphne_is_not_meant(
    settings: Any, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """DESIGN 10: in production, or where another server is installed."""
    settings.DEBUG = other != "production"
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "daphne"]
    if other != "uvicorn":
        monkeypatch.setitem(sys.modules, "uvicorn", None)

    assert found() == []


def test_w002_daphne_after_staticfiles(settings: Any) -> None:
    """DESIGN 10: Warning: daphne listed after staticfiles, whose runserver wins."""
    apps = [app for app in settings.INSTALLED_APPS if app != "daphne"]
    settings.INSTALLED_APPS = [*apps, "daphne"]

    assert "W002" in found()


def test_w002_is_silent_without_staticfiles(settings: Any) -> None:
    """DESIGN 10: with nobody to lose against, the place does not matter."""
    apps = [
        app
        for app in settings.INSTALLED_APPS
        if app not in ("daphne", "django.contrib.staticfiles")
    ]
    settings.INSTALLED_APPS = [*apps, "daphne"]

    assert found() == []


# -- W003


def test_w003_no_channel_layer(settings: Any) -> None:
    """DESIGN 10: Warning: no channel layer where topics are used."""
    settings.CHANNEL_LAYERS = {}

    assert found() == ["W003"]


def test_w003_names_the_layer_of_each_router(serve: Serve) -> None:
    """DESIGN 2: ``Router(channel_layer=)`` is an alias."""
    serve(URLRouter([*patterns(), *patterns(channel_layer="other")]))
    messages = [one for one in django_checks.run_checks() if one.id == "wskit_channels.W003"]

    assert [one.msg for one in messages] == [
        "CHANNEL_LAYERS has no 'other': topics reach this process only."
    ]


def test_w003_is_silent_where_no_router_is_served(serve: Serve, settings: Any) -> None:
    """DESIGN 10."""
    settings.CHANNEL_LAYERS = {}
    serve(URLRouter([]))

    assert found() == []


# -- W004


def test_w004_the_in_memory_layer_in_a_deployment() -> None:
    """DESIGN 10: Deploy only: the in-memory layer."""
    with layer_in_use(InMemoryChannelLayer()):
        assert found(deploy=True) == ["W004"]
        assert found() == []


def test_w004_is_silent_about_other_layers() -> None:
    """DESIGN 10."""
    with layer_in_use(RemoteLayer()):
        assert found(deploy=True) == []


def test_manage_py_check_deploy_reports_it() -> None:
    """DESIGN 10: ``manage.py check --deploy``, and not ``manage.py check``."""
    output = io.StringIO()
    with layer_in_use(InMemoryChannelLayer()):
        call_command("check", stderr=output)
        before = output.getvalue()
        call_command("check", deploy=True, stderr=output)

    assert "wskit_channels" not in before
    line = next(line for line in output.getvalue().splitlines() if "wskit_channels" in line)
    assert line == (
        "?: (wskit_channels.W004) CHANNEL_LAYERS['default'] is the in-memory layer: topics reach "
        "one process only."
    )


# -- W005, W006: traps of channels_redis and redis-py


def redis_layer(host: Any, **config: Any) -> dict[str, Any]:
    backend = "channels_redis.core.RedisChannelLayer"
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": [host], **config}}}


GOOD_HOST = {"address": "redis://127.0.0.1:1", "socket_timeout": None}


@pytest.mark.parametrize(
    "config",
    [{}, {"capacity": 999}, {"capacity": 10_000, "channel_capacity": {"specific*": 100}}],
)
def test_w005_a_small_capacity(serve: Serve, settings: Any, config: Any) -> None:
    """DESIGN 10: group capacity too small; what is over it is dropped with an INFO line."""
    settings.CHANNEL_LAYERS = redis_layer(GOOD_HOST, **config)
    serve(websocket_application(patterns()))

    assert found() == ["W005"]


@pytest.mark.parametrize(
    "config", [{"capacity": 10_000}, {"channel_capacity": {"specific*": 10_000}}]
)
def test_w005_is_silent_about_enough(serve: Serve, settings: Any, config: Any) -> None:
    """DESIGN 10."""
    settings.CHANNEL_LAYERS = redis_layer(GOOD_HOST, **config)
    serve(websocket_application(patterns()))

    assert found() == []


@pytest.mark.parametrize(
    "host",
    [
        "redis://127.0.0.1:1",
        ("127.0.0.1", 1),
        {"address": "redis://127.0.0.1:1"},
        {"address": "redis://127.0.0.1:1", "socket_timeout": 5},
    ],
)
def test_w006_connections_that_are_cut_when_idle(serve: Serve, settings: Any, host: Any) -> None:
    """DESIGN 10: redis-py versions or settings that kill idle layers."""
    settings.CHANNEL_LAYERS = redis_layer(host, capacity=10_000)
    serve(websocket_application(patterns()))

    assert found() == ["W006"]


@pytest.mark.parametrize("timeout", [None, 30])
def test_w006_is_silent_about_longer_time_outs(serve: Serve, settings: Any, timeout: Any) -> None:
    """DESIGN 10."""
    host = {"address": "redis://127.0.0.1:1", "socket_timeout": timeout}
    settings.CHANNEL_LAYERS = redis_layer(host, capacity=10_000)
    serve(websocket_application(patterns()))

    assert found() == []


class OwnRedisLayer(RedisChannelLayer):  # type: ignore[misc]  # it brings no types
    """A project's own layer, with the traps of the one that it derives from."""


def test_layers_that_are_derived_have_the_same_traps(serve: Serve, settings: Any) -> None:
    """DESIGN 10: W005 and W006, for a subclass."""
    backend, config = f"{__name__}.OwnRedisLayer", {"hosts": ["redis://127.0.0.1:1"]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    serve(websocket_application(patterns()))

    assert sorted(found()) == ["W005", "W006"]


def test_w006_is_silent_about_older_redis_py(
    serve: Serve, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before redis-py 8 a socket had no time-out by default."""
    monkeypatch.setattr("redis.__version__", "7.1.0")
    settings.CHANNEL_LAYERS = redis_layer("redis://127.0.0.1:1", capacity=10_000)
    serve(websocket_application(patterns()))

    assert found() == []


# -- finding routers


def test_what_cannot_be_imported_is_passed_over(settings: Any) -> None:
    """DESIGN 10: Django itself reports that better."""
    settings.ASGI_APPLICATION = "nowhere.application"

    assert found(deploy=True) == []


def test_no_application_is_no_router(settings: Any) -> None:
    """DESIGN 10: a project without ASGI has nothing to check."""
    settings.ASGI_APPLICATION = None

    assert found(deploy=True) == []


def test_patterns_that_cannot_be_imported_are_passed_over(serve: Serve) -> None:
    """DESIGN 10: the server reports that at the first connection; a check must not crash."""
    serve(websocket_application("nowhere.websocket_urlpatterns"))

    assert found(deploy=True) == []
