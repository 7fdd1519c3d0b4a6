"""The documentation page in a real browser, against a real daphne."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.live.servers import Server, free_port, python

from .conftest import OpenPage
from .pages import overflow

pytestmark = [pytest.mark.browser, pytest.mark.live]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The site of ``docs_site``, whose Content-Security-Policy allows nothing inline."""
    port, log = free_port(), tmp_path_factory.mktemp("site") / "server.log"
    with python(["-m", "tests.browser.docs_site", str(port)], port=port, log=log) as server:
        yield server


@dataclass(frozen=True)
class Docs:
    """The page, and what tests do with it."""

    page: Page

    def open(self, type_: str) -> Locator:
        """Choose a message by its link, the first router's; returns its form."""
        self.page.get_by_role("link", name=type_, exact=True).first.click()
        return self.page.get_by_role("form", name=f"Send {type_}")

    @property
    def result(self) -> Locator:
        return self.page.get_by_role("status", name="Result")

    @property
    def state(self) -> Locator:
        return self.page.get_by_role("status", name="Connection state")

    @property
    def why(self) -> Locator:
        return self.page.get_by_role("status", name="Why the connection ended")

    @property
    def frames(self) -> Locator:
        return self.page.get_by_role("list", name="Frames").locator(".frame")

    def answer(self) -> Any:
        """The answer's payload, once it is there."""
        expect(self.result).to_contain_text("with ECHO")
        shown = self.page.get_by_role("region", name="Payload of the answer").text_content()
        return json.loads(shown or "")["got"]


OpenDocs = Callable[..., Docs]


