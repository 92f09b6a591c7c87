"""Raw frames of clients that mean no good: the right error code, and nobody else feels it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe import frame as f

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, chat_body, openai_text
from tests.doubles.h2_client import PREFACE, H2Client, h2_connect
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve, ServedGateway

CALM = ErrorCodes.ENHANCE_YOUR_CALM
MANY = 20_000
CPU_SECONDS = 1.0
"""What an attack of `MANY` frames may cost: h2 alone would take as much again as the whole of it."""


@pytest.fixture
async def neighbour(gateway: ServedGateway, upstream: OpenAIServer) -> AsyncIterator[None]:
    """Another connection, with a stream that has to arrive whole."""
    upstream.scripts["neighbour"] = script = Script(deltas=words(30), gate=(gate := Gate(3)))
    async with h2_connect(gateway.host, gateway.port) as client:
        stream = await client.request("POST", CHAT, payload=chat_body("neighbour"))
        seen = await stream.take(3)
        yield
        gate.open()
        assert openai_text(seen + await stream.rest()) == script.text


async def attack(gateway: ServedGateway, data: bytes) -> f.GoAwayFrame:
    """Send a preface and these bytes as they are; what the gateway says before it closes."""
    connection = await Connection.open(gateway.host, gateway.port)
    async with connection:
        began = time.process_time()
        await connection.offer(PREFACE + f.SettingsFrame(0).serialize() + data)
        answer = await connection.ended()
        assert time.process_time() - began < CPU_SECONDS
    return goaway(answer)


def goaway(data: bytes) -> f.GoAwayFrame:
    while data:
        frame, length = f.Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        if isinstance(frame, f.GoAwayFrame):
            return frame
        data = data[9 + length :]
    raise AssertionError("no GOAWAY")


def frames(many: Iterable[f.Frame]) -> bytes:
    return b"".join(frame.serialize() for frame in many)


def request(number: int = 1, *, end: bool = True, method: str = "GET", encoder: Encoder | None = None) -> bytes:
    """The HEADERS frame of a request."""
    fields = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", "/v1/models")]
    frame = f.HeadersFrame(number, (encoder or Encoder()).encode(fields), flags=["END_HEADERS"])
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


def rapid_reset() -> bytes:
    encoder = Encoder()
    pairs = (
        request(number, encoder=encoder) + f.RstStreamFrame(number, error_code=8).serialize()
        for number in range(1, MANY, 2)
    )
    return b"".join(pairs)


def window_updates(number: int) -> bytes:
    return f.WindowUpdateFrame(number, window_increment=1).serialize() * MANY


def continuations(size: int, count: int) -> bytes:
    head = f.HeadersFrame(1, b"\x00", flags=["END_STREAM"]).serialize()
    return head + f.ContinuationFrame(1, b"\x00" * size).serialize() * count


def unknown(kind: int) -> bytes:
    return (b"\x00\x00\x00" + bytes([kind, 0]) + b"\x00\x00\x00\x00") * MANY


FLOODS: dict[str, Callable[[], bytes]] = {
    "rapid reset": rapid_reset,
    "SETTINGS": lambda: f.SettingsFrame(0, {4: 70_000}).serialize() * MANY,
    "many settings": lambda: f.SettingsFrame(0, dict.fromkeys(range(100, 200), 1)).serialize(),
    "PING": lambda: f.PingFrame(0, b"01234567").serialize() * MANY,
    "empty DATA": lambda: request(end=False, method="POST") + f.DataFrame(1, b"").serialize() * MANY,
    "tiny DATA": lambda: request(end=False, method="POST") + f.DataFrame(1, b"x").serialize() * MANY,
    "empty CONTINUATION": lambda: continuations(0, MANY),
    "large CONTINUATION": lambda: continuations(16_384, 100),
    "WINDOW_UPDATE, connection": lambda: window_updates(0),
    "WINDOW_UPDATE, stream": lambda: request(end=False) + window_updates(1),
    "PRIORITY": lambda: f.PriorityFrame(1, depends_on=3).serialize() * MANY,
    "unknown frames": lambda: unknown(0xEE),
}


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood(gateway: ServedGateway, name: str) -> None:
    frame = await attack(gateway, FLOODS[name]())
    assert frame.error_code == CALM, frame
    assert frame.additional_data or name == "header bomb"


def bomb() -> bytes:
    """4 KB in the table, and a block of references to it (CVE-2016-6581)."""
    large = Encoder().encode([(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")])
    large += b"\x40\x01a\x7f\x81\x1e" + b"b" * 4_000 + b"\xbe" * 10_000
    return f.HeadersFrame(1, large, flags=["END_HEADERS", "END_STREAM"]).serialize()


BREACHES: dict[str, tuple[Callable[[], bytes], ErrorCodes]] = {
    "header bomb": (bomb, CALM),
    "overlong frame": (lambda: b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", ErrorCodes.FRAME_SIZE_ERROR),
    "zero increment": (lambda: b"\x00\x00\x04\x08\x00" + b"\x00" * 8, ErrorCodes.PROTOCOL_ERROR),
    "window overflow": (
        lambda: f.WindowUpdateFrame(0, window_increment=2**31 - 1).serialize(),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
    "initial window overflow": (
        lambda: b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x04\xff\xff\xff\xff",
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
    "DATA on an idle stream": (lambda: f.DataFrame(5, b"x" * 200).serialize(), ErrorCodes.PROTOCOL_ERROR),
    "CONTINUATION alone": (lambda: f.ContinuationFrame(1, b"").serialize(), ErrorCodes.PROTOCOL_ERROR),
    "an interrupted header block": (
        lambda: f.HeadersFrame(1, b"\x82").serialize() + f.PingFrame(0, b"01234567").serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "an interrupted header block, by what is ignored": (
        lambda: f.HeadersFrame(1, b"\x82").serialize() + f.PriorityFrame(3, depends_on=1).serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "broken HPACK": (
        lambda: f.HeadersFrame(1, b"\xff\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS"]).serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "an even stream": (lambda: request(2), ErrorCodes.PROTOCOL_ERROR),
    "PUSH_PROMISE": (
        lambda: f.PushPromiseFrame(1, 2, b"\x82", flags=["END_HEADERS"]).serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
}


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("name", BREACHES)
async def test_a_breach(gateway: ServedGateway, name: str) -> None:
    make, code = BREACHES[name]
    assert (await attack(gateway, make())).error_code == code


async def test_a_header_block_that_never_ends(serve: Serve) -> None:
    gateway = await serve(limits={"header_timeout": 0.3})
    assert (await attack(gateway, f.HeadersFrame(1, b"\x82").serialize())).error_code == 0


@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE])
async def test_who_says_nothing_is_closed(serve: Serve, sent: bytes) -> None:
    gateway = await serve(limits={"header_timeout": 0.2, "idle_timeout": 0.4})
    async with await Connection.open(gateway.host, gateway.port) as connection:
        await connection.send(sent)
        await connection.ended()
    await gateway.idle()


async def test_who_sends_and_does_not_read(gateway: ServedGateway) -> None:
    """Answers pile up to a bound; then we stop reading, and `write_timeout` ends it."""
    async with h2_connect(gateway.host, gateway.port) as other:
        connection = await Connection.open(gateway.host, gateway.port, receive_buffer=4_096)
        async with connection:
            encoder = Encoder()
            requests = b"".join(request(number, encoder=encoder) for number in range(1, 4_000, 2))
            await connection.send(PREFACE + f.SettingsFrame(0).serialize() + requests)
            assert (await other.request("GET", "/v1/models")).status == 200


async def test_an_unknown_frame_and_a_priority_are_ignored(gateway: ServedGateway) -> None:
    async with h2_connect(gateway.host, gateway.port) as client:
        await client.send_frames(f.PriorityFrame(7, depends_on=0), f.ExtensionFrame(type=0xEE, stream_id=0))
        assert (await client.request("GET", "/v1/models")).status == 200
        await one_byte_at_a_time(client)


async def one_byte_at_a_time(client: H2Client) -> None:
    """Frames that come in crumbs are the same frames."""
    data = f.PriorityFrame(7, depends_on=0).serialize() + f.PingFrame(0, b"01234567").serialize()
    for at in range(len(data)):
        await client.stream.send_all(data[at : at + 1])
    assert (await client.request("GET", "/v1/models")).status == 200
