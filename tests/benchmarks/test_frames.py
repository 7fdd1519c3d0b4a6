"""The load generator's frames, held against the ``websockets`` library's own."""

import pytest

from benchmarks.frames import CLOSE, PING, PONG, Reader, masked, unmasked, upgrade

protocol = pytest.importorskip("websockets.protocol", reason="websockets is not installed")
server = pytest.importorskip("websockets.server", reason="websockets is not installed")
frames = pytest.importorskip("websockets.frames", reason="websockets is not installed")

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]


def opened(side: protocol.Side) -> protocol.Protocol:
    """One end of a connection whose handshake is over."""
    return protocol.Protocol(side, state=protocol.OPEN, max_size=None)


@pytest.mark.parametrize("size", SIZES)
def test_a_masked_frame_is_read_by_a_real_server(size: int) -> None:
    """RFC 6455, 5.2 and 5.3: length in its shortest form, payload masked."""
    payload = ("é" * size).encode()[:size].decode(errors="ignore").encode()
    peer = opened(protocol.SERVER)

    peer.receive_data(masked(payload))

    assert peer.events_received() == [frames.Frame(frames.Opcode.TEXT, payload)]
    assert peer.parser_exc is None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cut", [1, 2, 3, 5, 11])
def test_frames_of_a_real_server_are_split_wherever_the_bytes_are_cut(size: int, cut: int) -> None:
    """RFC 6455, 5.2: a read may end anywhere in a header or a payload."""
    peer = opened(protocol.SERVER)
    payloads = [b"a" * size, b"second", b"c" * size]
    for payload in payloads:
        peer.send_text(payload)
    data = b"".join(peer.data_to_send())
    reader = Reader()

    later = max(cut, len(data) - cut)
    pieces = [data[:cut], data[cut:later], data[later:]]
    found = [message for piece in pieces for message in reader.messages(piece)]

    assert found == payloads


def test_only_whole_messages_count() -> None:
    """A fragmented message is one message, which ends with its last fragment."""
    peer = opened(protocol.SERVER)
    peer.send_text(b"one, ", fin=False)
    first = b"".join(peer.data_to_send())
    peer.send_continuation(b"in two", fin=True)
    second = b"".join(peer.data_to_send())
    reader = Reader()

    assert [reader.count(first), reader.count(second)] == [0, 1]


def test_one_short_frame_counts_by_its_first_two_bytes_alone_if_nothing_is_left_over() -> None:
    """The fast way and the slow one agree."""
    short = unmasked(b"x" * 125)
    reader = Reader()

    assert reader.count(short) == 1
    assert reader.count(short[:50]) == 0
    assert reader.count(short[50:] + short) == 2
    assert reader.count(unmasked(b"x" * 126)) == 1


def test_what_looks_like_a_frame_inside_another_one_is_none() -> None:
    """The fast way is not taken while the rest of a frame is awaited."""
    inner, last = unmasked(b"inner"), b"last" * 50
    outer = unmasked(b"four" + inner)
    reader = Reader()

    assert reader.count(outer[: -len(inner)]) == 0
    assert reader.count(inner) == 1
    assert reader.messages(unmasked(last)) == [last]


def test_control_frames_are_no_messages() -> None:
    """Pings wait to be answered, and a close is told of (RFC 6455, 5.5)."""
    peer = opened(protocol.SERVER)
    peer.send_ping(b"are you there")
    peer.send_text(b"a message")
    peer.send_close(1000)
    reader = Reader()

    assert reader.count(b"".join(peer.data_to_send())) == 1
    assert reader.pings == [b"are you there"]
    assert reader.closed


def test_a_masked_pong_and_close_are_read_by_a_real_server() -> None:
    """What the generator says itself, beside messages."""
    peer = opened(protocol.SERVER)
    peer.receive_data(masked(b"still here", PONG))
    peer.receive_data(masked((1000).to_bytes(2), CLOSE))

    assert [frame.opcode for frame in peer.events_received()] == [
        frames.Opcode.PONG,
        frames.Opcode.CLOSE,
    ]
    assert peer.close_rcvd is not None
    assert peer.close_rcvd.code == 1000
    assert PING != PONG


def test_a_real_server_accepts_the_handshake() -> None:
    """RFC 6455, 4.1."""
    peer = server.ServerProtocol()
    peer.receive_data(upgrade("127.0.0.1:8000", "/echo/", [("Cookie", "sessionid=a")]))
    [request] = peer.events_received()

    assert (request.path, request.headers["Cookie"]) == ("/echo/", "sessionid=a")
    assert peer.accept(request).status_code == 101
