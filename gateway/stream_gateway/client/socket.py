"""One WebSocket to a gateway, with many streams on it. Runs on Trio.

What comes is handed to each stream's `Inbox` as it comes, so that no reader waits for another.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import trio
import trio_websocket
from wsproto import ConnectionType, WSConnection

from stream_gateway.client.carrier import Lost, again
from stream_gateway.client.errors import ClientError, NotAGateway, Unauthorized
from stream_gateway.client.http import refusal, told
from stream_gateway.client.inbox import Inbox
from stream_gateway.client.settings import Settings
from stream_protocols import commands
from stream_protocols.closing import CloseCode
from stream_protocols.commands import JSON_PROTOCOL, decode_message
from stream_protocols.dialects.native import decode_known
from stream_protocols.reconnect import Blame, Probe, on_close, on_status
from stream_protocols.reconnect.silence import Look

E = TypeVar("E", bound=BaseException)

STREAMS: Final = 250
"""On one socket; the gateway's default limit is a little higher. For more there is another socket."""

BURST: Final = 200
RATE: Final = 90.0
"""Commands at once, and a second: below what a gateway takes by default (`sockets.commands_per_second`)."""

_REPLY_TIMEOUT: Final = 30.0
"""Seconds for a reply, while the socket lives: commands wait for their turn."""

MAX_MESSAGE: Final = 32 * 1024 * 1024
"""Bytes of one message from the gateway; an image comes in one event."""


class Address(NamedTuple):
    """Where a socket leads, and what its handshake carries."""

    host: str
    port: int
    path: str
    context: ssl.SSLContext | None
    headers: list[tuple[bytes, bytes]]


class Reply:
    """The reply to a command, once it is there; `hook` is called with it before anything that comes after it."""

    def __init__(self, hook: Callable[[Any], None]) -> None:
        self.came = trio.Event()
        self.message: Any = None
        self.hook = hook