@pytest.fixture
def open_docs(browser: Browser, site: Server) -> Iterator[OpenDocs]:
    """Open the page; nothing may complain in its console, the browser's policy included."""
    complaints: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        # What the browser says of a refused handshake is what one test is about.
        if message.type == "error" and "Unexpected response code: 403" not in message.text:
            complaints.append(message.text)

    def open_docs(width: int = 1280, **options: Any) -> Docs:
        context = browser.new_context(
            base_url=f"http://127.0.0.1:{site.port}",
            viewport={"width": width, "height": 800},
            timezone_id="Europe/Berlin",
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", note)
        page.goto("/docs/")
        expect(page.get_by_role("link", name="Overview").first).to_be_visible()
        return Docs(page)

    yield open_docs
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def docs(open_docs: OpenDocs) -> Docs:
    return open_docs()


def box(form: Locator, name: str) -> Locator:
    return form.get_by_role("textbox", name=name, exact=True)


def add(form: Locator, label: str) -> None:
    form.get_by_role("button", name=label, exact=True).click()


def spin(form: Locator, name: str) -> Locator:
    return form.get_by_role("spinbutton", name=name, exact=True)


def choose(form: Locator, name: str, option: str) -> None:
    form.get_by_role("combobox", name=name, exact=True).select_option(option)


# -- a form for each kind of value: filled in, sent, and understood by the server


def fill_text(form: Locator) -> None:
    box(form, "value").fill("two\nlines")


def fill_number(form: Locator) -> None:
    spin(form, "whole").fill("-3")
    add(form, "Set part")
    spin(form, "part").fill("2.25")


def fill_flag(form: Locator) -> None:
    form.get_by_role("checkbox", name="value").check()


def fill_choice(form: Locator) -> None:
    choose(form, "colour", "green")
    choose(form, "mode", "3")


def fill_null(form: Locator) -> None:
    expect(form.get_by_role("checkbox", name="value is null")).to_be_checked()


def fill_nullable(form: Locator) -> None:
    form.get_by_role("checkbox", name="value is null").uncheck()
    box(form, "value").fill("something")


def leave_out(form: Locator) -> None:
    add(form, "Set note")
    add(form, "Leave out note")


def fill_optional(form: Locator) -> None:
    add(form, "Set value")
    spin(form, "value").fill("6")
    add(form, "Set note")
    box(form, "note").fill("n")


def fill_list(form: Locator) -> None:
    for number, text in enumerate(["a", "b", "c"], 1):
        add(form, "Add item to values")
        box(form, f"values {number}").fill(text)
    add(form, "Remove values 2")


def fill_pair(form: Locator) -> None:
    spin(form, "value 1").fill("7")
    box(form, "value 2").fill("seven")


def fill_map(form: Locator) -> None:
    for number, key in enumerate(["one", "two"], 1):
        add(form, "Add key to value")
        box(form, f"Key {number} of value").fill(key)
        spin(form.locator(".pair").nth(number - 1), "value").fill(str(number))


def fill_nested(form: Locator) -> None:
    spin(form.get_by_role("group", name="at"), "x").fill("1")
    add(form, "Add item to path")
    point = form.get_by_role("group", name="path 1")
    spin(point, "x").fill("2")
    add(point, "Set y")
    spin(point, "y").fill("3")


def fill_union(form: Locator) -> None:
    choose(form, "Kind of shape", "square")
    spin(form, "side").fill("4")


def fill_mixed(form: Locator) -> None:
    choose(form, "Kind of value", "list of integer")
    add(form, "Add item to value")
    spin(form, "value 1").fill("1")


def fill_moments(form: Locator) -> None:
    form.get_by_label("on", exact=True).fill("2030-01-31")
    form.get_by_label("at", exact=True).fill("12:30:15")
    form.get_by_label("when", exact=True).fill("2030-01-31T12:00:00")  # in Berlin


def fill_odd(form: Locator) -> None:
    box(form, "id").fill("3f2b8c1e-5d7a-4c3b-9e6f-1a2b3c4d5e6f")
    choose(form, "Kind of price", "string")
    box(form, "price").fill("1.10")


def fill_anything(form: Locator) -> None:
    box(form, "value").fill('{"a": [1, null]}')


def fill_recursive(form: Locator) -> None:
    box(form, "name").fill("root")
    add(form, "Set children")
    add(form, "Add item to children")
    box(form.get_by_role("group", name="children 1"), "name").fill("leaf")


def nothing(form: Locator) -> None:
    expect(form).to_contain_text("This message has no payload.")


KINDS = [
    ("TEXT", fill_text, {"value": "two\nlines"}),
    ("NUMBER", fill_number, {"whole": -3, "part": 2.25}),
    ("FLAG", fill_flag, {"value": True}),
    ("CHOICE", fill_choice, {"colour": "green", "mode": 3, "only": "this"}),
    ("NULLABLE", fill_null, {"value": None}),
    ("NULLABLE", fill_nullable, {"value": "something"}),
    ("OPTIONAL", leave_out, {}),
    ("OPTIONAL", fill_optional, {"value": 6, "note": "n"}),
    ("LISTED", fill_list, {"values": ["a", "c"]}),
    ("PAIR", fill_pair, {"value": [7, "seven"]}),
    ("MAPPED", fill_map, {"value": {"one": 1, "two": 2}}),
    ("NESTED", fill_nested, {"at": {"x": 1}, "path": [{"x": 2, "y": 3}]}),
    ("SHAPED", fill_union, {"shape": {"kind": "square", "side": 4.0}}),
    ("MIXED", fill_mixed, {"value": [1]}),
    (
        "MOMENTS",
        fill_moments,
        {"on": "2030-01-31", "at": "12:30:15", "when": "2030-01-31T11:00:00Z"},
    ),
    ("ODD", fill_odd, {"id": "3f2b8c1e-5d7a-4c3b-9e6f-1a2b3c4d5e6f", "price": "1.10"}),
    ("ANYTHING", fill_anything, {"value": {"a": [1, None]}}),
    ("RECURSIVE", fill_recursive, {"tree": {"name": "root", "children": [{"name": "leaf"}]}}),
    ("EMPTY", nothing, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "fill", "expected"), KINDS, ids=[f"{kind}-{fill.__name__}" for kind, fill, _ in KINDS]
)
def test_a_form_makes_what_the_server_takes(
    docs: Docs, type_: str, fill: Callable[[Locator], None], expected: Any
) -> None:
    form = docs.open(type_)
    fill(form)

    form.get_by_role("button", name="Send").click()

    assert docs.answer() == expected


@pytest.mark.parametrize("type_", sorted({kind for kind, *_ in KINDS} - {"EMPTY"}))
def test_an_example_is_what_the_server_takes(docs: Docs, type_: str) -> None:
    form = docs.open(type_)

    add(form, "Fill in the example")
    form.get_by_role("button", name="Send").click()

    assert docs.answer() is not None


# -- form and JSON are one


def test_json_follows_the_form_and_the_form_the_json(docs: Docs) -> None:
    form = docs.open("NESTED")
    spin(form.get_by_role("group", name="at"), "x").fill("1")
    form.get_by_role("radio", name="JSON").check()
    text = form.get_by_role("textbox", name="Payload as JSON")
    expect(text).to_have_value('{\n  "at": {\n    "x": 1\n  },\n  "path": []\n}')

    text.fill('{"path": [{"x": 5}], "at": {"x": "wrong", "z": 1}}')
    form.get_by_role("radio", name="Form").check()

    expect(spin(form.get_by_role("group", name="path 1"), "x")).to_have_value("5")
    expect(box(form.get_by_role("group", name="at"), "x")).to_have_value('"wrong"')
    expect(form).to_contain_text("the schema does not know them: z")
    form.get_by_role("radio", name="JSON").check()
    assert json.loads(text.input_value()) == {"path": [{"x": 5}], "at": {"x": "wrong", "z": 1}}


def test_broken_json_is_kept_and_not_sent(docs: Docs) -> None:
    form = docs.open("TEXT")
    form.get_by_role("radio", name="JSON").check()
    text = form.get_by_role("textbox", name="Payload as JSON")
    text.fill('{"value": ')

    form.get_by_role("radio", name="Form").click()
    expect(form.get_by_role("alert")).to_contain_text("there is no form of it")
    expect(text).to_have_value('{"value": ')
    form.get_by_role("button", name="Send").click()

    expect(form.get_by_role("alert")).to_contain_text("This is no JSON")
    expect(docs.frames).to_have_count(0)


def test_long_numbers_of_the_json_editor_arrive_unrounded(docs: Docs) -> None:
    form = docs.open("NUMBER")
    form.get_by_role("radio", name="JSON").check()
    form.get_by_role("textbox", name="Payload as JSON").fill('{"whole": 9007199254740993}')

    form.get_by_role("button", name="Send").click()

    expect(docs.result).to_contain_text("with ECHO")
    docs.frames.last.locator("summary").click()
    expect(docs.frames.last).to_contain_text('"whole": 9007199254740993')


def test_what_was_typed_and_the_log_survive_a_reload(docs: Docs) -> None:
    form = docs.open("TEXT")
    box(form, "value").fill("kept")
    form.get_by_role("button", name="Send").click()
    docs.answer()

    docs.page.reload()

    expect(box(docs.page.get_by_role("form"), "value")).to_have_value("kept")
    expect(docs.frames.first).to_contain_text("Connected to")
    expect(docs.frames.last).to_contain_text("The page was loaded again")
    expect(docs.page.locator(".children")).to_contain_text("ECHO")


# -- errors


def test_a_refused_payload_is_shown_at_its_field(docs: Docs) -> None:
    form = docs.open("NESTED")
    spin(form.get_by_role("group", name="at"), "x").fill("1")
    add(form, "Add item to path")

    form.get_by_role("button", name="Send").click()

    expect(docs.result).to_have_text(re.compile(r"^Failed after .+ m?s: INVALID_ARGUMENT\."))
    wrong = spin(form.get_by_role("group", name="path 1"), "x")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_be_focused()
    expect(wrong).to_have_accessible_description("Required")
    expect(docs.page.locator(".frame.error")).to_contain_text("RPC_ERROR")

    wrong.fill("2")
    form.get_by_role("button", name="Send").click()
    assert docs.answer() == {"at": {"x": 1}, "path": [{"x": 2}]}
    expect(wrong).not_to_have_attribute("aria-invalid", "true")


def test_a_refused_event_is_shown_at_its_field_too(docs: Docs) -> None:
    form = docs.open("SHOUT")
    box(form, "text").fill("much too long for it")

    form.get_by_role("button", name="Send").click()

    expect(docs.result).to_contain_text("INVALID_ARGUMENT")
    expect(box(form, "text")).to_have_attribute("aria-invalid", "true")


def test_extended_meta_has_a_form(docs: Docs) -> None:
    form = docs.open("TRACED")
    form.get_by_role("button", name="Send").click()
    expect(docs.result).to_contain_text("INVALID_ARGUMENT")

    box(form, "trace").fill("t-1")
    form.get_by_role("button", name="Send").click()

    assert docs.answer() == "t-1"


# -- calls: progress, cancelling, time


def test_a_call_shows_its_progress_and_can_be_cancelled(docs: Docs, site: Server) -> None:
    form = docs.open("WORK")
    spin(form, "steps").fill("1000")
    form.get_by_role("button", name="Send").click()
    expect(docs.result).to_have_text("Waiting for the answer…")
    bar = docs.page.get_by_role("progressbar", name="Progress")
    expect(bar).to_have_js_property("max", 1000)
    expect(bar).not_to_have_js_property("value", 0)

    form.get_by_role("button", name="Cancel").click()

    expect(docs.result).to_contain_text("CANCELLED")
    expect(form.get_by_role("button", name="Cancel")).to_be_hidden()
    children = docs.page.locator(".children > li")
    expect(children.nth(0)).to_contain_text(re.compile(r"^\d+ progress frames"))
    expect(children.nth(1)).to_contain_text("$ws:abort")
    expect(children.nth(2)).to_contain_text("RPC_ERROR")
    expect(children.nth(2).locator(".since")).to_have_text(re.compile(r"^\+[\d.]+ m?s$"))
    give_up = time.monotonic() + 30
    while "work cancelled" not in site.log.read_text():
        assert time.monotonic() < give_up
        docs.page.wait_for_timeout(50)


def test_the_timeout_travels(docs: Docs) -> None:
    form = docs.open("WORK")
    spin(form, "steps").fill("1000")
    form.get_by_text("Meta", exact=True).click()
    spin(form, "timeoutMs").fill("200")

    form.get_by_role("button", name="Send").click()

    expect(docs.result).to_contain_text("DEADLINE_EXCEEDED")


def test_everything_by_keyboard(docs: Docs) -> None:
    page = docs.page
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Filter messages")).to_be_focused()
    page.keyboard.type("work")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="WORK", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="WORK")).to_be_focused()

    form = page.get_by_role("form", name="Send WORK")
    steps = spin(form, "steps")
    for _ in range(8):
        if steps.evaluate("input => input === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(steps).to_be_focused()
    assert steps.evaluate("input => getComputedStyle(input).outlineStyle") == "solid"
    page.keyboard.type("1000")
    page.keyboard.press("Control+Enter")
    expect(docs.result).to_have_text("Waiting for the answer…")
    expect(page.locator(".progress")).to_be_visible()
    page.keyboard.press("Escape")
    expect(docs.result).to_contain_text("CANCELLED")

    first = docs.frames.locator("summary").first
    first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Send again")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".progress > summary")).to_be_focused()


# -- the log


def test_frames_can_be_filtered_paused_and_cleared(docs: Docs) -> None:
    form = docs.open("SHOUT")
    box(form, "text").fill("hello")
    form.get_by_role("button", name="Send").click()
    log = docs.page.get_by_role("region", name="Log", exact=True)
    expect(docs.frames).to_have_count(3)

    choose(log, "Direction of frames", "in")
    expect(docs.frames.filter(visible=True)).to_have_text([re.compile("HEARD.*HELLO")])
    choose(log, "Direction of frames", "")
    choose(log, "Type of frames", "SHOUT")
    expect(docs.frames.filter(visible=True)).to_have_text([re.compile("SHOUT.*hello")])
    choose(log, "Type of frames", "")
    log.get_by_role("searchbox", name="Find in frames").fill("HEARD")
    expect(docs.frames.filter(visible=True)).to_have_text([re.compile("HEARD")])
    log.get_by_role("searchbox", name="Find in frames").fill("")

    log.get_by_role("button", name="Pause").click()
    form.get_by_role("button", name="Send").click()
    expect(log.get_by_role("status", name="Log")).to_contain_text("paused, 2 new")
    expect(docs.frames).to_have_count(3)
    log.get_by_role("button", name="Go on").click()
    expect(docs.frames).to_have_count(5)
    log.get_by_role("button", name="Clear the log").click()
    expect(docs.frames).to_have_count(0)


def meta_of(frame: Locator) -> Any:
    details = frame.locator("> details")
    if details.get_attribute("open") is None:
        details.locator("> summary").click()
    return json.loads(details.locator(".json").text_content() or "")["meta"]


def test_a_frame_can_be_sent_again_and_edited(docs: Docs) -> None:
    form = docs.open("TEXT")
    box(form, "value").fill("once")
    form.get_by_role("button", name="Send").click()
    docs.answer()
    sent = docs.page.locator(".frames > .out")
    sent.locator("> details > summary").click()

    sent.get_by_role("button", name="Send again").click()
    expect(docs.page.locator(".frames > .out")).to_have_count(2)
    first, second = map(meta_of, [docs.page.locator(".frames > .out").nth(at) for at in (0, 1)])
    assert first["correlationId"] != second["correlationId"]

    docs.open("FLAG")
    sent.first.get_by_role("button", name="Edit and send").click()
    form = docs.page.get_by_role("form", name="Send TEXT")
    expect(box(form, "value")).to_have_value("once")


def test_a_raw_frame_may_be_anything(docs: Docs) -> None:
    docs.open("Raw frame")
    docs.page.get_by_role("textbox", name="Frame").fill("no JSON")
    docs.page.get_by_role("button", name="Send").click()

    expect(docs.frames.nth(1)).to_contain_text("no JSON")
    expect(docs.frames.nth(2)).to_contain_text("INVALID_ARGUMENT")


def test_the_log_is_bounded(docs: Docs) -> None:
    form = docs.open("WORK")
    spin(form, "steps").fill("0")
    docs.page.evaluate(
        """() => {
            const button = document.querySelector("form.try .main");
            for (let sent = 0; sent < 520; sent += 1) button.click();
        }"""
    )

    count = docs.page.get_by_role("status", name="Log")
    expect(count).to_have_text("1000, 41 older dropped", timeout=60_000)
    expect(docs.frames).to_have_count(1000)


# -- connecting


def test_parameters_of_a_path_are_asked_for(docs: Docs) -> None:
    docs.open("WHERE")
    form = docs.page.get_by_role("form", name="Send WHERE")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("alert")).to_contain_text("room is missing")
    connection = docs.page.get_by_role("region", name="Connection")
    expect(box(connection, "room")).to_be_focused()

    box(connection, "room").fill("lobby")
    spin(connection, "floor").fill("3")
    form.get_by_role("button", name="Send").click()
    assert docs.answer() == {"room": "lobby", "floor": 3}

    connection.get_by_role("button", name="Disconnect").click()
    expect(docs.why).to_have_text("Closed by you.")
    choose(connection, "Path", "/ws/cellar/<slug:room>/")
    form.get_by_role("button", name="Send").click()
    expect(docs.page.get_by_role("region", name="Payload of the answer")).not_to_contain_text("3")
    assert docs.answer() == {"room": "lobby"}


