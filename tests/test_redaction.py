import datetime
import io
import logging
import logging.config
import time
from collections.abc import Iterator
from typing import Any

import pytest
from daphne.access import AccessLogGenerator
from uvicorn.config import LOGGING_CONFIG
from uvicorn.logging import AccessFormatter

from tests.shell_helpers import Caught
from wskit_channels.redaction import LOGGERS, TokenFilter, install, redacted

SECRET = "tok3n.-_~secret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/ws/?access_token={}", "/ws/?access_token=[redacted]"),
        ("/?a=1&access_token={}&b=2", "/?a=1&access_token=[redacted]&b=2"),
        ("/?access_token={}&access_token={}", "/?access_token=[redacted]&access_token=[redacted]"),
        ("/?access%5Ftoken={}", "/?access%5Ftoken=[redacted]"),
        ("/?%61ccess_token={}", "/?%61ccess_token=[redacted]"),
        ("/?Access_Token={}", "/?Access_Token=[redacted]"),
        ("/?access_token={}'\"<>", "/?access_token=[redacted]"),
        ("/?access_token=a=b={}", "/?access_token=[redacted]"),
        ("access_token={}", "access_token=[redacted]"),
        ("WSCONNECT /?access_token={} - -", "WSCONNECT /?access_token=[redacted] - -"),
        ("{'query_string': b'access_token={}', 'x': 1}", None),
        (
            "{'subprotocols': ['chat', 'bearer.{}']}",
            "{'subprotocols': ['chat', 'bearer.[redacted]']}",
        ),
        ("bearer.{}", "bearer.[redacted]"),
    ],
)
def test_a_token_is_taken_out(text: str, shown: str | None) -> None:
    """PROTOCOL 9: both ways in which a URL or an offer carries one."""
    found = redacted(text.replace("{}", SECRET))

    assert SECRET not in found
    assert shown is None or found == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/ws/",
        "/ws/?token=1&my_access_token=2&access_tokens=3&access=token",
        "/access_token/?a=b",
        "access_token",
        "forbearer.x",
        "\n a=b\n",
    ],
)
def test_everything_else_is_left_alone(text: str) -> None:
    """A log line that says something else goes on saying it."""
    assert redacted(text) == text


def test_the_names_are_settings(settings: Any) -> None:
    """PROTOCOL 9: both names are settings."""
    settings.WSKIT = {"TOKEN_PARAMETER": "key", "TOKEN_SUBPROTOCOL_PREFIX": "t+."}

    assert redacted("/?key=1&access_token=2 t+.3 bearer.4") == (
        "/?key=[redacted]&access_token=2 t+.[redacted] bearer.4"
    )


def test_wrong_settings_fail_no_log_line(settings: Any) -> None:
    """A system check reports them; the defaults still count here."""
    settings.WSKIT = {"TOKEN_PARAMTER": "key"}

    assert redacted("/?access_token=2") == "/?access_token=[redacted]"


@pytest.mark.parametrize(
    "text", ["a" * 50_000, "=" + "a" * 50_000, "?" * 50_000, "a=" * 25_000, "bearer." * 8_000]
)
def test_the_search_is_linear(text: str) -> None:
    """A URL is the client's; it must not cost more to log than to send."""
    started = time.process_time()

    redacted(text)

    assert time.process_time() - started < 2.0


# -- records


def record(msg: Any, *args: Any) -> logging.LogRecord:
    found = logging.LogRecord("uvicorn.error", logging.INFO, "", 0, msg, args, None)
    assert TokenFilter().filter(found) is True
    return found


def test_arguments_stay_arguments() -> None:
    """uvicorn's access formatter reads the record's arguments."""
    found = record(
        '%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", f"/?access_token={SECRET}", "1.1", 200
    )

    assert found.args == ("1.2.3.4:5", "GET", "/?access_token=[redacted]", "1.1", 200)
    fmt = '%(client_addr)s - "%(request_line)s" %(status_code)s'
    assert AccessFormatter(fmt, use_colors=False).format(found) == (
        '1.2.3.4:5 - "GET /?access_token=[redacted] HTTP/1.1" 200 OK'
    )


