"""`GET /v1/connect`: opening handshakes, and all sockets that came of them."""

import collections
import random
from collections.abc import Callable
from typing import Final

import trio

from stream_gateway.config import SocketSettings
from stream_gateway.guard.addresses import Connections
from stream_gateway.guard.credentials import SUBPROTOCOL, spoken
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.visitor import Visitor
from stream_gateway.server.exchange import Exchange, HeaderList
from stream_gateway.server.sockets.session import Session
from stream_gateway.server.sockets.socket import State, WebSocket
from stream_gateway.server.sockets.wire import Wire
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.reminders import Reminders
from stream_protocols.closing import CloseCode
from stream_protocols.commands import CODECS, JSON_PROTOCOL, PROTOCOLS
from stream_protocols.deflate import negotiate
from stream_protocols.errors import BadRequest, Overloaded, TooManyRequests
from stream_protocols.negotiate import choose_subprotocol

Start = Callable[[WebSocket], tuple[Callable[[str | bytes], None], Callable[[], None]]]
"""Is given a new socket; returns what to call with each message, and at the end (see `WebSocket.run`)."""

COME_BACK_WITHIN: Final = 5.0
"""Seconds over which clients are asked to spread their return after a drain."""


class SocketService:
    """Accepts sockets, pings them, and says goodbye to them.

    Attributes:
        settings: of sockets that are accepted from now on.
    """

    def __init__(self, settings: SocketSettings, registry: Registry, generations: Generations, guard: Guard) -> None:
        self.sockets: set[WebSocket] = set()
        self.settings = settings
        self._registry = registry
        self._generations = generations
        self._guard = guard
        self._sessions: dict[WebSocket, Session] = {}
        self._reminders = Reminders()
        self._left = trio.Event()
        self._draining = False
        self._addresses = Connections(settings.per_address)

    async def run(self) -> None:
        """Ping sockets until cancelled."""
        await self._reminders.run()

    async def connect(self, exchange: Exchange) -> None:
        """Accept a socket that speaks one of our subprotocols, or JSON when it asks for none."""
        asked = exchange.headers.get("sec-websocket-protocol")
        name = JSON_PROTOCOL
        headers: HeaderList = []
        if asked is not None:
            chosen = choose_subprotocol(spoken(asked), PROTOCOLS)
            if chosen is None:
                raise BadRequest(
                    f"None of the subprotocols asked for is spoken here; use {' or '.join(PROTOCOLS)}, "
                    f"and `{SUBPROTOCOL}…` only beside one of them."
                )
            name = chosen
            headers.append(("Sec-WebSocket-Protocol", chosen))
        codec = CODECS[name]
        self._guard.quotas.check_socket(exchange.principal)
        visitor = Visitor(self._guard, exchange.principal, exchange.peer)

        def start(socket: WebSocket) -> tuple[Callable[[str | bytes], None], Callable[[], None]]:
            session = Session(socket, codec, self._registry, self._generations, self.settings, visitor)
            self._sessions[socket] = session
            try:
                visitor.enter()
            except TooManyRequests as error:  # many at once, each of which found room
                socket.close(error.close_code, error.message)
            patience = self._reminders.remind(trio.current_time() + self._guard.auth_timeout, session.check_shown)

            def end() -> None:
                patience.cancel()
                visitor.leave()
                self._sessions.pop(socket, None)
                session.end()

            return session.on_message, end

        await self.accept(exchange, headers, start)

    async def accept(
        self,
        exchange: Exchange,
        headers: HeaderList,
        start: Start,
    ) -> None:
        """Accept a socket, and serve it as `start` says.

        Raises:
            TooManyRequests, Overloaded: the address has its share, or the gateway is about to go.
        """
        if self._draining:
            raise Overloaded("The gateway is restarting; try again in a moment.", retry_after=round(COME_BACK_WITHIN))
        if self._addresses.full(exchange.peer):
            raise TooManyRequests(
                f"There are {self.settings.per_address} sockets from {exchange.peer}, which is the limit "
                "(sockets.per_address)."
            )
        deflate = negotiate(exchange.headers.get("sec-websocket-extensions"), self.settings.compression)
        if deflate is not None:
            headers = [*headers, ("Sec-WebSocket-Extensions", deflate.header())]
        peer = exchange.peer

        async def serve(wire: Wire, leftover: bytes) -> None:
            await self._serve(WebSocket(wire, leftover, self.settings, deflate), peer, start)

        await exchange.upgrade(headers, serve)

    async def _serve(self, socket: WebSocket, peer: str, start: Start) -> None:
        on_message, end = start(socket)
        if self._addresses.full(peer):
            # Many handshakes at once, each of which found room: the limit holds all the same.
            socket.close(CloseCode.LIMIT_EXCEEDED, "too many sockets from this address")
        elif self._draining:
            _say_goodbye(socket)
        self.sockets.add(socket)
        self._addresses.enter(peer)
        try:
            with self._reminders.remind(trio.current_time() + self.settings.ping_interval, socket.keep_alive):
                await socket.run(on_message, end)
        finally:
            self.sockets.discard(socket)
            self._left.set()
            self._addresses.leave(peer)

    async def gone(self) -> None:
        """Wait until there is no socket."""
        while self.sockets:
            self._left = trio.Event()
            await self._left.wait()

    def drain(self) -> None:
        """Ask every client to come back, not all at once; who comes now is turned away."""
        self._draining = True
        for socket in list(self.sockets):
            _say_goodbye(socket)

    def reload(self, settings: SocketSettings) -> None:
        """From now on, new sockets are as these settings say."""
        self.settings = settings
        self._addresses.limit = settings.per_address

    def banish(self, welcome: Callable[[str], bool]) -> None:
        """Close the sockets of all principals who are not `welcome` any more."""
        for socket, session in list(self._sessions.items()):
            if not welcome(session.visitor.principal.id):
                socket.close(CloseCode.UNAUTHORIZED, "the key has been revoked")

    def states(self) -> collections.Counter[State]:
        """How many sockets are in which state."""
        return collections.Counter(socket.state for socket in self.sockets)


def _say_goodbye(socket: WebSocket) -> None:
    wait = random.uniform(0, COME_BACK_WITHIN)
    socket.close(CloseCode.DRAINING, f"restarting; retry-after={wait:.2f}")
