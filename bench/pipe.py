"""A client's connection that carries anything, in the clear or over TLS. Knows no protocol above that."""

import contextlib
import socket
import ssl
from collections.abc import Callable

from bench.ask import trusting
from bench.loop import IN, OUT, Loop, now_ns

_READ = 262_144
# One for all: `recv` would ask the kernel for this much memory anew for every chunk, and give it back.
_BUFFER = bytearray(_READ)
_VIEW = memoryview(_BUFFER)

OnData = Callable[[bytes, int], None]
"""Called with what came and when; with nothing at the end of the connection."""


class Pipe:
    """Sends `hello` once it is connected, and hands over what comes."""

    def __init__(self, loop: Loop, port: int, hello: bytes, on_data: OnData, alpn: str = "") -> None:
        """`alpn`: the protocol to ask for over TLS; empty: in the clear."""
        self._loop = loop
        self._on_data = on_data
        self._outbox = b""
        self._hello = hello
        self._tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        if alpn:
            context = trusting()
            context.set_alpn_protocols([alpn])
            self._tls = context.wrap_bio(self._in, self._out)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self._socket.fileno()
        self._socket.connect_ex(("127.0.0.1", port))
        loop.watch(self.fd, OUT, self._on_event)

    def say(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._out.read()
        self._send(data)

    def _send(self, data: bytes) -> None:
        self._outbox += data
        with contextlib.suppress(BlockingIOError):
            self._outbox = self._outbox[self._socket.send(self._outbox) :]
        self._loop.change(self.fd, IN | OUT if self._outbox else IN)

    def _on_event(self, events: int) -> None:
        try:
            if events & OUT:
                self._begin() if self._hello else self._send(b"")
            if events & ~OUT:
                self._read()
        except OSError:
            self._over()

    def _begin(self) -> None:
        if self._tls is not None:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send(self._out.read())
                return
            self._send(self._out.read())
        hello, self._hello = self._hello, b""
        self.say(hello)

    def _read(self) -> None:
        data = bytes(_VIEW[: self._socket.recv_into(_BUFFER)])
        now = now_ns()
        if not data:
            self._over()
            return
        if self._tls is not None:
            self._in.write(data)
            if self._hello:
                self._begin()
            data = b"" if self._hello else self._decrypt(self._tls)
        if data:
            self._on_data(data, now)

    def _decrypt(self, tls: ssl.SSLObject) -> bytes:
        parts = []
        try:
            while part := tls.read(_READ):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)

    def _over(self) -> None:
        if self.fd >= 0:
            self.close()
            self._on_data(b"", now_ns())

    def close(self) -> None:
        if self.fd >= 0:
            self._loop.forget(self.fd)
            self.fd = -1
            self._socket.close()
