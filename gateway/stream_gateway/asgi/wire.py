"""A WebSocket that somebody else's server speaks, as a wire of ours.

The server gives and takes whole messages. Our sockets live on bytes, so the wire is a client to them: it puts what the
server gives into frames, and takes our frames apart again. Pings of ours it answers itself: the peer's liveness is the
server's business.
"""

from __future__ import annotations

from typing import Final

import trio
from wsproto.connection import CLIENT, Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import LocalProtocolError

from stream_gateway.asgi.messages import Message, Receive, Send
from stream_protocols.chunking import Conditions
from stream_protocols.closing import CloseCode

_UNSPEAKABLE: Final = (CloseCode.NO_STATUS, CloseCode.ABNORMAL)
"""Codes of a close without one, and of none at all: they stand in no frame (RFC 6455 §7.4.1)."""


class AsgiWire:
    """The wire (see `Wire`), after the handshake.

    Args:
        receive: the server's.
        send: as `AsgiExchange.send`.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._protocol = Connection(CLIENT)
        self._arrived = b""  # frames for our side
        self._ended = False
        self._changed = trio.Event()
        self._pending = b""
        self._sending = trio.Lock()
        self._text: list[str] = []
        self._bytes: list[bytes] = []

    async def pump(self) -> None:
        """Take messages from the server, one after the other, each when the last one has been read."""
        while not self._ended:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code", CloseCode.ABNORMAL)
                if code not in _UNSPEAKABLE:
                    self._say(CloseConnection(code, message.get("reason") or ""))
                self._end()
            elif message.get("text") is not None:
                self._say(TextMessage(message["text"]))
            else:
                self._say(BytesMessage(message.get("bytes") or b""))
            while self._arrived and not self._ended:
                await self._wait()

    def _say(self, event: Event) -> None:
        """Say something to our side."""
        try:
            self._arrived += self._protocol.send(event)
        except LocalProtocolError:  # it has closed meanwhile
            self._ended = True
        self._wake()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait(self) -> None:
        await self._changed.wait()

    # ---- what our side calls (see `Wire`)

    def conditions(self) -> Conditions:
        """Nothing: the network is the server's."""
        return Conditions()

    def clear(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._pending and not self._sending.locked()

    def write_now(self, data: bytes) -> bool:
        """Keep frames for `flush`."""
        self._pending += data
        return False

    async def flush(self) -> None:
        """Send what was written, and wait until the server wants more."""
        async with self._sending:
            data, self._pending = self._pending, b""
            if not data:
                return
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                message = self._message(event)
                if message is not None:
                    await self._send(message)

    def _message(self, event: Event) -> Message | None:
        """What the server is to send, if anything, for what our side has said."""
        if isinstance(event, TextMessage):
            self._text.append(event.data)
            if event.message_finished:
                text, self._text = "".join(self._text), []
                return {"type": "websocket.send", "text": text}
        elif isinstance(event, BytesMessage):
            self._bytes.append(bytes(event.data))
            if event.message_finished:
                data, self._bytes = b"".join(self._bytes), []
                return {"type": "websocket.send", "bytes": data}
        elif isinstance(event, Ping):
            self._say(event.response())
        elif isinstance(event, CloseConnection):
            self._say(event.response())
            self._end()
            return {"type": "websocket.close", "code": event.code, "reason": event.reason or ""}
        return None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Frames, or none at the end."""
        while not self._arrived and not self._ended:
            await self._wait()
        data, self._arrived = self._arrived, b""
        self._wake()
        return data

    async def close_gracefully(self) -> None:
        """Let what was written leave."""
        await self.flush()
        self._end()

    def close(self) -> None:
        """Nothing more is read; the server closes the connection when the application returns."""
        self._end()

    def abort(self) -> None:
        """See `close`."""
        self._end()