@pytest.mark.parametrize("attach", ["query", "protocol"])
def test_a_token_lets_in_and_a_close_is_explained(docs: Docs, attach: str) -> None:
    form = docs.open("WHO_AM_I")
    connection = docs.page.get_by_role("region", name="Connection")
    connection.get_by_role("button", name="Connect", exact=True).click()
    expect(docs.why).to_contain_text("4401")
    expect(docs.why).to_contain_text("You are not signed in, or your session has ended.")
    expect(docs.state).to_have_text("Not connected")

    connection.get_by_text("Token and subprotocols").click()
    box(connection, "Token").fill("let-me-in")
    choose(connection, "Sent", attach)
    form.get_by_role("button", name="Send").click()

    assert docs.answer() == "somebody with a token"
    expect(docs.state).to_have_text("Connected")
    expect(docs.frames.last).to_contain_text("ECHO")  # the log is drawn a moment later
    assert "let-me-in" not in (docs.page.get_by_role("list", name="Frames").text_content() or "")
    docs.page.evaluate("dispatchEvent(new Event('pagehide'))")  # when the log is kept at once
    kept = docs.page.evaluate("JSON.stringify(sessionStorage)")
    assert "WHO_AM_I" in kept
    assert "let-me-in" not in kept


def test_a_refused_handshake_is_explained(docs: Docs) -> None:
    docs.open("WHERE")
    connection = docs.page.get_by_role("region", name="Connection")
    box(connection, "room").fill("lobby")
    spin(connection, "floor").fill("-1")  # matches no path
    connection.get_by_role("button", name="Connect", exact=True).click()

    expect(docs.why).to_contain_text("The handshake was refused, or there is no server.")
    expect(docs.state).to_have_attribute("data-state", "failed")


