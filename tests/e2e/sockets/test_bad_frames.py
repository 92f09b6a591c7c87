"""Frames that break the protocol or a limit: the close code that says so, and nobody else notices."""

from __future__ import annotations

import zlib

import pytest

from tests.doubles.gateway_client import GatewayClient
from tests.doubles.served_gateway import ServedGateway, Spawn
from tests.doubles.sockets.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    close,
    frame,
    head,
)
from tests.doubles.sockets.raw_socket import RawSocket, raw_socket
from tests.doubles.sockets.session_client import SessionClient
from tests.doubles.waiting import until

LIMIT = 20_000
"""`message_bytes` of the gateway."""


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


BOMB = deflated(bytes(100_000_000))

PROTOCOL_ERRORS = {
    "unmasked": frame(TEXT, b"x", masked=False),
    "unmasked ping": frame(PING, b"x", masked=False),
    "rsv1 without compression": frame(TEXT, b"x", rsv=RSV1),
    "rsv2": frame(TEXT, b"x", rsv=RSV2),
    "rsv3": frame(BINARY, b"x", rsv=RSV3),
    "rsv of a ping": frame(PING, b"x", rsv=RSV1),
    "opcode 3": frame(0x3, b"x"),
    "opcode 7": frame(0x7),
    "opcode 11": frame(0xB, b"x"),
    "opcode 15": frame(0xF),
    "fragmented ping": frame(PING, b"x", fin=False),
    "fragmented close": frame(CLOSE, fin=False),
    "long ping": frame(PING, bytes(126)),
    "long close": frame(CLOSE, bytes(126)),
    "continuation of nothing": frame(CONTINUATION, b"x"),
    "a message within a message": frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"),
    "length in too many bytes": bytes([0x80 | TEXT, 0xFE, 0, 5]) + bytes(9),
    "length in far too many bytes": bytes([0x80 | TEXT, 0xFF]) + (5).to_bytes(8, "big") + bytes(9),
    "negative length": bytes([0x80 | TEXT, 0xFF]) + b"\xff" * 8 + bytes(4),
    "close with one byte": frame(CLOSE, b"\x03"),
    "close 999": close(999),
    "close 1004": close(1004),
    "close 1005": close(1005),
    "close 1006": close(1006),
    "close 1015": close(1015),
    "close 1016": close(1016),
    "close 2999": close(2999),
    "close 5000": close(5000),
    "close 65535": close(65_535),
}

NOT_UTF8 = {
    "a byte": frame(TEXT, b"\xff"),
    "an end cut off": frame(TEXT, b"abc\xc3"),
    "a surrogate": frame(TEXT, b"\xed\xa0\x80"),
    "an overlong slash": frame(TEXT, b"\xc0\xaf"),
    "beyond Unicode": frame(TEXT, b"\xf4\x90\x80\x80"),
    "in a continuation": frame(TEXT, b"ab", fin=False) + frame(CONTINUATION, b"\xff"),
    "before the message is over": frame(TEXT, b"\xff", fin=False),
    "before the frame is over": head(TEXT, 1000) + b"\xff",
    "in a close reason": frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff"),
}

