"""The WebSockets of one client: as many as its streams need, and one attempt at a time for all who wait."""

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import trio

from stream_gateway.client.carrier import Lost, again
from stream_gateway.client.errors import Refused
from stream_gateway.client.handshake import Address
from stream_gateway.client.inbox import Inbox
from stream_gateway.client.settings import WEBSOCKET, Settings
from stream_gateway.client.socket import Socket
from stream_gateway.client.sse import Spawn
from stream_protocols.reconnect import Ladder

_FULL: Final = "too_many_requests"


class Sockets:
    """Opens sockets when they are needed, and takes note on the ladder of how that goes.

    Args:
        spawn: runs a socket in the background.
    """

    def __init__(self, address: Address, settings: Settings, ladder: Ladder, spawn: Spawn) -> None:
        self._address = address
        self._settings = settings
        self._ladder = ladder
        self._spawn = spawn
        self._sockets: list[Socket] = []

    async def create(self, request: dict[str, Any], key: str) -> Inbox:
        """See `Socket.create`."""
        while True:
            socket = await self._socket(key=key)
            with _elsewhere(socket):
                return await socket.create(request, key)

    async def resume(self, stream: str, after: str | None, chunking: str | None) -> Inbox:
        """See `Socket.subscribe`."""
        while True:
            socket = await self._socket(stream)
            with _elsewhere(socket):
                return await socket.subscribe(stream, after, chunking)

    async def _socket(self, stream: str | None = None, key: str | None = None) -> Socket:
        """A socket with room, opened if need be.

        Raises:
            Lost, ClientError: it could not be opened.
        """
        while True:
            self._sockets = [socket for socket in self._sockets if socket.why is None]
            socket = next((socket for socket in self._sockets if socket.room(stream, key)), None) or self._open()
            socket.coming += 1
            try:
                await socket.opened.wait()
            finally:
                socket.coming -= 1
            if socket.why is not None:
                raise again(socket.why)
            if socket.room(stream, key):  # somebody else may have waited, too, for the same stream
                return socket

    def _open(self) -> Socket:
        socket = Socket(self._address, self._settings)
        self._sockets.append(socket)
        self._spawn(lambda: self._run(socket))
        return socket

    async def _run(self, socket: Socket) -> None:
        await socket.run()
        why = socket.why
        if isinstance(why, Lost) and why.blame is not None:
            self._ladder.failed(WEBSOCKET, why.blame, trio.current_time())
            why.blame = None  # noted, once for all its streams


@contextlib.contextmanager
def _elsewhere(socket: Socket) -> Iterator[None]:
    """When the gateway says that a socket is full, try another."""
    try:
        yield
    except Refused as refused:
        if refused.code != _FULL or not socket.inboxes:
            raise
        socket.limit = len(socket.inboxes)
