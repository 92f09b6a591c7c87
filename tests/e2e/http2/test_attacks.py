"""Raw frames of clients that mean no good: the right error code, and nobody else feels it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable

import pytest
import trio
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe import frame as f

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, chat_body, openai_text
from tests.doubles.h2_client import PREFACE, H2Client, h2_connect
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve, ServedGateway, Spawn
from tests.doubles.waiting import until

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


def heads(number: int, count: int, *, each: int = 0, end: bool = True) -> bytes:
    """Requests on streams from `number` on, `each` apart: 0 is always the same."""
    encoder = Encoder()
    return b"".join(request(number + each * turn, encoder=encoder, end=end) for turn in range(count))


def made_you_reset(break_it: Callable[[int], bytes]) -> bytes:
    """Requests that the client itself gives us a reason to reset (CVE-2025-8671)."""
    encoder = Encoder()
    return b"".join(request(number, encoder=encoder) + break_it(number) for number in range(1, 4_000, 2))


def large_heads() -> bytes:
    """A few bytes each, and 30,000 when they are decompressed: over the limit, and not enough to be a bomb."""
    encoder = Encoder()
    large = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a"), *[("a", "b" * 2_000)] * 14]
    encoder.encode(large)
    frame = f.HeadersFrame(1, Encoder().encode(large), flags=["END_HEADERS", "END_STREAM"]).serialize()
    again = encoder.encode(large)
    others = (f.HeadersFrame(number, again, flags=["END_HEADERS", "END_STREAM"]) for number in range(3, 400, 2))
    return frame + frames(others)


def unknown(kind: int) -> bytes:
    return (b"\x00\x00\x00" + bytes([kind, 0]) + b"\x00\x00\x00\x00") * MANY


FLOODS: dict[str, Callable[[], bytes]] = {
    "rapid reset": rapid_reset,
    "SETTINGS": lambda: f.SettingsFrame(0, {4: 70_000}).serialize() * MANY,
    "many settings": lambda: f.SettingsFrame(0, dict.fromkeys(range(100, 200), 1)).serialize(),
    "PING": lambda: f.PingFrame(0, b"01234567").serialize() * MANY,
    "empty DATA": lambda: request(end=False, method="POST") + f.DataFrame(1, b"").serialize() * MANY,
    "tiny DATA": lambda: request(end=False, method="POST") + f.DataFrame(1, b"x").serialize() * MANY,
    "padded DATA": lambda: (
        request(end=False, method="POST") + f.DataFrame(1, b"x", pad_length=255, flags=["PADDED"]).serialize() * MANY
    ),
    "refused streams": lambda: heads(1, MANY, each=2, end=False),
    "HEADERS of a stream that was reset": lambda: (
        request() + f.RstStreamFrame(1, error_code=8).serialize() + heads(1, MANY)
    ),
    "made to reset, by a window": lambda: made_you_reset(
        lambda number: f.WindowUpdateFrame(number, window_increment=2**31 - 1).serialize()
    ),
    "made to reset, by DATA after the end": lambda: made_you_reset(
        lambda number: f.DataFrame(number, b"x" * 200).serialize()
    ),
    "made to reset, by a method": lambda: b"".join(
        f.HeadersFrame(number, b"\x02\x01\xff\x86\x84\x01\x01a", flags=["END_HEADERS", "END_STREAM"]).serialize()
        for number in range(1, 4_000, 2)
    ),
    "large heads": large_heads,
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
    assert frame.additional_data


def bomb() -> bytes:
    """4 KB in the table, and a block of references to it (CVE-2016-6581)."""
    large = Encoder().encode([(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")])
    large += b"\x40\x01a\x7f\x81\x1e" + b"b" * 4_000 + b"\xbe" * 10_000
    return f.HeadersFrame(1, large, flags=["END_HEADERS", "END_STREAM"]).serialize()


def block(data: bytes) -> bytes:
    return f.HeadersFrame(1, data, flags=["END_HEADERS", "END_STREAM"]).serialize()


def fields(*extra: tuple[str, str], without: str = "", end: bool = True) -> bytes:
    """A request with these fields, which take the place of usual ones of the same name."""
    usual = {":method": "POST", ":scheme": "http", ":authority": "a", ":path": "/v1/models"}
    names = {name for name, _ in extra if name != ":authority"} | {without}
    kept = [(name, value) for name, value in usual.items() if name not in names]
    pseudo = [field for field in extra if field[0].startswith(":") and field[0] != ":authority"]
    rest = [field for field in extra if field not in pseudo]
    frame = f.HeadersFrame(1, Encoder().encode([*kept, *pseudo, *rest]), flags=["END_HEADERS"])
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


def head(length: int, kind: int, *, flags: int = 0, stream: int = 0) -> bytes:
    return length.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")


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
        ErrorCodes.COMPRESSION_ERROR,
    ),
    "a table larger than allowed": (lambda: block(b"\x3f\xe2\x1f\x82"), ErrorCodes.COMPRESSION_ERROR),
    "a table resized over and over": (lambda: block(b"\x20" * 16_000), ErrorCodes.COMPRESSION_ERROR),
    "no path": (lambda: fields(("x", "y"), without=":path"), ErrorCodes.PROTOCOL_ERROR),
    "no path of a WebSocket": (
        lambda: fields((":method", "CONNECT"), (":protocol", "websocket"), without=":path"),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "a pseudo header twice": (lambda: fields((":path", "/"), (":path", "/")), ErrorCodes.PROTOCOL_ERROR),
    "a pseudo header last": (lambda: fields(("x", "y"), (":authority", "b")), ErrorCodes.PROTOCOL_ERROR),
    "a header of the connection": (lambda: fields(("transfer-encoding", "chunked")), ErrorCodes.PROTOCOL_ERROR),
    "a header without a name": (lambda: fields(("", "x")), ErrorCodes.PROTOCOL_ERROR),
    "a header in capitals": (lambda: fields(("X-A", "x")), ErrorCodes.PROTOCOL_ERROR),
    "a header with a line end": (lambda: fields(("x", "a\r\nb: c")), ErrorCodes.PROTOCOL_ERROR),
    "two hosts": (lambda: fields(("host", "b")), ErrorCodes.PROTOCOL_ERROR),
    "less than the content-length": (
        lambda: fields(("content-length", "5"), end=False) + f.DataFrame(1, b"x", flags=["END_STREAM"]).serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "more than the content-length": (
        lambda: fields(("content-length", "5"), end=False) + f.DataFrame(1, b"x" * 200).serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "CONTINUATION for a stream that is over": (
        lambda: request() + f.RstStreamFrame(1, error_code=8).serialize() + f.ContinuationFrame(1, b"").serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "PRIORITY for no stream": (lambda: head(5, 2) + b"\x00" * 5, ErrorCodes.PROTOCOL_ERROR),
    "PRIORITY of another size": (lambda: head(4, 2, stream=1) + b"\x00" * 4, ErrorCodes.FRAME_SIZE_ERROR),
    "GOAWAY for a stream": (lambda: head(8, 7, stream=1) + b"\x00" * 8, ErrorCodes.PROTOCOL_ERROR),
    "GOAWAY cut short": (lambda: head(4, 7) + b"\x00" * 4, ErrorCodes.FRAME_SIZE_ERROR),
    "PING of another size": (lambda: head(6, 6) + b"\x00" * 6, ErrorCodes.FRAME_SIZE_ERROR),
    "SETTINGS of another size": (lambda: head(5, 4) + b"\x00" * 5, ErrorCodes.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of another size": (lambda: head(3, 8) + b"\x00" * 3, ErrorCodes.FRAME_SIZE_ERROR),
    "more padding than frame": (
        lambda: request(end=False, method="POST") + head(2, 0, flags=8, stream=1) + b"\xff\x00",
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


async def test_a_header_block_whose_last_frame_never_ends(serve: Serve) -> None:
    gateway = await serve(limits={"header_timeout": 0.3})
    assert (await attack(gateway, request()[:-1])).error_code == 0


async def test_crumbs_of_a_frame_buy_no_time(serve: Serve) -> None:
    gateway = await serve(limits={"idle_timeout": 0.5})
    async with await Connection.open(gateway.host, gateway.port) as connection, trio.open_nursery() as nursery:
        await connection.send(PREFACE + f.SettingsFrame(0).serialize() + head(16_384, 0xEE))

        async def dribble() -> None:
            while True:
                await connection.offer(b"x")
                await trio.sleep(0.05)

        nursery.start_soon(dribble)
        assert goaway(await connection.ended()).error_code == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE])
async def test_who_says_nothing_is_closed(serve: Serve, sent: bytes) -> None:
    gateway = await serve(limits={"header_timeout": 0.2, "idle_timeout": 0.4})
    async with await Connection.open(gateway.host, gateway.port) as connection:
        await connection.send(sent)
        await connection.ended()
    await gateway.idle()


async def test_who_sends_and_does_not_read(serve: Serve) -> None:
    """Answers pile up to a bound; then we stop reading, and `write_timeout` ends it."""
    gateway = await serve(server={"write_timeout": 0.5, "send_buffer_bytes": 8_192})
    async with h2_connect(gateway.host, gateway.port) as other:
        connection = await Connection.open(gateway.host, gateway.port, receive_buffer=4_096)
        async with connection:
            encoder = Encoder()
            requests = b"".join(request(number, encoder=encoder) for number in range(1, 4_000, 2))
            await connection.offer(PREFACE + f.SettingsFrame(0).serialize() + requests)
            assert (await other.request("GET", "/v1/models")).status == 200
            await until(lambda: gateway.now.connections == 1)


async def test_who_leaves_before_the_answers_is_no_failure(spawn: Spawn) -> None:
    """A connection that breaks while frames are handled ends like any other that breaks."""
    async with spawn() as process:
        for count in range(2, 150, 3):
            connection = await Connection.open(process.host, process.port)
            pings = f.PingFrame(0, b"01234567").serialize() * count
            await connection.offer(PREFACE + f.SettingsFrame(0).serialize() + pings)
            await connection.aclose()
        async with h2_connect(process.host, process.port) as client:
            assert (await client.request("GET", "/v1/models")).status == 200
        process.process.terminate()
        await process.exited.wait()
        assert [entry["event"] for entry in process.log] == ["listening", "control_plane", "stopping", "stopped"]


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


@pytest.mark.parametrize("late", [f.DataFrame(1, b"x" * 200), f.HeadersFrame(1, b"\x82", flags=["END_HEADERS"])])
async def test_what_follows_the_end_of_a_stream_resets_it_alone(
    upstream: OpenAIServer, gateway: ServedGateway, late: f.Frame
) -> None:
    """RFC 9113 §5.1: a stream error of the type STREAM_CLOSED."""
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate(3)))
    async with h2_connect(gateway.host, gateway.port) as client:
        broken = await client.request("POST", CHAT, payload=chat_body("m"))
        neighbour = await client.request("POST", CHAT, payload=chat_body("m"))
        await client.send_frames(late)
        assert (await broken.until_over()).reset == ErrorCodes.STREAM_CLOSED
        gate.open()
        assert openai_text(await neighbour.rest()) == script.text


async def test_a_reset_that_crosses_a_window_update(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Frames for a stream that is over may still be on their way (RFC 9113 §5.1)."""
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate(3)))
    async with h2_connect(gateway.host, gateway.port) as client:
        left = await client.request("POST", CHAT, payload=chat_body("m"))
        neighbour = await client.request("POST", CHAT, payload=chat_body("m"))
        reset, update = f.RstStreamFrame(left.id, error_code=8), f.WindowUpdateFrame(left.id, window_increment=5)
        await client.send_frames(update, reset, update, reset, update)
        gate.open()
        assert openai_text(await neighbour.rest()) == script.text
        assert client.goaway is None
