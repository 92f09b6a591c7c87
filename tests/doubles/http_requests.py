"""Reading HTTP/1.1 requests off a socket, one after the other, and noticing when the client leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import h11
import trio

_READ = 65_536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as it came. Header names are in lower case; of repeated ones the last counts."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


class Inbox:
    """The bytes of one connection, read ahead all the time so that its end is noticed at once."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.closed = trio.Event()
        self._waiting = bytearray()
        self._arrived = trio.Event()

    async def pump(self) -> None:
        """Read until the client has gone, then set `closed`."""
        try:
            while data := await self.stream.receive_some(_READ):
                self._waiting += data
                self._arrived.set()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.closed.set()
        self._arrived.set()

    async def receive(self) -> bytes:
        """What has come, at least one byte; `b""` when nothing can come any more."""
        while not self._waiting and not self.closed.is_set():
            self._arrived = trio.Event()
            await self._arrived.wait()
        data = bytes(self._waiting)
        self._waiting.clear()
        return data

    def put_back(self, data: bytes) -> None:
        """Return the beginning of a pipelined request to the front."""
        self._waiting[:0] = data


async def read_request(inbox: Inbox) -> Request | None:
    """The next request of the connection, or `None` when its client has gone.

    h11 does the parsing, so a malformed request is a failing test and not a lenient reading.
    """
    parser = h11.Connection(h11.SERVER)
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            if parser.they_are_waiting_for_100_continue:
                await inbox.stream.send_all(_CONTINUE)
                parser.send(h11.InformationalResponse(status_code=100, headers=[]))
            data = await inbox.receive()
            if not data:
                return None
            parser.receive_data(data)
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            break
    assert head is not None, event
    inbox.put_back(parser.trailing_data[0])
    headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
    return Request(method=head.method.decode(), target=head.target.decode(), headers=headers, body=bytes(body))