class Socket:
    """A WebSocket; `run` opens and serves it.

    Attributes:
        inboxes: by stream.
        coming: how many streams have been asked for and are not in `inboxes` yet.
        creating: the keys of those whose creation has not been replied to.
        limit: streams that there may be.
        opened: set when it is open, or `why` it is not is known.
        why: what became of it; None while it is open.
        good: whether anything has come over it.
    """

    def __init__(self, address: Address, settings: Settings) -> None:
        self.inboxes: dict[str, Inbox] = {}
        self.coming = 0
        self.creating: set[str] = set()
        self.limit = STREAMS
        self.opened = trio.Event()
        self.why: Lost | ClientError | None = None
        self.good = False
        self._address = address
        self._settings = settings
        self._swallowed = False
        self._replies: dict[int, Reply] = {}
        self._number = 0
        self._outgoing: deque[bytes] = deque()
        self._wanted = trio.Event()
        self._tokens = float(BURST)
        self._refilled = trio.current_time()
        self._probe = Probe(settings.probe, trio.current_time())

    def room(self, stream: str | None, key: str | None) -> bool:
        """Whether one more stream may come here: one of this id, or the one that is created with this key.

        A stream is on a socket once, so a create whose caller did not wait for the reply is repeated on another one.
        """
        here = stream in self.inboxes or key in self.creating
        return self.why is None and not here and len(self.inboxes) + self.coming < self.limit

    async def create(self, request: dict[str, Any], key: str) -> Inbox:
        """Start a generation, or find the one that this key has started; its inbox.

        Raises:
            Lost, ClientError: see `Carrier`.
        """
        inbox = Inbox(self.forget, self._settings.inbox_bytes)

        def adopt(message: Any) -> None:
            self.coming -= 1
            self.creating.discard(key)
            if isinstance(message, commands.Created):
                self.inboxes[message.stream] = inbox
                inbox.begin(message)

        self.coming += 1
        self.creating.add(key)
        return await self._ask(inbox, adopt, lambda ref: commands.Create(ref=ref, request=request, key=key))

    async def subscribe(self, stream: str, after: str | None) -> Inbox:
        """Go on with a stream; its inbox.

        Raises:
            Lost, ClientError: see `Carrier`.
        """
        inbox = Inbox(self.forget, self._settings.inbox_bytes)
        inbox.stream = stream
        self.inboxes[stream] = inbox

        def adopt(message: Any) -> None:
            if isinstance(message, commands.Subscribed):
                inbox.begin(message)
            elif self.inboxes.get(stream) is inbox:
                del self.inboxes[stream]

        return await self._ask(
            inbox, adopt, lambda ref: commands.Subscribe(ref=ref, stream=stream, after=after), cursor=after
        )

    async def _ask(
        self,
        inbox: Inbox,
        adopt: Callable[[Any], None],
        command: Callable[[int], commands.Command],
        cursor: str | None = None,
    ) -> Inbox:
        if self.why is not None:
            raise self._gone()
        self._number += 1
        reply = self._replies[self._number] = Reply(adopt)
        self._say(command(self._number))
        try:
            with trio.move_on_after(_REPLY_TIMEOUT):
                await reply.came.wait()
        except BaseException:
            inbox.leave()
            raise
        if not reply.came.is_set():
            inbox.leave()
            raise Lost(f"no reply within {_REPLY_TIMEOUT:.0f} s")
        if isinstance(reply.message, commands.Error):
            raise refusal(reply.message.code, reply.message.message, cursor)
        if reply.message is None:
            raise self._gone()
        return inbox

    def _gone(self) -> Lost | ClientError:
        return again(self.why or Lost("the socket was closed"))

    def forget(self, inbox: Inbox) -> None:
        """A stream is left; if it is on this socket, the gateway hears of it."""
        stream = inbox.stream
        if stream is not None and self.inboxes.get(stream) is inbox:
            del self.inboxes[stream]
            if self.why is None:
                self._say(commands.Unsubscribe(stream=stream))

    # ---- the connection

    async def run(self) -> None:
        """Open the socket, and serve it until it is lost; afterwards `why` says why."""
        try:
            async with trio.open_nursery() as nursery:
                connection = await self._open(nursery)
                if connection.subprotocol == JSON_PROTOCOL:
                    self.opened.set()
                    nursery.start_soon(self._write, connection)
                    nursery.start_soon(self._watch, nursery.cancel_scope)
                    await self._read(connection)
                else:
                    self.why = Lost("the server's WebSockets speak another protocol", Blame.TRANSPORT)
                nursery.cancel_scope.cancel()
        # The library raises some of these in its reader, and not where the handshake is awaited.
        except* trio_websocket.ConnectionRejected as group:
            self.why = _rejected(group)
        except* (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, trio.BrokenResourceError) as group:
            # A handshake that is swallowed is some proxy's doing.
            blame = Blame.TRANSPORT if self._swallowed else Blame.EARLY
            self.why = Lost(f"no WebSocket: {told(_first(group))}", blame)
        except* OSError as group:
            self.why = Lost(f"cannot connect: {told(_first(group))}", Blame.NETWORK)
        finally:
            self._end()

    async def _open(self, nursery: trio.Nursery) -> trio_websocket.WebSocketConnection:
        """Connect and shake hands.

        Raises:
            OSError: nobody is there.
            ConnectionRejected, HandshakeError, ConnectionClosed, BrokenResourceError: somebody is, without a WebSocket.
        """
        address, limit, connected = self._address, self._settings.connect_timeout, False
        with trio.move_on_after(limit):
            stream: trio.abc.Stream = await trio.open_tcp_stream(address.host, address.port)
            nursery.start_soon(_closing, stream)
            if address.context is not None:
                address.context.set_alpn_protocols(["http/1.1"])  # httpx, with which we share it, sets its own
                stream = trio.SSLStream(stream, address.context, server_hostname=address.host, https_compatible=True)
            connected = True
            return await _shake_hands(nursery, stream, address)
        if connected:
            self._swallowed = True
            raise trio_websocket.HandshakeError(f"no answer within {limit:.0f} s")
        raise OSError(f"no answer within {limit:.0f} s")

    async def _read(self, connection: trio_websocket.WebSocketConnection) -> None:
        try:
            while True:
                message = await connection.get_message()
                self.good = True
                self._probe.heard(trio.current_time())
                self._take(message)
        except trio_websocket.ConnectionClosed as closed:
            self.why = self.why or self._closed(closed.reason)
        except msgspec.DecodeError as error:
            self.why = NotAGateway(f"A message is none of a Stream Gateway: {error}.")

    def _closed(self, close: trio_websocket.CloseReason | None) -> Lost | ClientError:
        blame = Blame.NETWORK if self.good else Blame.EARLY
        if close is None:
            return Lost("the socket was cut", blame)
        verdict = on_close(close.code, close.reason or "")
        said = f"the socket was closed with {close.code} {close.reason or ''}".rstrip()
        if verdict.come_back:
            return Lost(said, blame, after=verdict.after)
        if close.code in (CloseCode.UNAUTHORIZED, CloseCode.FORBIDDEN):
            return Unauthorized(f"The gateway refuses the token: {said}.")
        return refusal("closed", f"{said[:1].upper()}{said[1:]}.", None)

    def _take(self, data: str | bytes) -> None:
        message = decode_message(data)
        if isinstance(message, commands.Pushed):
            inbox = self.inboxes.get(message.stream)
            if inbox is not None:
                inbox.put(message.id, decode_known(bytes(message.event)), len(data))
        elif isinstance(message, commands.Unsubscribed):
            inbox = self.inboxes.pop(message.stream, None)
            if inbox is not None:
                inbox.fail(Lost(f"the gateway let go: {message.message}"))
        elif message is not None and isinstance(message.ref, int) and (reply := self._replies.pop(message.ref, None)):
            reply.message = message
            reply.hook(message)
            reply.came.set()

    # ---- writing

    def _say(self, command: commands.Command) -> None:
        self._outgoing.append(msgspec.json.encode(command))
        self._wanted.set()

    async def _write(self, connection: trio_websocket.WebSocketConnection) -> None:
        try:
            while True:
                while self._outgoing:
                    await self._pace()
                    await connection.send_message(self._outgoing.popleft().decode())
                self._wanted = trio.Event()
                await self._wanted.wait()
        except trio_websocket.ConnectionClosed:
            return  # the reader hears of it, too, and why

    async def _pace(self) -> None:
        """Wait until one more command does not offend the gateway."""
        now = trio.current_time()
        self._tokens = min(self._tokens + (now - self._refilled) * RATE, BURST) - 1
        self._refilled = now
        if self._tokens < 0:
            await trio.sleep(-self._tokens / RATE)

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Ask a silent socket whether it lives, and end one that does not."""
        while True:
            await trio.sleep_until(self._probe.due())
            look = self._probe.look(trio.current_time())
            if look is Look.ASK:
                self._say(commands.Ping())
            elif look is Look.DEAD:
                self.why = Lost("the socket does not answer", Blame.NETWORK if self.good else Blame.EARLY)
                scope.cancel()
                return

    def _end(self) -> None:
        """Tell everybody who waits."""
        self.why = self.why or Lost("the socket was closed")
        self.opened.set()
        for inbox in self.inboxes.values():
            inbox.fail(self.why)
        self.inboxes.clear()
        for reply in self._replies.values():
            reply.came.set()
        self._replies.clear()


async def _shake_hands(
    nursery: trio.Nursery, stream: trio.abc.Stream, address: Address
) -> trio_websocket.WebSocketConnection:
    """The library's `wrap_client_stream`, which would wait for ever when the connection ends within the handshake."""
    connection = trio_websocket.WebSocketConnection(
        stream,
        WSConnection(ConnectionType.CLIENT),
        host=address.host if address.port in (80, 443) else f"{address.host}:{address.port}",
        path=address.path,
        client_subprotocols=[JSON_PROTOCOL],
        client_extra_headers=address.headers,
        max_message_size=MAX_MESSAGE,
    )

    async def read() -> None:
        await connection._reader_task()
        handshake.cancel()

    with trio.CancelScope() as handshake:
        nursery.start_soon(read)
        await connection._open_handshake.wait()
        return connection
    raise trio_websocket.HandshakeError("the connection ended in the handshake")


async def _closing(stream: trio.abc.Stream) -> None:
    """Close the connection when its nursery ends, however it ends."""
    try:
        await trio.sleep_forever()
    finally:
        await trio.aclose_forcefully(stream)


def _rejected(group: BaseExceptionGroup[trio_websocket.ConnectionRejected]) -> Lost:
    """A refused handshake. Only a gateway's own refusal, which says when to come back, is not the transport's fault.

    Not final: what a proxy refuses here may go by HTTP; and if it is the gateway, HTTP will hear it again, and better.
    """
    error = _first(group)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in error.headers}
    verdict = on_status(error.status_code, retry_after=headers.get("retry-after"), date=headers.get("date"))
    own = verdict.come_back and verdict.after is not None
    blame = Blame.NETWORK if own else Blame.TRANSPORT
    return Lost(f"WebSocket refused with {error.status_code}", blame, after=verdict.after)


def _first(group: BaseExceptionGroup[E]) -> E:
    """One of the errors of a group."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
