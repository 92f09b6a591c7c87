"""What the gateway uses of `trio-websocket` and `wsproto` beyond their public interfaces.

A new version that lacks one of these fails here, with a name, and not somewhere on a socket.
"""

from __future__ import annotations

import inspect

import pytest
import trio
import trio.testing
import wsproto.connection
import wsproto.extensions
import wsproto.frame_protocol
from trio_websocket import WebSocketConnection

from stream_gateway.server.sockets.inbound import Inbound
from tests.doubles.sockets.frames import PING, PONG, TEXT, close, frame, take_frame
from tests.doubles.sockets.memory import MemoryWire

WHERE = "stream_gateway.server.sockets.socket uses it; look there before you raise the version in pyproject.toml"


def test_the_reader_task() -> None:
    reader = getattr(WebSocketConnection, "_reader_task", None)
    assert inspect.iscoroutinefunction(reader), f"trio-websocket has no coroutine `_reader_task`: {WHERE}"
    assert list(inspect.signature(reader).parameters) == ["self"], f"`_reader_task` takes other arguments: {WHERE}"


@pytest.mark.parametrize("parameter", ["stream", "ws_connection", "max_message_size", "message_queue_size"])
def test_what_a_connection_is_made_of(parameter: str) -> None:
    assert parameter in inspect.signature(WebSocketConnection).parameters, f"`{parameter}` is gone: {WHERE}"


@pytest.mark.parametrize("name", ["aclose", "closed", "get_message"])
def test_what_is_called(name: str) -> None:
    assert hasattr(WebSocketConnection, name), f"`{name}` is gone: {WHERE}"


@pytest.mark.parametrize(
    "name", ["frame_inbound_header", "frame_inbound_payload_data", "frame_inbound_complete", "enabled"]
)
def test_wsprotos_hooks(name: str) -> None:
    assert hasattr(wsproto.extensions.Extension, name), f"wsproto's Extension has no `{name}`: {WHERE}"
    assert "effective_opcode" in vars(wsproto.frame_protocol.FrameDecoder(client=False))


def test_an_open_connection_will_do() -> None:
    """trio-websocket is given wsproto's `Connection`, which is open, where it expects a `WSConnection`."""
    for name in ("client", "state", "send", "receive_data", "events"):
        assert hasattr(wsproto.connection.Connection(wsproto.connection.SERVER), name)


async def test_together() -> None:
    """A connection after a handshake that was somebody else's: reads, answers pings, and closes."""
    sent: list[bytes] = []

    class Wire(trio.abc.Stream):
        def __init__(self) -> None:
            self.line = MemoryWire()

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return await self.line.receive_some(max_bytes)

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            sent.append(bytes(data))
            await trio.lowlevel.checkpoint()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            await self.line.aclose()

    class Owner:
        def __init__(self) -> None:
            self.pongs: list[bytes] = []

        def ponged(self, payload: bytes) -> None:
            self.pongs.append(payload)

    wire, owner = Wire(), Owner()
    connection = WebSocketConnection(wire, Inbound(1000, False, owner))  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection._reader_task)
        await wire.line.send(frame(PING, b"there?") + frame(PONG, b"here") + frame(TEXT, b"hello"))
        assert await connection.get_message() == "hello"
        await wire.line.send(close(1000, "bye"))
    assert connection.closed is not None
    assert (connection.closed.code, connection.closed.reason) == (1000, "bye")
    answers = [take_frame(bytearray(data)) for data in sent]
    assert [(answer.opcode, answer.payload[:6]) for answer in answers if answer] == [
        (PONG, b"there?"),
        (0x8, (1000).to_bytes(2, "big") + b"bye"),
    ]
    assert owner.pongs == [b"here"]
