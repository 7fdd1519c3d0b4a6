import re

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from example_project.chat import demo
from example_project.chat.models import Room

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/", "/rooms/lobby/"])
def test_the_chat_asks_visitors_to_sign_in(client: Client, path: str) -> None:
    response = client.get(path)

    assert (response.status_code, response["Location"]) == (302, f"/login/?next={path}")


def test_the_list_names_the_rooms(client: Client) -> None:
    client.force_login(User.objects.create_user("alice"))
    Room.objects.create(slug="lobby", name="The lobby")

    assert '<a class="card room" href="/rooms/lobby/">' in client.get("/").content.decode()


def test_a_room_that_is_not_there_is_not_found(client: Client) -> None:
    client.force_login(User.objects.create_user("alice"))

    assert client.get("/rooms/attic/").status_code == 404


def test_the_room_page_runs_no_inline_code(client: Client) -> None:
    client.force_login(User.objects.create_user("alice"))
    Room.objects.create(slug="lobby", name="Lobby")

    response = client.get("/rooms/lobby/")

    policy = response["Content-Security-Policy"]
    html = " ".join(response.content.decode().split())
    (nonce,) = re.findall(r"script-src 'self' 'nonce-([-\w]{22})'", policy)
    import_map = '{"imports": {"wskit": "/static/wskit_channels/client.js"}}'
    assert "default-src 'self'" in policy
    assert re.findall(r"<script[^>]*>[^<]*", html) == [
        f'<script type="importmap" nonce="{nonce}"> {import_map} ',
        '<script type="module" src="/static/chat/chat.js">',
    ]
    assert nonce not in client.get("/rooms/lobby/")["Content-Security-Policy"]


@override_settings(DEBUG=True)
def test_one_click_signs_in_a_demo_user(client: Client) -> None:
    demo.make_data()

    assert client.get("/login/").context["demo_users"] == ["alice", "bob"]
    response = client.post("/login/", {"username": "alice", "password": demo.PASSWORD})
    assert (response.status_code, response["Location"]) == (302, "/")


@override_settings(DEBUG=False)
def test_demo_users_are_not_offered_outside_debug(client: Client) -> None:
    demo.make_data()

    response = client.get("/login/")

    assert response.context["demo_users"] == []
    assert demo.PASSWORD not in response.content.decode()
