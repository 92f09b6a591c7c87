"""An exchange by way of an ASGI server, which owns the connection."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from stream_gateway.asgi.messages import Message, Receive, Scope, Send
from stream_gateway.config import LimitSettings
from stream_gateway.server.exchange import Exchange, HeaderList, never
from stream_gateway.server.sockets.wire import Serve
from stream_protocols.chunking import Conditions
from stream_protocols.errors import BodyTooLarge, RequestTimeout, UpgradeRequired
from stream_protocols.framing import Framing, identity

_DENIAL: Final = "websocket.http.response"
"""The extension with which a server lets us refuse a handshake in our own words."""


_BODILESS: Final = ("GET", "HEAD", "DELETE", "OPTIONS")
"""Methods whose requests have no body that we would read."""


class AsgiExchange(Exchange):
    """One request, as a `scope` says it.

    Args:
        receive, send: the server's.
        write_timeout: seconds that one piece may take.

    Attributes:
        upgraded: serves the socket once the handler has returned.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: LimitSettings, write_timeout: float) -> None:
        root, path = split_path(scope)
        query = scope.get("query_string", b"").decode("latin-1")
        target = f"{urllib.parse.quote(path)}?{query}" if query else urllib.parse.quote(path)
        self._socket = scope["type"] == "websocket"
        # The server speaks WebSocket, and compresses as it likes: our own offer would be in its way.
        headers = [(name, value) for name, value in scope["headers"] if name != b"sec-websocket-extensions"]
        client = scope.get("client")
        super().__init__(scope.get("method", "GET"), target, headers, client[0] if client else "")
        self.root = root
        self.upgraded: Serve | None = None
        self._answered = False
        self._receive = receive
        self._send = send
        self._limits = limits
        self._write_timeout = write_timeout
        self._words = "http.response"
        if self._socket:
            self._words = _DENIAL if _DENIAL in (scope.get("extensions") or {}) else ""
        self._read_all = trio.Event()
        if scope.get("method") in _BODILESS:
            self._read_all.set()

    @property
    def answered(self) -> bool:
        """Whether a response has begun."""
        return self._answered

    async def left(self) -> None:
        """Wait until the client has left; begins to look once the request's body is read, or not wanted."""
        await self._read_all.wait()
        while (await self._receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
            pass

    async def read_body(self) -> bytes:
        """The whole request body (see `Exchange`)."""
        parts: list[bytes] = []
        size, more = 0, not self._read_all.is_set()
        with trio.move_on_after(self._limits.body_timeout) as scope:
            while more:
                message = await self._receive()
                if message["type"] != "http.request":
                    raise ConnectionResetError("the client left before its request was complete")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                more = message.get("more_body", False)
                if size > self._limits.body_bytes:
                    raise BodyTooLarge(
                        f"The request's body is larger than {self._limits.body_bytes} bytes (limits.body_bytes)."
                    )
        if scope.cancelled_caught:
            raise RequestTimeout(f"The request's body was not complete within {self._limits.body_timeout:g} seconds.")
        self._read_all.set()
        return b"".join(parts)

    async def respond(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """Send a whole response (see `Exchange`)."""
        if status != 204:
            headers = [*headers, ("Content-Length", str(len(body)))]
        head = self.head(status, headers)
        if not self._words:  # no is all that the server lets us say to who wants a socket; it says so with its own 403
            await self.send({"type": "websocket.close"})
            return
        await self.send(head)
        await self.send_body(b"" if self.method == "HEAD" else body, more=False)

    def open(self, status: int, headers: HeaderList, *, unless: Callable[[], bool] = never) -> AsgiOutlet:
        """Prepare a streamed response (see `Exchange`)."""
        if self._socket:
            raise UpgradeRequired("This path does not speak WebSocket; send a plain request.")
        self._read_all.set()
        return AsgiOutlet(self, partial(self.head, status, headers), unless)

    async def upgrade(self, headers: HeaderList, serve: Serve) -> None:
        """Accept a WebSocket (see `Exchange`)."""
        if not self._socket:
            raise UpgradeRequired("This path speaks WebSocket; send an opening handshake (Upgrade: websocket).")
        chosen = next((value for name, value in headers if name.lower() == "sec-websocket-protocol"), None)
        others = [(name, value) for name, value in headers if name.lower() != "sec-websocket-protocol"]
        self._answered = True
        await self.send({"type": "websocket.accept", "subprotocol": chosen, "headers": _encoded(others + self.common)})
        self.upgraded = serve

    def head(self, status: int, headers: HeaderList) -> Message:
        """The message that begins a response, which has begun with it."""
        self._answered = True
        fields = _encoded([*headers, *self.common])
        return {"type": f"{self._words}.start", "status": status, "headers": fields}

    async def send_body(self, data: bytes, *, more: bool) -> None:
        """Send a piece of the body.

        Raises:
            OSError: see `send`.
        """
        await self.send({"type": f"{self._words}.body", "body": data, "more_body": more})

    async def send(self, message: Message) -> None:
        """Hand a message to the server, and wait until it wants more.

        Raises:
            OSError: the client is gone, or takes nothing.
        """
        with trio.move_on_after(self._write_timeout) as scope:
            await self._send(message)
        if scope.cancelled_caught:
            raise TimeoutError(f"the client took nothing for {self._write_timeout:g} seconds")


class AsgiOutlet:
    """A streamed body (see `BodyOutlet`). ASGI cannot send without waiting: a write is sent by `flush`."""

    def __init__(self, exchange: AsgiExchange, head: Callable[[], Message], unless: Callable[[], bool]) -> None:
        self.framing: Framing = identity
        self.welcome = None
        self._exchange = exchange
        self._head: Callable[[], Message] | None = head
        self._unless = unless
        self._waiting: list[Message] = []
        self._pending = b""

    def conditions(self) -> Conditions:
        """Nothing: the network is the server's."""
        return Conditions()

    def clear(self) -> bool:
        """Whether nothing waits to be sent."""
        return not (self._pending or self._waiting)

    def write_now(self, data: bytes) -> bool:
        """Keep a piece for `flush`."""
        if self._head is not None:
            if self._unless():
                return False
            self.begin()
        self._pending = data
        return False

    def begin(self) -> None:
        """Have the head leave with the next `flush`, if it has not left."""
        if self._head is not None:
            head, self._head = self._head, None
            self._waiting.append(head())

    async def flush(self) -> None:
        """Send what was written, and wait until the server wants more."""
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            await self._exchange.send(message)
        data, self._pending = self._pending, b""
        if data or waiting:  # a head alone leaves with an empty piece: many servers wait for one
            await self._exchange.send_body(data, more=True)

    async def finish(self) -> None:
        """End the body properly."""
        self.begin()
        await self.flush()
        await self._exchange.send_body(b"", more=False)


def split_path(scope: Scope) -> tuple[str, str]:
    """Where we are mounted, and the path below it; hosts differ in whether `path` has both."""
    root, path = scope.get("root_path", "").rstrip("/"), scope["path"]
    below = path.removeprefix(root) if root and (path + "/").startswith(root + "/") else path
    return root, below or "/"


def _encoded(headers: HeaderList) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers]
