"""What handlers call: it raises what no handler's module names."""

from .errors import RoomFull


def take_a_seat(people: int) -> None:
    if people > 10:
        raise RoomFull(message="Try another room.")
