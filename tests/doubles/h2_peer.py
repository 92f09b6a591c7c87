"""The server's end of one HTTP/2 connection, of which every frame can be the test's own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import h2.connection
import h2.events as ev
import trio
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import NeverIndexedHeaderTuple
from hyperframe.frame import Frame, GoAwayFrame

SSE = {"content-type": "text/event-stream"}


class H2Request:
    """One request as it came, and what became of its stream."""

    def __init__(self, stream: int, headers: dict[str, str]) -> None:
        self.id = stream
        self.headers = headers
        self.never_indexed: set[str] = set()
        self.body = bytearray()
        self.reset: int | None = None
        """The code with which the client left it."""
        self.left = trio.Event()
        """The client left it, or the connection ended."""

    @property
    def path(self) -> str:
        return self.headers[":path"]


class H2Peer:
    """Reads requests, and answers them as the test says.

    `settings`: what its first SETTINGS say; None: it sends none, until `update` does.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, settings: Mapping[SettingCodes, int] | None = {}, opens_windows: bool = True
    ) -> None:
        self.stream = stream
        self.opens_windows = opens_windows
        self.requests: dict[int, H2Request] = {}
        self.goaway: GoAwayFrame | None = None
        self.pings = 0
        self.answers_pings = True
        self.closed = trio.Event()
        self.h2 = h2.connection.H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._settings = settings
        self._sending = trio.StrictFIFOLock()
        self._news = trio.Event()
        self._arrivals, self._arrived = trio.open_memory_channel[H2Request](math.inf)
        self._unread = b""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until the client has gone."""
        if self._settings is not None:
            self.h2.local_settings = Settings(client=False, initial_values=dict(self._settings))
            self.h2.initiate_connection()
            # Tests break their own limits, and want to see what the client makes of it.
            self.h2.local_settings.max_concurrent_streams = 2**31 - 1
            self.h2.local_settings.acknowledge()
            await self.flush()
        else:
            self.h2.initiate_connection()
            self.h2.clear_outbound_data_buffer()
        task_status.started()
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self.stream.receive_some(65_536):
                self._take(data)
                await self.flush()
        self.closed.set()
        for request in self.requests.values():
            request.left.set()
        self._arrivals.close()
        self._wake()

    def _take(self, data: bytes) -> None:
        self._unread += data
        if self._unread.startswith(b"PRI"):
            if len(self._unread) < 24:
                return
            self.h2.receive_data(self._unread[:24])
            self._unread = self._unread[24:]
        while len(self._unread) >= 9:
            size = 9 + int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < size:
                return
            frame, self._unread = self._unread[:size], self._unread[size:]
            self._take_frame(frame)

    def _take_frame(self, frame: bytes) -> None:
        if frame[3] == 7:  # after a GOAWAY h2 would hear nothing more
            self.goaway = GoAwayFrame(0)
            self.goaway.parse_body(memoryview(frame)[9:])
        elif frame[3] == 6 and not frame[4] & 1:
            self.pings += 1
            if self.answers_pings:
                self.h2.receive_data(frame)
        else:
            for event in self.h2.receive_data(frame):
                self._handle(event)
        self._wake()

    def _handle(self, event: ev.Event) -> None:
        request = self.requests.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, ev.RequestReceived):
            request = self.requests[event.stream_id] = H2Request(event.stream_id, dict(event.headers))
            request.never_indexed = {field[0] for field in event.headers if isinstance(field, NeverIndexedHeaderTuple)}
        elif request is None:
            return
        elif isinstance(event, ev.DataReceived):
            request.body += event.data
            if self.opens_windows:
                with contextlib.suppress(ProtocolError):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, ev.StreamEnded):
            self._arrivals.send_nowait(request)
        elif isinstance(event, ev.StreamReset):
            request.reset = int(event.error_code)
            request.left.set()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def news(self) -> None:
        """Wait until something has come."""
        await self._news.wait()

    async def request(self) -> H2Request:
        """The next request that is complete, each handed out once; `trio.EndOfChannel` when the client has gone."""
        return await self._arrived.receive()

    async def respond(
        self, request: H2Request, fields: Mapping[str, str] = SSE, *, status: int = 200, end: bool = False
    ) -> None:
        """Send a response's head."""
        with contextlib.suppress(ProtocolError):
            self.h2.send_headers(request.id, [(":status", str(status)), *fields.items()], end)
        await self.flush()

    async def send(self, request: H2Request, data: bytes, *, end: bool = False) -> None:
        """Send data as the windows admit it, until the client leaves the stream."""
        while not request.left.is_set():
            news = self._news  # what opens the window may come while this is being sent
            try:
                window = self.h2.local_flow_control_window(request.id)
                size = min(len(data), window, self.h2.max_outbound_frame_size)
                if size > 0 or not data:
                    self.h2.send_data(request.id, data[:size], end and size == len(data))
                    data = data[size:]
            except ProtocolError:
                return
            await self.flush()
            if not data:
                return
            if size <= 0:
                await news.wait()

    async def reset(self, request: H2Request, code: ErrorCodes = ErrorCodes.INTERNAL_ERROR) -> None:
        """Break one stream off."""
        self.h2.reset_stream(request.id, code)
        await self.flush()

    async def update(self, settings: Mapping[SettingCodes, int]) -> None:
        """Change the settings."""
        self.h2.update_settings(dict(settings))
        await self.flush()

    async def say(self, *frames: Frame | bytes) -> None:
        """Send frames as they are, whatever h2 thinks of them."""
        data = b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames)
        async with self._sending:
            await self._send_all(data)

    async def flush(self) -> None:
        async with self._sending:
            if data := self.h2.data_to_send():
                await self._send_all(data)

    async def _send_all(self, data: bytes) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_all(data)

    async def until_left(self) -> None:
        """Wait until the client has closed the connection."""
        await self.closed.wait()


@asynccontextmanager
async def h2_peer(
    stream: trio.abc.Stream, *, settings: Mapping[SettingCodes, int] | None = {}, opens_windows: bool = True
) -> AsyncIterator[H2Peer]:
    """A peer that reads while the block runs."""
    async with trio.open_nursery() as nursery:
        peer = H2Peer(stream, settings=settings, opens_windows=opens_windows)
        await nursery.start(peer.run)
        yield peer
        nursery.cancel_scope.cancel()
