"""A client's connection to a target: non-blocking, kept alive, one request at a time."""

import json
import socket
from collections.abc import Callable, Mapping

from bench.loop import GONE, IN, OUT, Loop, now_ns
from bench.response import BadResponse, Response

_READ = 262_144
# One for all: `recv` would ask the kernel for this much memory anew for every chunk, and give it back.
_BUFFER = bytearray(_READ)
_VIEW = memoryview(_BUFFER)

OnBody = Callable[[bytes, int], None]
"""Called with body bytes and the time at which they were received."""
OnEnd = Callable[[str], None]
"""Called once a request is over; with "" or with what went wrong."""


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: object = None) -> bytes:
    data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in {"accept": "*/*", **headers}.items()]
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(data)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Client:
    """One connection. Nothing in it raises; whatever goes wrong is told to the request's `on_end`."""

    __slots__ = ("_connected", "_loop", "_on_body", "_on_end", "_outbox", "_socket", "fd", "response")

    def __init__(
        self, loop: Loop, port: int, receive_buffer: int = 0, host: str = "127.0.0.1", source: str = ""
    ) -> None:
        self._loop = loop
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self._socket.bind((source, 0))
        self.fd = self._socket.fileno()
        self._connected = False
        self._outbox = b""
        self._on_body: OnBody | None = None
        self._on_end: OnEnd | None = None
        self.response = Response()
        self._socket.connect_ex((host, port))
        loop.watch(self.fd, OUT, self._on_event)

    @property
    def usable(self) -> bool:
        """Another request may be sent on it."""
        return self.fd >= 0 and self._on_end is None

    def send(self, request: bytes, on_body: OnBody, on_end: OnEnd) -> None:
        self.response = Response()
        self._on_body, self._on_end = on_body, on_end
        self._outbox = request
        if self._connected:
            self._flush()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._outbox)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._over(f"the connection broke while sending ({error.strerror})")
            return
        self._outbox = self._outbox[sent:]
        self._loop.change(self.fd, IN | OUT if self._outbox else IN)

    def _on_event(self, events: int) -> None:
        if not self._connected:
            self._finish_connect()
            return
        if events & (IN | GONE):
            self.read(_READ)
        elif events & OUT:
            self._flush()

    def _finish_connect(self) -> None:
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._over("the target refused the connection")
            return
        self._connected = True
        if self._outbox:
            self._flush()
        else:
            self._loop.change(self.fd, IN)

    def read(self, most: int) -> None:
        """Takes what there is; called by the loop, or by hand while paused."""
        try:
            length = self._socket.recv_into(_BUFFER, most)
        except BlockingIOError:
            return
        except OSError as error:
            self._over(f"the connection broke ({error.strerror})")
            return
        now = now_ns()
        if self._on_body is None:
            self.close()
            return
        if length:
            self._take(bytes(_VIEW[:length]), now)
        else:
            self.response.end_of_file()
            self._over("" if self.response.done else "the connection closed before the response's end")

    def _take(self, data: bytes, now: int) -> None:
        assert self._on_body is not None
        try:
            body = self.response.feed(data)
        except (BadResponse, ValueError) as error:
            self._over(f"the response is broken: {error}")
            return
        if body:
            self._on_body(body, now)
        if self.response.done:
            status = self.response.status
            self._over("" if status < 300 else f"status {status}")

    def pause(self) -> None:
        """Stops reading; `read` takes what the caller wants."""
        if self.fd >= 0:
            self._loop.change(self.fd, 0)

    def _over(self, problem: str) -> None:
        on_end, self._on_end, self._on_body = self._on_end, None, None
        if problem or self.response.closes:
            self.close()
        if on_end is not None:
            on_end(problem)

    def close(self) -> None:
        """Leaves, without telling the request that was under way."""
        self._on_end = self._on_body = None
        if self.fd >= 0:
            self._loop.forget(self.fd)
            self.fd = -1
            self._socket.close()


class Pool:
    """Keeps connections alive between requests, as browsers and SDKs do."""

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop
        self._port = port
        self._idle: list[Client] = []

    def take(self) -> Client:
        while self._idle:
            client = self._idle.pop()
            if client.usable:
                return client
        return Client(self._loop, self._port)

    def give_back(self, client: Client) -> None:
        if client.usable:
            self._idle.append(client)
