"""A loopback HTTP proxy that makes tunnels, and remembers what it was asked for."""

from __future__ import annotations

import base64
import contextlib

import trio


class TunnelProxy:
    """`credentials`: `user:password` that it insists on. `refusal`: what it says instead of 200."""

    def __init__(self, *, credentials: str | None = None, refusal: bytes | None = None) -> None:
        self.credentials = credentials
        self.refusal = refusal
        self.asked: list[bytes] = []
        """The targets of the tunnels, in the order in which they were asked for."""
        self.greeting = b""
        """What it sends before the blank line, one header field or several."""
        self.port = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._tunnel(stream)
        await trio.aclose_forcefully(stream)

    async def _tunnel(self, stream: trio.SocketStream) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = await stream.receive_some(1)
            if not data:
                return
            head += data
        method, target, _ = head.split(b" ", 2)
        assert method == b"CONNECT"
        self.asked.append(target)
        if self.refusal is not None:
            await stream.send_all(self.refusal)
        elif not self._is_allowed(head):
            await stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
        else:
            host, _, port = target.decode().rpartition(":")
            inner = await trio.open_tcp_stream(host.strip("[]"), int(port))
            for byte in b"HTTP/1.1 200 Connected\r\n" + self.greeting + b"\r\n":
                await stream.send_all(bytes([byte]))
            async with inner, trio.open_nursery() as nursery:
                nursery.start_soon(_copy, stream, inner, nursery.cancel_scope)
                nursery.start_soon(_copy, inner, stream, nursery.cancel_scope)

    def _is_allowed(self, head: bytes) -> bool:
        if self.credentials is None:
            return True
        wanted = b"Proxy-Authorization: Basic " + base64.b64encode(self.credentials.encode())
        return wanted in head.split(b"\r\n")


async def _copy(source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(65_536):
            await target.send_all(data)
    scope.cancel()
