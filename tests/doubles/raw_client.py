"""A client down to the bytes: sends anything, reads strictly, stalls, and leaves politely or not."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import trio

from tests.doubles import faults
from tests.doubles.http_reader import Head, Truncated, body_of, take_head
from tests.doubles.secrets import Watch
from tests.doubles.sse_reader import SseEvent, SseReader

_READ = 65_536


class Connection:
    """One TCP connection to a server, with what has been received and not yet been read."""

    def __init__(self, stream: trio.SocketStream, authority: str) -> None:
        self.stream = stream
        self.unread = bytearray()
        self._authority = authority
        self._watch = Watch("a response over HTTP/1.1")

    @classmethod
    async def open(cls, host: str, port: int, *, receive_buffer: int | None = None) -> Connection:
        """Connect. `receive_buffer` has to be known before: it decides the TCP window that is offered."""
        sock = trio.socket.socket()
        try:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return cls(trio.SocketStream(sock), f"{host}:{port}")

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def offer(self, data: bytes) -> None:
        """Send what the server takes: it may have answered and closed in the middle of it."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)

    async def receive(self, most: int = _READ) -> bool:
        """Read what is there into `unread`; false at the end of the connection, proper or not."""
        try:
            data = await self.stream.receive_some(most)
        except trio.BrokenResourceError:
            return False
        self.unread += data
        self._watch(data)
        return bool(data)

    async def request(
        self,
        method: str,
        target: str,
        *,
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and read the head of its response."""
        await self.send(self.render(method, target, payload=payload, headers=headers))
        return await self.response(method)

    def render(
        self,
        method: str,
        target: str,
        *,
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The bytes of a request; `payload` is sent as JSON, or as it is if it is bytes."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        fields = {"Host": self._authority}
        if payload is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        fields |= headers or {}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if payload is None else head + body

    async def response(self, method: str = "GET") -> Response:
        """Read the head of the next response, whatever was sent to get it."""
        while (head := take_head(self.unread)) is None:
            if not await self.receive():
                raise Truncated(bytes(self.unread))
        return Response(self, head, method)

    async def ended(self) -> bytes:
        """Wait for the end of the connection, proper or not; return what came before."""
        while await self.receive():
            pass
        return bytes(self.unread)

    async def reset(self) -> None:
        """Leave as a killed process leaves."""
        await faults.reset(self.stream)

    async def aclose(self) -> None:
        await self.stream.aclose()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class Response:
    """One response of a connection: the head is here, the body comes as it is asked for."""

    def __init__(self, connection: Connection, head: Head, method: str) -> None:
        self.connection = connection
        self.head = head
        self._body = body_of(head, method)

    @property
    def status(self) -> int:
        return self.head.status

    async def read_some(self, most: int = _READ) -> bytes:
        """The next bytes of the body; `b""` at its proper end. Raises `Truncated` at any other end."""
        while not self._body.ended:
            if taken := self._body.take(self.connection.unread):
                return taken
            if not self._body.ended and not await self.connection.receive(most):
                self._body.end_of_connection()
        return b""

    async def read(self) -> bytes:
        """The rest of the body."""
        parts = []
        while part := await self.read_some():
            parts.append(part)
        return b"".join(parts)

    async def json(self) -> Any:
        return json.loads(await self.read())

    def events(self) -> EventStream:
        """The body as server-sent events."""
        assert self.status == 200, self.head
        assert self.head["content-type"].startswith("text/event-stream"), self.head
        return EventStream(self)


class EventStream:
    """The events of one response, one by one."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.last_id: str | None = None
        """The id of the newest event that was handed out, as a browser would remember it."""
        self._reader = SseReader()
        self._waiting: deque[SseEvent] = deque()

    @property
    def comments(self) -> int:
        """How many comments have come so far."""
        return self._reader.comments

    async def next(self, most: int = _READ) -> SseEvent | None:
        """The next event; `None` at the proper end of the stream. Raises `Truncated` at any other end.

        `most` limits how much is read at once, as a slow client would.
        """
        while not self._waiting:
            if not await self._read(most):
                return None
        event = self._waiting.popleft()
        self.last_id = event.id or self.last_id
        return event

    async def take(self, count: int) -> list[SseEvent]:
        """The next `count` events, which have to come."""
        events: list[SseEvent] = []
        for _ in range(count):
            event = await self.next()
            assert event is not None, f"the stream ended after {len(events)} of {count} events"
            events.append(event)
        return events

    async def rest(self) -> list[SseEvent]:
        """All events up to the proper end."""
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events

    async def until_comments(self, count: int) -> None:
        """Read until `count` comments have come in all; events on the way are kept."""
        while self.comments < count:
            assert await self._read(), f"the stream ended after {self.comments} of {count} comments"

    async def _read(self, most: int = _READ) -> bool:
        data = await self.response.read_some(most)
        if not data:
            assert self._reader.between_events, "the body ended inside an event"
        self._waiting.extend(self._reader.feed(data))
        return bool(data)