def test_named_arguments_stay_named() -> None:
    """daphne's runserver logs a dict."""
    details: dict[str, Any] = {"path": f"/?access_token={SECRET}", "status": 404, "client": None}

    found = record("HTTP %(path)s %(status)s [%(client)s]", details)

    assert found.getMessage() == "HTTP /?access_token=[redacted] 404 [None]"
    assert details["path"].endswith(SECRET)


def test_an_argument_of_another_kind_is_replaced_by_its_text() -> None:
    """uvicorn's trace logs a scope; an argument without a token stays itself."""
    other = {"path": "/"}

    scope = {"query_string": b"access_token=" + SECRET.encode()}

    found = record("%s %s", scope, other)

    assert isinstance(found.args, tuple)
    assert SECRET not in found.getMessage()
    assert found.args[1] is other


@pytest.mark.parametrize("name", ["Cookie", "authorization", "Set-Cookie"])
def test_headers_that_hold_secrets_are_left_out(name: str) -> None:
    """What uvicorn logs at the debug level."""
    assert record("< %s: %s", name, SECRET).getMessage() == f"< {name}: [redacted]"


def test_a_text_without_arguments_is_looked_at() -> None:
    """A message that was formatted before it was logged."""
    assert record(f"GET /?access_token={SECRET}").getMessage() == "GET /?access_token=[redacted]"


# -- installed


@pytest.fixture
def uvicorn_logging() -> Iterator[None]:
    """uvicorn's logging configuration, and what was there before."""
    names = ("uvicorn", "uvicorn.error", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    yield
    for one, handlers, level, propagate in before:
        one.handlers[:] = handlers
        one.setLevel(level)
        one.propagate = propagate


@pytest.mark.parametrize("name", ["uvicorn.error", "uvicorn.access"])
@pytest.mark.parametrize("configured", ["before", "after"])
def test_it_survives_a_logging_configuration(
    uvicorn_logging: None, name: str, configured: str
) -> None:
    """uvicorn configures logging before it loads an application; a project does when it likes."""
    logger, caught = logging.getLogger(name), Caught()
    if configured == "before":
        logging.config.dictConfig(LOGGING_CONFIG)
        install()
    else:
        install()
        logging.config.dictConfig(LOGGING_CONFIG)
    logger.handlers[:] = [caught]

    logger.info("%s", f"/?access_token={SECRET}")

    assert caught.messages(logging.INFO) == ["/?access_token=[redacted]"]


def test_the_app_has_installed_it_once() -> None:
    """Nobody has to configure it; installing again changes nothing."""
    install()

    counts = {
        name: sum(isinstance(one, TokenFilter) for one in logging.getLogger(name).filters)
        for name in LOGGERS
    }
    assert counts == dict.fromkeys(LOGGERS, 1)


def test_daphnes_access_log_is_redacted() -> None:
    """It is written to a stream, not to a logger."""
    install()
    stream = io.StringIO()
    log = AccessLogGenerator(stream)
    details = {
        "client": "1.2.3.4:5",
        "path": f"/?access_token={SECRET}",
        "method": "GET",
        "status": 200,
        "size": 10,
    }

    for protocol, action in [
        ("http", "complete"),
        ("websocket", "connecting"),
        ("websocket", "connected"),
        ("websocket", "rejected"),
        ("websocket", "disconnected"),
    ]:
        log(protocol, action, details)
    log.write_entry("h", datetime.datetime(2020, 1, 1), "GET /", 200, 1, ident="i", user="u")

    lines = stream.getvalue().splitlines()
    assert [line.split('"')[1] for line in lines] == [
        "GET /?access_token=[redacted]",
        "WSCONNECTING /?access_token=[redacted]",
        "WSCONNECT /?access_token=[redacted]",
        "WSREJECT /?access_token=[redacted]",
        "WSDISCONNECT /?access_token=[redacted]",
        "GET /",
    ]
    assert lines[-1] == 'h i u [01/Jan/2020:00:00:00] "GET /" 200 1'