TOO_LARGE = {
    "at once": frame(TEXT, b"x" * (LIMIT + 1)),
    "binary": frame(BINARY, b"x" * (LIMIT + 1)),
    "its head alone": head(TEXT, LIMIT + 1),
    "a head that says exabytes": head(BINARY, 2**62),
    "in many frames": frame(TEXT, b"x" * 6000, fin=False) + 3 * frame(CONTINUATION, b"x" * 6000, fin=False),
    "in bytes, not in characters": frame(TEXT, ("日" * (LIMIT // 3 + 1)).encode()),
    "and another one right behind": 3 * frame(TEXT, b"x" * (LIMIT + 1)),
    "and a ping right behind": frame(TEXT, b"x" * (LIMIT + 1)) + frame(PING, b"x"),
}


@pytest.mark.parametrize("name", PROTOCOL_ERRORS)
async def test_protocol_errors(harmed: ServedGateway, name: str) -> None:
    socket = await raw_socket(harmed)
    await socket.offer(PROTOCOL_ERRORS[name])
    closed = await socket.closed()
    assert closed.code == 1002, closed
    assert closed.reason
    await until(lambda: harmed.now.sockets == 1)


@pytest.mark.parametrize("name", NOT_UTF8)
async def test_text_that_is_not_utf8(harmed: ServedGateway, name: str) -> None:
    socket = await raw_socket(harmed)
    await socket.offer(NOT_UTF8[name])
    assert (await socket.closed()).code == 1007
    await until(lambda: harmed.now.sockets == 1)


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_messages_that_are_too_large(harmed: ServedGateway, name: str) -> None:
    socket = await raw_socket(harmed)
    await socket.offer(TOO_LARGE[name])
    closed = await socket.closed()
    assert closed.code == 1009, closed
    assert str(LIMIT) in closed.reason
    await until(lambda: harmed.now.sockets == 1)


async def test_the_largest_message_there_may_be(harmed: ServedGateway) -> None:
    """Of exactly the limit, in one frame, in many, compressed, or incompressible and compressed all the same."""
    for extensions in (None, "permessage-deflate"):
        client = SessionClient(await raw_socket(harmed, extensions=extensions))
        command = b'{"type":"ping","ref":1}'
        message = command + b" " * (LIMIT - len(command))
        await client.socket.send(TEXT, message)
        assert (await client.reply(1))["type"] == "ok"
        pieces = [message[at : at + 500] for at in range(0, LIMIT, 500)]
        for index, piece in enumerate(pieces):
            await client.socket.send(CONTINUATION if index else TEXT, piece, fin=index == len(pieces) - 1)
            await client.socket.send(PING, b"between")
        assert (await client.reply(1))["type"] == "ok"
    await client.socket.send(TEXT, deflated(message), rsv=RSV1)
    assert (await client.reply(1))["type"] == "ok"
    stored = zlib.compressobj(0, zlib.DEFLATED, -15)
    data = (stored.compress(message) + stored.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(data) > LIMIT
    await client.socket.send(TEXT, data, rsv=RSV1)
    assert (await client.reply(1))["type"] == "ok"


@pytest.mark.parametrize("size", [0, 1])
async def test_a_message_of_endlessly_many_frames(harmed: ServedGateway, size: int) -> None:
    """Frames of no or hardly any size cost memory each; the limit on their number is as old as the first one."""
    socket = await raw_socket(harmed)
    await socket.send(TEXT, b"x", fin=False)
    empty = head(CONTINUATION, size, fin=False) + bytes(size)
    await socket.offer(empty * 5000)
    closed = await socket.closed()
    assert closed.code == 1008, closed
    assert "frames" in closed.reason


# ---- compressed


@pytest.fixture
async def compressed(harmed: ServedGateway) -> RawSocket:
    return await raw_socket(harmed, extensions="permessage-deflate")


async def test_a_bomb(harmed: ServedGateway, compressed: RawSocket) -> None:
    """A thousand to one: it is refused before it is inflated."""
    assert len(BOMB) < 100_000
    await compressed.offer(frame(TEXT, BOMB, rsv=RSV1))
    closed = await compressed.closed()
    assert closed.code == 1009
    assert str(LIMIT) in closed.reason


async def test_a_bomb_of_a_good_size(compressed: RawSocket) -> None:
    """Small enough on the wire, too large inflated."""
    data = deflated(bytes(1000 * LIMIT))
    await compressed.offer(frame(BINARY, data[: LIMIT // 2], rsv=RSV1, fin=False))
    assert (await compressed.closed()).code == 1009


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 20, b"\x07", deflated(b"hello")[:-1] + b"\xff\xff\xff", b"\x00\x01\x00\x00\x00x"],
)
async def test_what_cannot_be_inflated(compressed: RawSocket, data: bytes) -> None:
    await compressed.offer(frame(TEXT, data, rsv=RSV1))
    assert (await compressed.closed()).code == 1007


async def test_compressed_text_that_is_not_utf8(compressed: RawSocket) -> None:
    await compressed.offer(frame(TEXT, deflated(b"\xff\xff"), rsv=RSV1))
    assert (await compressed.closed()).code == 1007


async def test_compression_stands_in_the_first_frame_only(compressed: RawSocket) -> None:
    await compressed.offer(frame(TEXT, b"", rsv=RSV1, fin=False) + frame(CONTINUATION, b"x", rsv=RSV1))
    assert (await compressed.closed()).code == 1002


async def test_garbage_behind_the_last_block(compressed: RawSocket) -> None:
    """A deflate stream may end before its message does: what follows is neither kept nor quietly dropped."""
    whole = zlib.compressobj(9, zlib.DEFLATED, -15)
    final = whole.compress(b'{"type":"ping","ref":"r"}') + whole.flush(zlib.Z_FINISH)
    await compressed.send(TEXT, final + b"\x00", rsv=RSV1)  # RFC 7692, section 7.2.3.4
    assert await SessionClient(compressed).reply("r") == {"type": "ok", "ref": "r"}
    await compressed.offer(frame(TEXT, final + b"\xff" * 10_000, rsv=RSV1))
    assert (await compressed.closed()).code == 1007


@pytest.mark.deadline(60)
async def test_memory_stays_where_it_was(spawn: Spawn) -> None:
    """A hundred bombs of 100 MB each, and as many that are never finished."""
    async with spawn() as process, GatewayClient(process.host, process.port) as gateway:
        await (await raw_socket(gateway, extensions="permessage-deflate")).close()
        before = process.resident_bytes()
        for _ in range(100):
            first, second = [await raw_socket(gateway, extensions="permessage-deflate") for _ in range(2)]
            await first.offer(frame(TEXT, BOMB, rsv=RSV1))
            await second.offer(frame(TEXT, BOMB[:2000], rsv=RSV1, fin=False))
            assert (await first.closed()).code == 1009
            assert (await second.closed()).code == 1009
        assert process.resident_bytes() - before < 32_000_000


# ---- closing


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "going"), (3000, ""), (4321, "ä" * 61), (1012, "x" * 123)]
)
async def test_the_close_is_answered_with_its_own_code(harmed: ServedGateway, code: int, reason: str) -> None:
    socket = await raw_socket(harmed)
    closed = await socket.close(code, reason)
    assert closed.code == code
    await until(lambda: harmed.now.sockets == 1)


async def test_a_close_without_a_code(harmed: ServedGateway) -> None:
    socket = await raw_socket(harmed)
    await socket.offer(frame(CLOSE))
    assert (await socket.closed()).code is None


async def test_what_follows_a_close_is_ignored(harmed: ServedGateway) -> None:
    socket = await raw_socket(harmed)
    await socket.offer(close(1000) + frame(PING, b"x") + frame(TEXT, b'{"type":"ping"}') + b"\xff" * 1000)
    found = await socket.next_frame()
    assert found is not None
    assert (found.opcode, found.code) == (CLOSE, 1000)
    assert not await socket.line.receive()
    assert not socket.line.unread


@pytest.mark.parametrize("leaves", ["closes", "resets"])
async def test_leaving_without_a_word(harmed: ServedGateway, leaves: str) -> None:
    for part in (b"", frame(TEXT, b"{"), frame(TEXT, b"{")[:-1], head(TEXT, 500), frame(TEXT, b"x", fin=False)):
        socket = await raw_socket(harmed)
        await socket.line.send(part)
        if leaves == "closes":
            await socket.line.aclose()
        else:
            await socket.line.reset()  # type: ignore[attr-defined]
    await until(lambda: (harmed.now.sockets, harmed.now.connections) == (1, 1))


async def test_pongs_nobody_asked_for(harmed: ServedGateway) -> None:
    socket = await raw_socket(harmed)
    for payload in (b"", b"x" * 125):
        await socket.send(PONG, payload)
    assert (await SessionClient(socket).ask("ping"))["type"] == "ok"


@pytest.mark.parametrize("size", [0, 1, 124, 125])
async def test_pings_come_back(harmed: ServedGateway, size: int) -> None:
    socket = await raw_socket(harmed)
    payload = bytes(range(size))
    await socket.send(PING, payload)
    found = await socket.next_frame()
    assert found is not None
    assert (found.opcode, found.payload) == (PONG, payload)


async def test_every_frame_byte_by_byte(harmed: ServedGateway) -> None:
    socket = await raw_socket(harmed)
    data = frame(TEXT, b'{"type":"pi', fin=False) + frame(PING, b"p") + frame(CONTINUATION, b'ng","ref":1}')
    for byte in data:
        await socket.line.send(bytes([byte]))
    client = SessionClient(socket)
    assert (await client.reply(1))["type"] == "ok"
    assert socket.pongs == [b"p"]
    for byte in close(1000):
        await socket.line.send(bytes([byte]))
    assert (await socket.closing()).code == 1000
