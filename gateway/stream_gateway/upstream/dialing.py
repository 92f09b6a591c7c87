"""Dialing: from an origin to a connected socket, through a proxy and TLS where they are wanted."""

import contextlib
import os
import socket
import ssl
from typing import Final, Literal, NamedTuple

import httpx
import trio

from stream_gateway.tls import TlsFilter, client_end
from stream_gateway.upstream.proxies import MAX_REPLY, Proxy, connect_request, refusal
from stream_gateway.upstream.pump import READ_SIZE

Http2 = Literal["auto", "off", "prior-knowledge"]
"""`auto`: what is agreed on by ALPN (RFC 7301). `prior-knowledge`: nothing else, over plain TCP too (RFC 9113 §3.3)."""

_OFFERED: Final[dict[Http2, list[str]]] = {
    "auto": ["h2", "http/1.1"],
    "off": ["http/1.1"],
    "prior-knowledge": ["h2"],
}

KEEPALIVE: Final = 60
"""Seconds of silence after which the kernel asks whether the provider is still there, and 15 more for each try:
a peer that vanished is found before the silence timeout, and a router on the way does not forget us."""


class Wire(NamedTuple):
    """A connected, non-blocking socket. Whoever gets it owns it."""

    sock: socket.socket
    tls: TlsFilter | None
    http2: bool


class Dialer:
    """Makes connections to one origin.

    Args:
        connect_timeout: seconds for name look-up, TCP, proxy and TLS together.
        write_timeout: seconds in which the provider must take what was sent; then the kernel ends the connection.
        ssl_context: verifies the provider; its ALPN protocols are set here. None: trusts what the system does.
    """

    def __init__(
        self,
        origin: httpx.URL,
        *,
        connect_timeout: float,
        write_timeout: float,
        http2: Http2 = "auto",
        proxy: Proxy | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.connect_timeout = connect_timeout
        self._write_timeout = write_timeout
        self._http2: Http2 = http2
        self._secure = origin.scheme == "https"
        self._netloc = origin.netloc
        self._host = origin.host
        self._port = origin.port or (443 if self._secure else 80)
        self._proxy = proxy
        self._context = ssl_context
        if ssl_context is not None:
            ssl_context.set_alpn_protocols(_OFFERED[http2])

    @property
    def maybe_http2(self) -> bool:
        """Whether a connection may turn out to speak HTTP/2."""
        return self._http2 == "prior-knowledge" or (self._secure and self._http2 == "auto")

    @property
    def name(self) -> str:
        """The origin's host and port, for people and for CONNECT."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    def leads_to(self, url: httpx.URL) -> bool:
        """Whether a URL belongs to the origin."""
        return url.netloc == self._netloc and (url.scheme == "https") == self._secure

    async def dial(self) -> Wire:
        """Make a connection. Cancelled or failed, it leaves nothing open.

        Raises:
            httpx.ConnectTimeout: it took longer than the connect timeout.
            httpx.ConnectError: there is no way to the origin, or it cannot be trusted.
            httpx.ProxyError: the proxy refused.
        """
        try:
            with trio.fail_after(self.connect_timeout):
                return await self._dial()
        except trio.TooSlowError:
            message = f"No connection to {self.name} within {self.connect_timeout:g} seconds{self._through()}."
            raise httpx.ConnectTimeout(message) from None
        except ssl.SSLError as error:
            raise httpx.ConnectError(f"TLS with {self.name} failed: {_explain(error)}.") from None
        except OSError as error:
            message = f"Cannot connect to {self.name}{self._through()}: {_reason(error)}."
            raise httpx.ConnectError(message) from None

    async def _dial(self) -> Wire:
        host, port = (self._host, self._port) if self._proxy is None else (self._proxy.host, self._proxy.port)
        stream = await trio.open_tcp_stream(host, port)
        # From here on the socket is ours, without a Trio object around it: the pump reads it.
        sock = socket.socket(fileno=stream.socket.detach())
        try:
            sock.setblocking(False)
            self._tune(sock)
            if self._proxy is not None:
                await self._tunnel(sock, self._proxy)
            if not self._secure:
                return Wire(sock, None, self._http2 == "prior-knowledge")
            tls = await self._handshake(sock)
            self._check_agreed(tls)
            return Wire(sock, tls, tls.protocol == "h2")
        except BaseException:
            sock.close()
            raise

    def _tune(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with contextlib.suppress(AttributeError, OSError):  # as far as the platform can
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE // 4)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._write_timeout * 1000))

    async def _tunnel(self, sock: socket.socket, proxy: Proxy) -> None:
        await _send(sock, connect_request(self.name, proxy))
        head = await _receive_head(sock)
        if (said := refusal(head)) is not None:
            raise httpx.ProxyError(f"The proxy {proxy.host}:{proxy.port} does not connect to {self.name}: {said}.")

    async def _handshake(self, sock: socket.socket) -> TlsFilter:
        if self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(_OFFERED[self._http2])
        tls = client_end(self._context, self._host)
        while True:
            complete = tls.handshake()
            await _send(sock, tls.outgoing())
            if complete:
                return tls
            tls.feed(await _receive(sock))

    def _check_agreed(self, tls: TlsFilter) -> None:
        if self._http2 == "prior-knowledge" and tls.protocol != "h2":
            raise httpx.ConnectError(f"{self.name} does not offer HTTP/2; set `http2` to `auto`.")

    def _through(self) -> str:
        return "" if self._proxy is None else f" through the proxy {self._proxy.host}:{self._proxy.port}"


def _reason(error: OSError) -> str:
    """The system's word for it: Trio reports that no attempt has succeeded, and keeps the reasons behind that."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if error.errno is None and isinstance(cause, OSError):
        error = cause
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _explain(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.reason}: {error.verify_message}; if its authority is a private one, name it in `ca_file`"
    return error.reason or str(error)


async def _send(sock: socket.socket, data: bytes) -> None:
    pending = memoryview(data)
    while pending:
        try:
            pending = pending[sock.send(pending) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


async def _receive(sock: socket.socket, size: int = READ_SIZE, flags: int = 0) -> bytes:
    while True:
        await trio.lowlevel.wait_readable(sock)
        with contextlib.suppress(BlockingIOError):
            return sock.recv(size, flags)


async def _receive_head(sock: socket.socket) -> bytes:
    """Up to the blank line, and not a byte more: what follows belongs to the origin."""
    head = b""
    while b"\r\n\r\n" not in head:
        seen = await _receive(sock, READ_SIZE, socket.MSG_PEEK)
        end = (head + seen).find(b"\r\n\r\n")
        more = sock.recv(len(seen) if end < 0 else end + 4 - len(head))
        head += more
        if not more or len(head) > MAX_REPLY:
            raise OSError("its answer is not complete" if not more else "its answer is too long")
    return head
