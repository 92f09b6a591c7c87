"""The floor: the least code that relays or broadcasts bytes. Nothing that does more can cost less.

    python -m bench.relays.floor --port 18080 --upstream 18081

Relaying, it copies bytes between two sockets and reads none of them. Broadcasting, it has the gateway's
two paths (`POST /v1/streams`, `GET /v1/streams/ID/events`) and copies the provider's bytes to each client.
"""

import argparse
import json
import re
import socket
from collections.abc import Callable

from bench.chunks import HEAD, json_response
from bench.loop import IN, OUT, Loop, sharpen_timers
from bench.websocket import accept_value, server_frame

_WEBSOCKET_KEY = re.compile(rb"\r\nsec-websocket-key: *([^\r]+)\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %b\r\n\r\n"
)
_READ = 65_536
_BACKLOG = 262_144
"""Bytes one side may be behind before the other is no longer read."""


class Side:
    """One socket: writes what it is handed, keeps what the socket does not take."""

    __slots__ = ("_backlog", "_loop", "_on_close", "_on_data", "_reads", "_socket", "fd", "other")

    def __init__(self, loop: Loop, owned: socket.socket, on_data: "OnData", on_close: Callable[[], None]) -> None:
        owned.setblocking(False)
        owned.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop, self._socket = loop, owned
        self._on_data, self._on_close = on_data, on_close
        self.fd = owned.fileno()
        self._backlog = bytearray()
        self._reads = True
        self.other: Side | None = None
        loop.watch(self.fd, IN, self._on_event)

    def _on_event(self, events: int) -> None:
        if events & OUT:
            self._flush()
        if events & ~OUT and self.fd >= 0 and self._reads:
            try:
                data = self._socket.recv(_READ)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._on_data(data)
            else:
                self._on_close()

    def write(self, data: bytes) -> None:
        if self.fd < 0:
            return
        sent = 0
        if not self._backlog:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._on_close()
                return
        if sent < len(data):
            self._backlog += data[sent:]
            self._watch()
            if self.other is not None and len(self._backlog) > _BACKLOG:
                self.other.read(False)

    def _flush(self) -> None:
        try:
            del self._backlog[: self._socket.send(self._backlog)]
        except BlockingIOError:
            return
        except OSError:
            self._on_close()
            return
        if not self._backlog:
            self._watch()
            if self.other is not None:
                self.other.read(True)

    def read(self, wanted: bool) -> None:
        if self.fd >= 0 and self._reads != wanted:
            self._reads = wanted
            self._watch()

    def _watch(self) -> None:
        self._loop.change(self.fd, (IN if self._reads else 0) | (OUT if self._backlog else 0))

    def close(self) -> None:
        if self.fd >= 0:
            self._loop.forget(self.fd)
            self.fd = -1
            self._socket.close()


OnData = Callable[[bytes], None]


class Floor:
    """Accepts clients and gives each what its first bytes ask for."""

    def __init__(self, loop: Loop, upstream: int) -> None:
        self._loop = loop
        self._upstream = upstream
        self._broadcasts: list[Broadcast] = []

    def accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except BlockingIOError:
            return
        client: Side
        client = Side(self._loop, accepted, lambda data: self._first(client, data), lambda: client.close())

    def _first(self, client: Side, data: bytes) -> None:
        if data.startswith(b"POST /v1/streams"):
            self._create(client, data)
        elif data.startswith(b"GET /v1/streams/"):
            self._broadcasts[int(data.split(b"/")[3])].join(client, data)
        else:
            self._relay(client, data)

    def _create(self, client: Side, data: bytes) -> None:
        head, _, body = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is not None and len(body) < int(length[1]):
            # A body may come in a piece of its own.
            client._on_data = lambda more: self._create(client, data + more)
            return
        self._broadcasts.append(Broadcast(self.connect, body))
        identity = json.dumps({"id": str(len(self._broadcasts) - 1)}).encode()
        client.write(json_response(identity, b"201 Created"))

    def connect(self, on_data: OnData, on_close: Callable[[], None]) -> Side:
        return Side(self._loop, socket.create_connection(("127.0.0.1", self._upstream)), on_data, on_close)

    def _relay(self, client: Side, data: bytes) -> None:
        def close() -> None:
            client.close()
            upstream.close()

        upstream = self.connect(client.write, close)
        upstream.other, client.other = client, upstream
        client._on_data, client._on_close = upstream.write, close
        upstream.write(data)


class Broadcast:
    """One reply of the upstream, for any number of clients, each from its beginning."""

    def __init__(self, connect: Callable[[OnData, Callable[[], None]], Side], body: bytes) -> None:
        self._said = bytearray()
        self._head_over = False
        self._clients: list[Side] = []
        self._said_in_frames = bytearray()
        self._websockets: list[Side] = []
        upstream = connect(self._heard, lambda: upstream.close())
        upstream.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: floor\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )

    def join(self, client: Side, request: bytes) -> None:
        client._on_data = lambda data: None
        key = _WEBSOCKET_KEY.search(request)
        if key is None:
            client.write(HEAD + self._said)
            self._clients.append(client)
        else:
            client.write(_SWITCHING % accept_value(key[1]) + self._said_in_frames)
            self._websockets.append(client)

    def _heard(self, data: bytes) -> None:
        if not self._head_over:
            self._head_over = True
            data = data.partition(b"\r\n\r\n")[2]
            if not data:
                return
        self._said += data
        for client in self._clients:
            client.write(data)
        frame = server_frame(data)
        self._said_in_frames += frame
        for client in self._websockets:
            client.write(frame)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    arguments = parser.parse_args()
    loop = Loop()
    floor = Floor(loop, arguments.upstream)
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=4096)
    listener.setblocking(False)
    loop.watch(listener.fileno(), IN, lambda _: floor.accept(listener))
    loop.watch(0, IN, lambda _: loop.stop())
    sharpen_timers()
    loop.run()


if __name__ == "__main__":
    main()