def test_it_connects_with_the_visitors_session(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/")
    page.get_by_role("button", name="Sign in as alice").click()
    page.get_by_role("link", name="API").click()
    docs = Docs(page)
    form = docs.open("JOIN_ROOM")

    box(form, "room").fill("archive")
    form.get_by_role("button", name="Send").click()

    expect(docs.state).to_have_text("Connected")
    expect(docs.frames.last).to_contain_text("HISTORY")


# -- what can be read


def test_reference_tells_fields_and_what_the_server_sends(docs: Docs) -> None:
    docs.open("TEXT")
    table = docs.page.get_by_role("table", name="Payload of TEXT")
    expect(table.get_by_role("row").nth(1)).to_have_text(
        re.compile("value.*string.*required.*What to say.*at least 1 characters")
    )

    docs.open("HEARD")
    expect(docs.page.get_by_role("heading", name="HEARD")).to_be_visible()
    expect(docs.page.get_by_role("main")).to_contain_text("What somebody has shouted.")
    docs.open("Square")
    expect(docs.page.get_by_role("main")).to_contain_text("Where everybody hears everybody.")
    docs.open("Errors")
    expect(docs.page.get_by_role("main")).to_contain_text("RESOURCE_EXHAUSTED")
    docs.open("Control frames")
    expect(docs.page.get_by_role("main")).to_contain_text("$ws:bye")


def test_the_filter_finds_by_field_and_by_word(docs: Docs) -> None:
    links = docs.page.locator("#list a")
    search = docs.page.get_by_role("searchbox", name="Filter messages")

    search.fill("what to say")
    expect(links.filter(visible=True)).to_have_text(["TEXT"])
    search.press("Escape")
    expect(search).to_have_value("")
    expect(links.filter(visible=True)).not_to_have_count(1)


@pytest.mark.parametrize("type_", ["NESTED", "SHAPED", "MAPPED", "RECURSIVE", "WORK", "Errors"])
def test_nothing_sticks_out_of_a_narrow_phone(open_docs: OpenDocs, type_: str) -> None:
    docs = open_docs(width=360, is_mobile=True, has_touch=True)
    page = docs.page
    page.get_by_role("button", name="Messages").tap()
    assert overflow(page) == 0
    page.get_by_role("link", name=type_, exact=True).first.tap()
    expect(page.get_by_role("heading", name=type_).first).to_be_visible()
    if type_ != "Errors":
        form = page.get_by_role("form")
        if type_ == "WORK":
            spin(form, "steps").fill("3")
        else:
            add(form, "Fill in the example")
        form.get_by_role("button", name="Send").tap()
        docs.answer()
        for summary in page.locator("main summary").all():
            summary.click()
        assert overflow(page) == 0
        page.get_by_role("button", name="Log").tap()
        page.locator(".frames summary").first.tap()
        expect(page.locator(".frames .json").first).to_be_visible()
    assert overflow(page) == 0


CONTRAST = """() => {
    const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
    const light = ([r, g, b]) => [r, g, b]
        .map((v) => v / 255)
        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (one) => {
        for (; one; one = one.parentElement) {
            const colour = parse(getComputedStyle(one).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const one of document.querySelectorAll("body *")) {
        const words = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!words || !one.checkVisibility() || one.closest(":disabled, option")) continue;
        const pair = [light(parse(getComputedStyle(one).color)), light(behind(one))];
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        if (ratio < 4.5) found.push(`${one.localName}.${one.className}: ${ratio.toFixed(2)}`);
    }
    return [...new Set(found)];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_enough(open_docs: OpenDocs, scheme: str) -> None:
    """WCAG 2 AA: 4.5 to 1 for all text."""
    docs = open_docs(color_scheme=scheme)
    form = docs.open("TEXT")
    form.get_by_role("button", name="Send").click()
    expect(docs.result).to_contain_text("INVALID_ARGUMENT")
    expect(docs.frames).to_have_count(3)  # drawn a moment later: the connection, out and in
    for summary in docs.page.locator("summary").all():
        summary.click()
    expect(docs.page.locator(".frames .json")).to_have_count(2)

    assert docs.page.evaluate(CONTRAST) == []
