"""One WebSocket to a gateway, with many streams on it. Runs on Trio.

What comes is handed to each stream's `Inbox`. A reader that is slow does not hold up the others: when its inbox is
full, what comes for it is let fall, and asked for again when there is room. The gateway's log is the better buffer.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
import trio
import trio_websocket

from stream_gateway.client.carrier import Batch, Lost, again
from stream_gateway.client.errors import ClientError, NotAGateway
from stream_gateway.client.http import refusal, told
from stream_gateway.client.settings import Settings
from stream_protocols import commands
from stream_protocols.commands import JSON_PROTOCOL, decode_message
from stream_protocols.cursor import Gap
from stream_protocols.dialects.native import decode_known
from stream_protocols.events import NativeEvent
from stream_protocols.reconnect import Blame, Probe, on_close, on_status
from stream_protocols.reconnect.silence import Look

STREAMS: Final = 250
"""On one socket; the gateway's default limit is a little higher. For more there is another socket."""

BURST: Final = 180
RATE: Final = 90.0
"""Commands at once, and a second: below what a gateway takes by default (`sockets.commands_per_second`)."""

MAX_MESSAGE: Final = 32 * 1024 * 1024
"""Bytes of one message from the gateway; an image comes in one event."""

_OVERHEAD: Final = 200  # what an event costs beside its text, for the bound of an inbox


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


class Inbox:
    """What has come for one stream and was not read yet; a `Carrier`."""

    dead = False  # a wait that is cancelled loses nothing
    retry: float | None = None

    def __init__(self, socket: Socket, limit: int) -> None:
        self.stream: str | None = None
        self.gap: Gap | None = None
        self._socket = socket
        self._limit = limit
        self._items: deque[tuple[str, NativeEvent | None]] = deque()
        self._size = 0
        self._open = False
        self._ended = False
        self._failed: Lost | ClientError | None = None
        self._left = False
        self._news = trio.Event()

    def begin(self, message: commands.Created | commands.Subscribed) -> None:
        """The reply has come: what follows is this inbox's."""
        self.stream = message.stream
        self.gap = message.gap
        self._open = True
        self._ended = isinstance(message, commands.Subscribed) and message.ended
        if self._left:
            self._socket.forget(self)

    def put(self, cursor: str, event: NativeEvent | None, size: int) -> None:
        """An event has come. Before the reply it belongs to an earlier subscription, and is none of ours."""
        if not self._open:
            return
        if self._size > self._limit:
            self.fail(Lost("reading too slowly; what was let fall is asked for again", after=0.0))
            return
        self._items.append((cursor, event))
        self._size += size + _OVERHEAD
        self._news.set()

    def fail(self, failure: Lost | ClientError) -> None:
        """Nothing more will come; what is there can still be read."""
        self._open = False
        self._failed = self._failed or failure
        self._news.set()

    async def receive(self) -> Batch:
        """Wait for more (see `Carrier`)."""
        if self._ended:
            return Batch(ended=True)
        while not self._items:
            if self._failed is not None:
                raise again(self._failed)
            self._news = trio.Event()
            await self._news.wait()
        batch = Batch(list(self._items))
        self._items.clear()
        self._size = 0
        return batch

    def leave(self) -> None:
        """Unsubscribe, if that means anything yet; else as soon as it does."""
        if not self._left:
            self._left = True
            self._socket.forget(self)


