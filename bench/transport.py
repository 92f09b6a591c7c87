"""What one request, and one chunk, cost in the upstream transport alone, over HTTP/1.1 and over HTTP/2.

    python -m bench.transport

A provider in a process of its own answers; here is nothing but the pump, the transport, and a sink that counts. CPU
time is this process's own.
"""

import argparse
import functools
import select
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import httpx
import trio

from bench import chunks
from bench.http2 import frame
from bench.loop import IN, Loop, now_ns, sharpen_timers
from bench.wire import Script, parse_script
from stream_gateway.upstream.dialing import Dialer, Http2
from stream_gateway.upstream.pump import open_pump
from stream_gateway.upstream.sink import EXTENSION, Headers, Valve
from stream_gateway.upstream.transport import PooledTransport

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EVENT: Final = b"data: " + b"x" * 242 + b"\n\n"
_HEAD: Final = b"\x88" + b"\x10\x0ccontent-type\x11text/event-stream"  # RFC 7541: indexed :status 200, and a literal
_DATA, _HEADERS, _SETTINGS, _WINDOW_UPDATE = 0, 1, 4, 8


class Provider:
    """One connection of the provider, which speaks what its client does."""

    def __init__(self, loop: Loop, accepted: socket.socket) -> None:
        self._loop = loop
        self._socket = accepted
        self._inbox = b""
        self._bodies: dict[int, bytes] = {}
        self._http2: bool | None = None
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.watch(accepted.fileno(), IN, self._on_event)

    def _on_event(self, events: int) -> None:
        data = self._socket.recv(65_536)
        if not data:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            return
        self._inbox += data
        if self._http2 is None:
            self._http2 = self._inbox.startswith(_PREFACE)
            if self._http2:
                self._inbox = self._inbox[len(_PREFACE) :]
                self._socket.send(frame(_SETTINGS, 0, 0))
        if self._http2:
            self._take_frames()
        elif (end := self._inbox.find(b"\r\n\r\n")) >= 0 and self._inbox.endswith(b"}"):
            body, self._inbox = self._inbox[end:], b""
            self._answer(0, parse_script(body))

    def _take_frames(self) -> None:
        while len(self._inbox) >= 9 and len(self._inbox) >= (end := 9 + int.from_bytes(self._inbox[:3], "big")):
            kind, flags, stream = self._inbox[3], self._inbox[4], int.from_bytes(self._inbox[5:9], "big")
            if kind == _DATA:
                self._socket.send(frame(_WINDOW_UPDATE, 0, 0, (end - 9).to_bytes(4, "big")))
                self._answer(stream, parse_script(self._inbox[9:end]))
            elif kind == _SETTINGS and not flags:
                self._socket.send(frame(_SETTINGS, 1, 0))
            self._inbox = self._inbox[end:]

    def _answer(self, stream: int, script: Script) -> None:
        head = frame(_HEADERS, 4, stream, _HEAD) if self._http2 else chunks.HEAD
        event = frame(_DATA, 0, stream, _EVENT) if self._http2 else chunks.framed(_EVENT)
        last = frame(_DATA, 1, stream) if self._http2 else b"0\r\n\r\n"
        if script.gap:
            self._send(head)
            self._tick(event, last, script, 0, now_ns())
        else:
            self._send(head + event * script.n + last)

    def _tick(self, event: bytes, last: bytes, script: Script, sent: int, due: int) -> None:
        self._send(event if sent < script.n else last)
        if sent < script.n:
            due += script.gap * 1000
            self._loop.at(due, functools.partial(self._tick, event, last, script, sent + 1, due))

    def _send(self, data: bytes) -> None:
        if self._socket.fileno() >= 0:
            self._socket.send(data)


def serve() -> None:
    """Be the provider, until standard input ends."""
    loop = Loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def accept(events: int) -> None:
        Provider(loop, listener.accept()[0])

    loop.watch(listener.fileno(), IN, accept)
    loop.watch(0, select.EPOLLIN, lambda _: loop.stop())
    sharpen_timers()
    print(listener.getsockname()[1], flush=True)
    loop.run()


class Counter:
    """A sink that counts."""

    def __init__(self) -> None:
        self.size = 0

    def begin(self, status: int, headers: Headers, valve: Valve) -> bool:
        return status == 200

    def feed(self, data: bytes) -> None:
        self.size += len(data)

    def flush(self) -> None: ...

    def end(self) -> None: ...


class Asker:
    """Sends requests through a transport."""

    def __init__(self, transport: PooledTransport, port: int) -> None:
        self._transport = transport
        self._url = httpx.URL(f"http://127.0.0.1:{port}/v1/chat/completions")
        self._headers = {
            "Host": f"127.0.0.1:{port}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": "stream-gateway",
            "Authorization": "Bearer sk-" + "0123456789abcdef" * 4,
        }

    async def ask(self, script: Script) -> None:
        sink = Counter()
        body = b'{"model":"bench","stream":true,"messages":"' + script.text().encode() + b'"}'
        request = httpx.Request("POST", self._url, headers=self._headers, content=body, extensions={EXTENSION: sink})
        await self._transport.handle_async_request(request)
        assert sink.size == script.n * len(_EVENT), (sink.size, script)

    async def one_after_the_other(self, count: int, script: Script) -> None:
        for _ in range(count):
            await self.ask(script)


async def measure(port: int, http2: Http2) -> tuple[float, float]:
    """Microseconds of CPU a request, and a chunk."""
    pump = open_pump()
    dialer = Dialer(httpx.URL(f"http://127.0.0.1:{port}"), connect_timeout=5, write_timeout=5, http2=http2)
    transport = PooledTransport(
        pump,
        dialer,
        max_connections=1000,
        silence_timeout=30,
        write_timeout=30,
        max_reply_bytes=1_000_000,
        idle_timeout=60,
        max_lifetime=3600,
    )
    asker = Asker(transport, port)

    async def cost(tasks: int, work: Callable[[], Awaitable[None]], units: int) -> float:
        began = time.process_time_ns()
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(work)
        return (time.process_time_ns() - began) / 1000 / units

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        await asker.one_after_the_other(200, Script(n=3))
        request = await cost(8, lambda: asker.one_after_the_other(500, Script(n=3)), 8 * 500)
        idle = Script(n=150, gap=20_000)
        chunk = await cost(100, lambda: asker.ask(idle), 100 * 150) - request / 150
        transport.close()
        nursery.cancel_scope.cancel()
    return request, chunk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().serve:
        serve()
        return
    command = [sys.executable, "-m", "bench.transport", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as provider:
        assert provider.stdout is not None
        port = int(provider.stdout.readline())
        ways: list[tuple[str, Http2]] = [("HTTP/1.1", "off"), ("HTTP/2", "prior-knowledge")]
        for name, http2 in ways:
            request, chunk = trio.run(measure, port, http2)
            print(f"{name:9} {request:6.0f} µs a request of 3 chunks   {chunk:6.1f} µs a chunk at 100 streams × 50/s")
        provider.communicate(b"")


if __name__ == "__main__":
    main()
