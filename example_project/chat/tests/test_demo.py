"""``manage.py demo``, up to the server; tests/browser runs it whole."""

import socket
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client, override_settings

from example_project.chat import demo
from example_project.chat.models import ChatLine, Room


@pytest.mark.django_db
def test_demo_data_can_be_made_twice() -> None:
    demo.make_data()
    demo.make_data()

    users = list(User.objects.order_by("username").values_list("username", "is_staff"))
    assert users == [("alice", False), ("bob", False)]
    rooms = sorted(Room.objects.values_list("slug", flat=True))
    assert rooms == ["archive", "kitchen", "lobby", "workshop"]
    assert ChatLine.objects.filter(room="archive").count() == demo.ARCHIVE_LENGTH
    assert ChatLine.objects.count() == demo.ARCHIVE_LENGTH


@pytest.mark.django_db
def test_who_is_signed_in_stays_so_when_the_demo_starts_again(client: Client) -> None:
    demo.make_data()
    client.force_login(User.objects.get(username="alice"))

    demo.make_data()

    assert client.get("/").status_code == 200


@override_settings(DEBUG=False)
def test_demo_refuses_to_run_outside_debug() -> None:
    with pytest.raises(CommandError, match=r"runs in DEBUG only\.$"):
        call_command("demo")


@override_settings(DEBUG=True)
def test_demo_says_which_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(CommandError, match=rf"^Cannot listen on 127\.0\.0\.1:{port} "):
            call_command("demo", "--port", str(port))


@override_settings(DEBUG=True)
def test_check_free_only_looks() -> None:
    out = StringIO()

    call_command("demo", "--check-free", "--port", "0", stdout=out)

    assert out.getvalue().startswith("127.0.0.1:")
    assert out.getvalue().endswith(" is free.\n")
