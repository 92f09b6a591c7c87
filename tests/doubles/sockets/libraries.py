"""Python's WebSocket clients, each as a `Socket` of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import trio
import trio_websocket
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.trio.client import ClientConnection, connect

from tests.doubles.gateway_client import GatewayClient
from tests.doubles.sockets.frames import TEXT
from tests.doubles.sockets.raw_socket import CONNECT, Closed


class WebsocketsSocket:
    """A connection of `websockets`."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, opcode: int, payload: bytes | str = b"") -> None:
        await self.connection.send(payload, text=opcode == TEXT)

    async def message(self) -> str | bytes:
        try:
            return await self.connection.recv()
        except ConnectionClosed as closed:
            received = closed.rcvd
            raise Closed(received.code if received else None, received.reason if received else "") from None


class TrioSocket:
    """A connection of `trio-websocket`."""

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self.connection = connection

    async def send(self, opcode: int, payload: bytes | str = b"") -> None:
        await self.connection.send_message(payload)

    async def message(self) -> str | bytes:
        try:
            return await self.connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            reason = closed.reason
            raise Closed(reason.code if reason else None, (reason.reason or "") if reason else "") from None


class Library(Protocol):
    """Opens a socket with one of the libraries; `protocol` is the subprotocol."""

    def __call__(
        self, gateway: GatewayClient, protocol: str | None, **options: Any
    ) -> AbstractAsyncContextManager[WebsocketsSocket | TrioSocket]:
        """Open it."""


def url(gateway: GatewayClient) -> str:
    return f"ws://{gateway.host}:{gateway.port}{CONNECT}"


@asynccontextmanager
async def by_websockets(
    gateway: GatewayClient, protocol: str | None, *, deflate: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[WebsocketsSocket]:
    """With compression as the library offers it by default, or with these parameters."""
    extensions = None if deflate is None else [ClientPerMessageDeflateFactory(**deflate)]
    if extensions is not None:
        options = {"compression": None, "extensions": extensions, **options}
    subprotocols = None if protocol is None else [protocol]
    async with connect(url(gateway), subprotocols=subprotocols, proxy=None, **options) as connection:  # type: ignore[arg-type]
        yield WebsocketsSocket(connection)


@asynccontextmanager
async def by_websockets_plain(
    gateway: GatewayClient, protocol: str | None, **options: Any
) -> AsyncIterator[WebsocketsSocket]:
    """Without compression."""
    async with by_websockets(gateway, protocol, compression=None, **options) as socket:
        yield socket


@asynccontextmanager
async def by_trio_websocket(gateway: GatewayClient, protocol: str | None, **options: Any) -> AsyncIterator[TrioSocket]:
    """It has no compression. The TCP connection is ours: the library leaves it open when the server closed first."""
    subprotocols = None if protocol is None else [protocol]
    async with await trio.open_tcp_stream(gateway.host, gateway.port) as stream, trio.open_nursery() as nursery:
        connection = await trio_websocket.wrap_client_stream(
            nursery, stream, gateway.host, CONNECT, subprotocols=subprotocols, **options
        )
        yield TrioSocket(connection)
        await connection.aclose()
        nursery.cancel_scope.cancel()


LIBRARIES: list[Library] = [by_websockets, by_websockets_plain, by_trio_websocket]
