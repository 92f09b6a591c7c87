"""A client that speaks HTTP/2: many requests on one connection, windows opened only as the test says."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import h2.connection
import h2.events as ev
import trio
from h2.config import H2Configuration
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

from tests.doubles.secrets import Watch, watch
from tests.doubles.sse_reader import SseEvent, SseReader

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class H2Stream:
    """One request and what has come for it."""

    def __init__(self, client: H2Client, number: int) -> None:
        self.id = number
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.ended = False
        self.reset: int | None = None
        self._client = client
        self._read = 0
        self._reader = SseReader()
        self.watch = Watch("a response over HTTP/2")

    async def until_answered(self) -> Self:
        """Wait for the response's head."""
        await self._client.until(lambda: bool(self.status) or self.reset is not None)
        return self

    async def until_over(self) -> Self:
        """Wait for its end, proper or not."""
        await self._client.until(lambda: self.ended or self.reset is not None)
        return self

    async def read(self) -> bytes:
        """The whole body, which has to end properly."""
        await self.until_over()
        assert self.reset is None, f"stream {self.id} was reset with {self.reset}"
        return bytes(self.body)

    async def json(self) -> Any:
        return json.loads(await self.read())

    def arrived(self) -> list[SseEvent]:
        """The events that have come since the last call."""
        data = bytes(self.body[self._read :])
        self._read = len(self.body)
        return self._reader.feed(data)

    async def take(self, count: int) -> list[SseEvent]:
        """The next `count` events, or more if they came together."""
        events = self.arrived()
        while len(events) < count:
            size = len(self.body)
            await self._client.until(lambda size=size: len(self.body) > size or self.ended or self.reset is not None)
            more = self.arrived()
            assert more or not (self.ended or self.reset is not None), f"ended after {len(events)} events: {self.reset}"
            events += more
        return events

    async def rest(self) -> list[SseEvent]:
        """All events up to the proper end."""
        await self.read()
        return self.arrived()


class H2Client:
    """One connection. `open_windows` False: nothing is ever acknowledged, so windows stay as small as they become."""

    def __init__(self, stream: trio.abc.Stream, *, open_windows: bool = True, window: int | None = None) -> None:
        self.stream = stream
        self.open_windows = open_windows
        self.h2 = h2.connection.H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        if window is not None:
            self.h2.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.streams: dict[int, H2Stream] = {}
        self.goaway: GoAwayFrame | None = None
        self.closed_windows: set[int] = set()
        """Streams whose own window is never opened, while the connection's is."""
        self.closed = False
        self.received = 0
        self.datagrams = 0
        self._news = trio.Event()
        self._sending = trio.Lock()
        self._unread = b""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until the connection ends."""
        self.h2.initiate_connection()
        await self.flush()
        task_status.started()
        while not self.closed:
            try:
                data = await self.stream.receive_some(65_536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            self.received += len(data)
            self.datagrams += 1
            self.closed = not data
            for frame in self._frames(data):
                for event in self.h2.receive_data(frame):
                    self._handle(event)
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.flush()
            self._wake()

    def _frames(self, data: bytes) -> Iterator[bytes]:
        """Whole frames, but GOAWAY, after which h2 would hear nothing more."""
        self._unread += data
        while len(self._unread) >= 9:
            size = 9 + int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < size:
                return
            frame, self._unread = self._unread[:size], self._unread[size:]
            if frame[3] == 7:
                self.goaway = GoAwayFrame(0)
                self.goaway.parse_body(memoryview(frame)[9:])
            else:
                yield frame

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _handle(self, event: ev.Event) -> None:
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        if isinstance(event, ev.ResponseReceived):
            stream.headers = dict(event.headers)
            watch(str(stream.headers), "headers over HTTP/2")
            stream.status = int(stream.headers[":status"])
        elif isinstance(event, ev.DataReceived):
            stream.body += event.data
            stream.watch(event.data)
            if stream.id in self.closed_windows:
                self.h2.increment_flow_control_window(event.flow_controlled_length)
            elif self.open_windows:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, ev.StreamEnded):
            stream.ended = True
        elif isinstance(event, ev.StreamReset):
            stream.reset = int(event.error_code)

    async def until(self, holds: Any) -> None:
        """Wait until something that comes makes `holds()` true; the end of the connection is a failure."""
        while not holds():
            assert not self.closed, f"the connection ended: {self.goaway}"
            await self._news.wait()

    async def ended(self) -> GoAwayFrame | None:
        """Wait for the end of the connection; the GOAWAY that came before it."""
        while not self.closed:
            await self._news.wait()
        return self.goaway

    async def flush(self) -> None:
        async with self._sending:
            if data := self.h2.data_to_send():
                await self.stream.send_all(data)

    async def send_frames(self, *frames: Frame) -> None:
        """Send frames as they are, whatever h2 thinks of them."""
        async with self._sending:
            await self.stream.send_all(b"".join(frame.serialize() for frame in frames))

    async def open(
        self,
        method: str,
        path: str | None,
        *,
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
        end: bool = True,
    ) -> H2Stream:
        """Send a request; its response comes when it comes."""
        body = b"" if payload is None else payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        stream = H2Stream(self, self.h2.get_next_available_stream_id())
        self.streams[stream.id] = stream
        fields = [(":method", method), (":authority", "gateway")]
        fields += [] if path is None else [(":scheme", "http"), (":path", path)]
        self.h2.send_headers(stream.id, [*fields, *(headers or {}).items()], end_stream=end and not body)
        for at in range(0, len(body), 16_384):
            piece = body[at : at + 16_384]
            while self.h2.local_flow_control_window(stream.id) < len(piece):
                await self.flush()
                await self._news.wait()
            self.h2.send_data(stream.id, piece, end_stream=end and at + 16_384 >= len(body))
        await self.flush()
        return stream

    async def request(self, method: str, path: str, **options: Any) -> H2Stream:
        """Send a request and wait for the head of its response."""
        return await (await self.open(method, path, **options)).until_answered()

    async def cancel(self, stream: H2Stream) -> None:
        """Leave one stream."""
        self.h2.reset_stream(stream.id, 8)
        await self.flush()

    async def acknowledge(self, stream: H2Stream, size: int) -> None:
        """Open the windows by hand."""
        self.h2.increment_flow_control_window(size, stream.id)
        self.h2.increment_flow_control_window(size)
        await self.flush()


@asynccontextmanager
async def h2_connect(
    host: str, port: int, *, context: ssl.SSLContext | None = None, receive_buffer: int | None = None, **options: Any
) -> AsyncIterator[H2Client]:
    """A connection by prior knowledge, or over TLS with ALPN."""
    sock = trio.socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
    try:
        await sock.connect((host, port))
    except OSError:
        sock.close()
        raise
    stream: trio.abc.Stream = trio.SocketStream(sock)
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
        try:
            await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
    async with stream, trio.open_nursery() as nursery:
        client = H2Client(stream, **options)
        await nursery.start(client.run)
        yield client
        nursery.cancel_scope.cancel()
