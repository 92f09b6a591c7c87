"""What carries a watched stream is read however it is cut, and says what its way says."""

import dataclasses
import json
import zlib

import pytest

from bench import http2
from bench.carriers import Carrier, carrier
from bench.targets import TARGETS
from bench.watching import FanOut, Way
from bench.websocket import client_text, server_frame

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n%b\r\n"
AGREED = SWITCH % b"sec-websocket-extensions: permessage-deflate; server_max_window_bits=10\r\n"


def read(carrier: Carrier, wire: bytes, size: int) -> list[tuple[int, bytes, bool]]:
    said = []
    for start in range(0, len(wire), size):
        said += carrier.feed(wire[start : start + size])
        if carrier.problem:
            break
    return said


def bodies(said: list[tuple[int, bytes, bool]]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for number, part, _ in said:
        found[number] = found.get(number, b"") + part
    return found


def test_sse_is_a_body_that_ends():
    wire = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    for size in range(1, len(wire) + 1):
        sse = carrier(Way("/{id}/events"), "S", {})
        said = read(sse, wire, size)
        assert sse.hello().startswith(b"GET /S/events HTTP/1.1\r\n")
        assert bodies(said) == {0: b"hello"}
        assert said[-1][2]
        assert not sse.problem


@pytest.mark.parametrize("way", [Way("/"), Way("/", "websocket")])
def test_a_refusal_is_a_problem(way):
    refused = carrier(way, "S", {})
    refused.feed(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    assert refused.problem == "status 404"
    silly = carrier(way, "S", {})
    silly.feed(b"SSH-2.0-OpenSSH\r\n\r\n")
    assert silly.problem.startswith("the response is broken")


def test_a_socket_speaks_when_it_is_open_and_each_time_it_is_spoken_to():
    wire = SWITCH % b"" + b"".join(map(server_frame, (b"one", b"two", b"three")))
    for size in range(1, len(wire) + 1):
        socket = carrier(Way("/", "websocket", protocol="p", says=("a", "", "watch {id}")), "S", {})
        assert b"sec-websocket-protocol: p\r\n" in socket.hello()
        said = read(socket, wire, size)
        assert [message for _, message, _ in said] == [b"", b"one", b"two", b"three"]
        assert socket.replies == client_text("a") + client_text("watch S")


def compressed(compressor: "zlib._Compress", text: bytes) -> bytes:
    data = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
    frame = server_frame(data[:-4])
    return bytes([frame[0] | 0x40]) + frame[1:]


def test_messages_are_inflated_against_those_before_them():
    compressor = zlib.compressobj(wbits=-10)
    texts = [b"a message of some length", b"a message of some more length"]
    wire = AGREED + b"".join(compressed(compressor, text) for text in texts) + server_frame(b"plain")
    for size in (1, 7, len(wire)):
        socket = carrier(Way("/", "websocket", deflate=True), "S", {})
        assert b"sec-websocket-extensions: permessage-deflate" in socket.hello()
        assert [message for _, message, _ in read(socket, wire, size)] == [b"", *texts, b"plain"]
        assert not socket.problem


def test_a_target_that_does_not_compress_is_told():
    socket = carrier(Way("/", "websocket", deflate=True), "S", {})
    socket.feed(SWITCH % b"")
    assert socket.problem == "the target does not agree to compress"


def test_http2_tells_its_streams_apart():
    wire = b"".join(
        [
            http2.frame(4, 0, 0),
            http2.frame(1, 4, 1, b"\x88"),
            http2.frame(0, 0, 3, b"of the second"),
            http2.frame(0, 1, 1, b"of the first"),
        ]
    )
    for size in range(1, len(wire) + 1):
        connection = carrier(Way("/{id}", "http2"), "S", {}, streams=2)
        assert connection.hello().count(b"/S") == 2
        assert read(connection, wire, size) == [(1, b"of the second", False), (0, b"of the first", True)]
        assert connection.replies == http2.frame(4, 1, 0)
        assert not connection.problem


def test_a_reset_is_a_problem():
    connection = carrier(Way("/{id}", "http2"), "S", {}, streams=1)
    connection.feed(http2.frame(3, 0, 1, b"\0\0\0\x07"))
    assert "a frame of type 3" in connection.problem


def test_ways_and_commands_travel_as_json():
    for target in TARGETS.values():
        if target.fan_out is not None:
            assert FanOut.from_json(json.loads(json.dumps(dataclasses.asdict(target.fan_out)))) == target.fan_out
