"""One WebSocket to a gateway, with many streams on it. Runs on Trio.

What comes is handed to each stream's `Inbox` as it comes, so that no reader waits for another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio
import trio_websocket

from stream_gateway.client.carrier import Lost, again
from stream_gateway.client.errors import ClientError, NotAGateway, Unauthorized
from stream_gateway.client.handshake import FAILURES, Address, explain, open_websocket
from stream_gateway.client.http import refusal
from stream_gateway.client.inbox import Inbox
from stream_gateway.client.settings import Settings
from stream_protocols import commands
from stream_protocols.closing import CloseCode
from stream_protocols.commands import CODECS, JSON_PROTOCOL, decode_message
from stream_protocols.dialects.native import decode_known
from stream_protocols.reconnect import Blame, Probe, on_close
from stream_protocols.reconnect.silence import Look

_codec: Final = CODECS[JSON_PROTOCOL]

STREAMS: Final = 250
"""On one socket; the gateway's default limit is a little higher. For more there is another socket."""

BURST: Final = 200
RATE: Final = 90.0
"""Commands at once, and a second: below what a gateway takes by default (`sockets.commands_per_second`)."""

_REPLY_TIMEOUT: Final = 30.0
"""Seconds for a reply, while the socket lives: commands wait for their turn."""


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

    async def subscribe(self, stream: str, after: str | None, chunking: str | None = None) -> Inbox:
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

        def command(ref: int) -> commands.Command:
            return commands.Subscribe(ref=ref, stream=stream, after=after, chunking=chunking)

        return await self._ask(inbox, adopt, command, cursor=after)

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
                connection = await open_websocket(nursery, self._address, self._settings.connect_timeout)
                if connection.subprotocol == JSON_PROTOCOL:
                    self.opened.set()
                    nursery.start_soon(self._write, connection)
                    nursery.start_soon(self._watch, nursery.cancel_scope)
                    await self._read(connection)
                else:
                    self.why = Lost("the server's WebSockets speak another protocol", Blame.TRANSPORT)
                nursery.cancel_scope.cancel()
        except* FAILURES as group:  # the library raises some of them in its reader
            self.why = self.why or explain(group, self._address)
        finally:
            self._end()

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
        except NotAGateway as error:
            self.why = error

    def _closed(self, close: trio_websocket.CloseReason | None) -> Lost | ClientError:
        blame = Blame.NETWORK if self.good else Blame.EARLY
        if close is None:
            return Lost("the socket was cut", blame)
        verdict = on_close(close.code, close.reason or "")
        said = f"the socket was closed with {close.code} {close.reason or ''}".rstrip()
        if verdict.come_back:
            return Lost(said, blame, after=verdict.after)
        if close.code in (CloseCode.UNAUTHORIZED, CloseCode.FORBIDDEN):
            return Unauthorized(f"The gateway does not let this client in: {said}.")
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
        elif message is None and _codec.ref_of(data) in self._replies:
            # A newer gateway may push what we do not know, but not answer with it. Servers that echo do.
            raise NotAGateway("A WebSocket answers, but not as a Stream Gateway does; check the address.")

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