class Socket:
    """A WebSocket; `run` opens and serves it.

    Attributes:
        inboxes: by stream.
        coming: how many streams have been asked for and are not in `inboxes` yet.
        limit: streams that there may be.
        opened: set when it is open, or `why` it is not is known.
        why: what became of it; None while it is open.
        good: whether anything has come over it.
    """

    def __init__(self, address: Address, settings: Settings) -> None:
        self.inboxes: dict[str, Inbox] = {}
        self.coming = 0
        self.limit = STREAMS
        self.opened = trio.Event()
        self.why: Lost | ClientError | None = None
        self.good = False
        self._address = address
        self._settings = settings
        self._replies: dict[int, Reply] = {}
        self._number = 0
        self._outgoing: deque[bytes] = deque()
        self._wanted = trio.Event()
        self._tokens = float(BURST)
        self._refilled = trio.current_time()
        self._probe = Probe(settings.probe, trio.current_time())

    def room(self, stream: str | None) -> bool:
        """Whether one more stream, this one if it is known, may come here."""
        return self.why is None and stream not in self.inboxes and len(self.inboxes) + self.coming < self.limit

    async def create(self, request: dict[str, Any], key: str) -> Inbox:
        """Start a generation, or find the one that this key has started; its inbox.

        Raises:
            Lost, ClientError: see `Carrier`.
        """
        inbox = Inbox(self, self._settings.inbox_bytes)

        def adopt(message: Any) -> None:
            self.coming -= 1
            if isinstance(message, commands.Created):
                self.inboxes[message.stream] = inbox
                inbox.begin(message)

        self.coming += 1
        return await self._ask(inbox, adopt, lambda ref: commands.Create(ref=ref, request=request, key=key))

    async def subscribe(self, stream: str, after: str | None) -> Inbox:
        """Go on with a stream; its inbox.

        Raises:
            Lost, ClientError: see `Carrier`.
        """
        inbox = Inbox(self, self._settings.inbox_bytes)
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
            await reply.came.wait()  # the probe bounds it: a socket without replies is dead
        except BaseException:
            inbox.leave()
            raise
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
                if connection is not None:
                    self.opened.set()
                    nursery.start_soon(self._write, connection)
                    nursery.start_soon(self._watch, nursery.cancel_scope)
                    await self._read(connection)
                nursery.cancel_scope.cancel()
        finally:
            self._end()

    async def _open(self, nursery: trio.Nursery) -> trio_websocket.WebSocketConnection | None:
        address, limit = self._address, self._settings.connect_timeout
        connected = False
        try:
            with trio.fail_after(limit):
                stream: trio.abc.Stream = await trio.open_tcp_stream(address.host, address.port)
                connected = True
                nursery.start_soon(_closing, stream)
                if address.context is not None:
                    address.context.set_alpn_protocols(["http/1.1"])  # httpx, with which we share it, sets its own
                    stream = trio.SSLStream(
                        stream, address.context, server_hostname=address.host, https_compatible=True
                    )
                connection = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,  # type: ignore[arg-type]  # any Trio stream will do
                    address.host if address.port in (80, 443) else f"{address.host}:{address.port}",
                    address.path,
                    subprotocols=[JSON_PROTOCOL],
                    extra_headers=address.headers,
                    max_message_size=MAX_MESSAGE,
                )
        except trio.TooSlowError:
            blame = Blame.TRANSPORT if connected else Blame.NETWORK
            self.why = Lost(f"no WebSocket within {limit:.0f} s", blame)
        except trio_websocket.ConnectionRejected as error:
            self.why = _rejected(error)
        except (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, trio.BrokenResourceError) as error:
            self.why = Lost(f"no WebSocket: {told(error)}", Blame.EARLY)
        except (OSError, ssl.SSLError) as error:
            self.why = Lost(f"cannot connect: {told(error)}", Blame.NETWORK)
        else:
            if connection.subprotocol == JSON_PROTOCOL:
                return connection
            self.why = Lost("the server's WebSockets speak another protocol", Blame.TRANSPORT)
        return None

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
        return refusal("closed", f"{said[:1].upper()}{said[1:]}.", None)

    def _take(self, data: str | bytes) -> None:
        try:
            message = decode_message(data)
        except msgspec.ValidationError:
            return  # of a type that is newer than we are
        if isinstance(message, commands.Pushed):
            inbox = self.inboxes.get(message.stream)
            if inbox is not None:
                inbox.put(message.id, decode_known(bytes(message.event)), len(data))
        elif isinstance(message, commands.Unsubscribed):
            inbox = self.inboxes.pop(message.stream, None)
            if inbox is not None:
                inbox.fail(Lost(f"the gateway let go: {message.message}"))
        elif isinstance(message.ref, int) and (reply := self._replies.pop(message.ref, None)):
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


async def _closing(stream: trio.abc.Stream) -> None:
    """Close the connection when its nursery ends, however it ends."""
    try:
        await trio.sleep_forever()
    finally:
        await trio.aclose_forcefully(stream)


def _rejected(error: trio_websocket.ConnectionRejected) -> Lost:
    """A refused handshake. Only a gateway's own refusal, which says when to come back, is not the transport's fault.

    Not final: what a proxy refuses here may go by HTTP; and if it is the gateway, HTTP will hear it again, and better.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in error.headers}
    verdict = on_status(error.status_code, retry_after=headers.get("retry-after"), date=headers.get("date"))
    own = verdict.come_back and verdict.after is not None
    blame = Blame.NETWORK if own else Blame.TRANSPORT
    return Lost(f"WebSocket refused with {error.status_code}", blame, after=verdict.after)
