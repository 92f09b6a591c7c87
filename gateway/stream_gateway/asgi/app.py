"""The whole gateway as an ASGI application: all its paths, to mount in another one or to serve by itself."""

from __future__ import annotations

import os

import structlog
import trio

from stream_gateway.api.errors import WrongOption
from stream_gateway.api.gateway import StreamingGateway
from stream_gateway.api.home import Home
from stream_gateway.api.homes import Homes
from stream_gateway.api.making import makes
from stream_gateway.api.vendors import DEMO, configuration
from stream_gateway.asgi.exchange import AsgiExchange
from stream_gateway.asgi.messages import Message, Receive, Scope, Send
from stream_gateway.asgi.wire import AsgiWire
from stream_gateway.config import Config
from stream_gateway.gateway import Gateway

_log = structlog.get_logger()


class GatewayApp:
    """The application. It serves hypercorn on Trio and any server on asyncio, there from a thread of its own.

    The gateway starts with the server's lifespan, or, where a host does not tell mounted applications of that, with the
    first request; it stops with the lifespan or with the event loop.

    Args:
        provider, config: as in `StreamingGateway`; neither: the demo provider.

    Raises:
        WrongOption: one of these cannot be used.
    """

    def __init__(self, provider: str | None = None, *, config: Config | str | os.PathLike[str] | None = None) -> None:
        if provider is None and config is None:
            provider = DEMO
        self._homes = Homes(makes(configuration(provider, config)))
        self._entered: Home | None = None

    @classmethod
    def of(cls, gateway: StreamingGateway) -> GatewayApp:
        """The paths of a gateway that the application has as an object, too: same streams, same connections."""
        app = cls.__new__(cls)
        app._homes, app._entered = gateway.homes, None
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] in ("http", "websocket"):
            home = self._home()
            core = await home.running()
            await home.inside(_serve, home, core, scope, receive, send)
        else:
            raise ValueError(f"this application does not know the ASGI scope {scope['type']!r}")

    def _home(self) -> Home:
        """Where the gateway runs for this loop. It stays, once it is needed."""
        home = self._homes.here()
        if self._entered is not home:
            home.enter()
            self._entered = home
        return home

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        home = self._home()
        try:
            await home.running()
        except WrongOption as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        self._entered = None
        home.stop()
        await home.stopped()
        await send({"type": "lifespan.shutdown.complete"})


async def _serve(home: Home, core: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, where the gateway runs."""

    async def receive_here() -> Message:
        return await home.outside(receive)

    async def send_here(message: Message) -> None:
        await home.outside(send, message)

    exchange = AsgiExchange(scope, receive_here, send_here, core.config.limits, core.config.server.write_timeout)
    if scope["type"] == "websocket":
        await receive_here()  # websocket.connect
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, exchange, nursery.cancel_scope)
        await core.handle(exchange)
        nursery.cancel_scope.cancel()
    if exchange.upgraded is not None:
        wire = AsgiWire(receive_here, exchange.send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.pump)
            try:
                await exchange.upgraded(wire, b"")
            except (OSError, trio.ClosedResourceError) as error:
                _log.debug("connection_broke", peer=exchange.peer, error=str(error))
            nursery.cancel_scope.cancel()


async def _watch(exchange: AsgiExchange, scope: trio.CancelScope) -> None:
    """Cancel a request whose client has left."""
    await exchange.left()
    scope.cancel()
