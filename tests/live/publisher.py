"""
A process that serves no sockets and publishes a burst of messages, synchronously.

``python -m tests.live.publisher LAYER ROOM COUNT`` publishes the numbers below
``COUNT`` and then ``END``; it fails if a publish does.
"""

import sys

from tests.live.settings import configure

END = "end"


def main(layer: str, room: str, count: int) -> None:
    configure(layer)

    from tests.conformance.events import NewMessage
    from tests.conformance.router import room_topic
    from wskit_channels.publish import publish

    for text in [*map(str, range(count)), END]:
        result = publish(room_topic(room), NewMessage(room_id=room, text=text))
        if not result.ok:
            sys.exit(f"publishing {text} failed: {result}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
