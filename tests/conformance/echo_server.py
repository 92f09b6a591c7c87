"""An echo server on the gateway's own socket code: its listener, its opening handshake, its `SocketService`.

Only what is said on a socket differs from the gateway: each message comes back as it came. Run as a module, with
a mode of compression as its argument, it prints its URL and serves until its input ends.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import structlog
import trio

from stream_gateway.config import Config, GuardSettings, LimitSettings, ServerSettings, SocketSettings, StreamSettings
from stream_gateway.guard.guard import Guard
from stream_gateway.server.exchange import Exchange
from stream_gateway.server.listener import Listener, bind
from stream_gateway.server.sockets.service import SocketService
from stream_gateway.server.sockets.socket import WebSocket
from stream_gateway.streams.budget import Budget
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.upstream.routing.router import Router
from stream_protocols.websocket import BINARY, TEXT

MESSAGE_BYTES = 64 * 1024 * 1024
"""More than the largest message of the suite: its limits are not what is examined here."""


def echo(socket: WebSocket) -> tuple[Callable[[str | bytes], None], Callable[[], None]]:
    """Send every message back (a `Start` of the service)."""

    def on_message(message: str | bytes) -> None:
        if isinstance(message, str):
            socket.send(TEXT, message.encode())
        else:
            socket.send(BINARY, bytes(message))

    return on_message, lambda: None


def echo_service(settings: SocketSettings) -> SocketService:
    """A service without streams: an echo needs none."""
    registry = Registry(StreamSettings(), Budget(1))
    return SocketService(settings, registry, Generations(registry, Router(Config(), {})), Guard(GuardSettings()))


@asynccontextmanager
async def echo_server(settings: SocketSettings | None = None) -> AsyncIterator[str]:
    """Serve on a free loopback port; the value is the server's URL."""
    service = echo_service(settings or SocketSettings(message_bytes=MESSAGE_BYTES))

    async def handle(exchange: Exchange) -> None:
        await service.accept(exchange, [], echo)

    server = ServerSettings(port=0)
    sock = bind(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.run)
        nursery.start_soon(Listener(sock, handle, server, LimitSettings()).run)
        yield f"ws://127.0.0.1:{sock.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def main(mode: str) -> None:
    """Serve until the input ends."""
    settings = msgspec.convert({"message_bytes": MESSAGE_BYTES, "compression": mode}, SocketSettings)
    async with echo_server(settings) as url:
        print(url, flush=True)
        while await trio.to_thread.run_sync(sys.stdin.read, 1, abandon_on_cancel=True):
            pass


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    trio.run(main, sys.argv[1])
