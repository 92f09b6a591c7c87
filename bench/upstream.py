"""The upstream: plays an OpenAI-compatible provider, in a process of its own, and is never the bottleneck.

    python -m bench.upstream --port 18081

`POST /v1/chat/completions` does what the request's script says (see `bench.wire`), streamed or not;
`GET /bench/stats` tells what it saw, `POST /bench/reset` forgets it. It ends when its standard input does,
so that it cannot outlive whoever started it.
"""

import argparse
import json
import os
import random
import re
import socket
import time

from bench import chunks
from bench.histogram import Histogram
from bench.loop import IN, OUT, Loop, now_ns, sharpen_timers
from bench.wire import STAMP, Script, parse_script

_BURST_TURN = 64
"""Writes of one stream with no gap before the next stream has its turn."""
_READ = 65_536
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_STREAMED = re.compile(rb'"stream" ?: ?true')
_USAGE = re.compile(rb'"include_usage" ?: ?true')

# Arrivals of real tokens are irregular, and regular ones would flatter every target: no two would ever
# meet. Each chunk is therefore sent at a random moment of its own gap; the same moments for every target.
_DICE = random.Random(7)
_JITTER = [_DICE.random() for _ in range(4096)]


class Upstream:
    """What all connections share: the loop and the figures."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.reset()

    def reset(self) -> None:
        self.chunks = 0
        self.streams = 0
        self.replies = 0
        self.left: dict[int, int] = {}
        self.late = Histogram()

    def stats(self) -> bytes:
        figures = {
            "pid": os.getpid(),
            "cpu_ns": time.process_time_ns(),
            "chunks": self.chunks,
            "streams": self.streams,
            "replies": self.replies,
            "left": self.left,
            "late_us": {"p50": self.late.percentile(50) / 1e3, "p99": self.late.percentile(99) / 1e3},
        }
        return chunks.json_response(json.dumps(figures).encode())

    def accept(self, listener: socket.socket) -> None:
        for _ in range(64):
            try:
                accepted, _ = listener.accept()
            except BlockingIOError:
                return
            Peer(self, accepted)


class Peer:
    """One connection: reads requests, one at a time, and writes whatever the reply hands it."""

    __slots__ = ("_inbox", "_outbox", "_socket", "_stream", "fd", "upstream")

    def __init__(self, upstream: Upstream, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upstream = upstream
        self.fd = accepted.fileno()
        self._socket = accepted
        self._inbox = b""
        self._outbox = bytearray()
        self._stream: Stream | None = None
        upstream.loop.watch(self.fd, IN, self._on_event)

    @property
    def open(self) -> bool:
        return self.fd >= 0

    @property
    def full(self) -> bool:
        """The socket takes no more for now."""
        return bool(self._outbox)

    def _on_event(self, events: int) -> None:
        if events & ~OUT:
            try:
                data = self._socket.recv(_READ)
            except BlockingIOError:
                data = None
            except OSError:
                data = b""
            if data == b"":
                self.close()
                return
            if data:
                self._inbox += data
                self._read_requests()
        if events & OUT and self.open:
            self._flush()

    def _read_requests(self) -> None:
        while self._stream is None and self.open:
            end = self._inbox.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._inbox[: end + 2]
            if _CHUNKED.search(head):
                self.write(chunks.json_response(b'{"error":"send a content-length"}', b"411 Length Required"))
                self.close()
                return
            length = _CONTENT_LENGTH.search(head)
            stop = end + 4 + (int(length[1]) if length else 0)
            if len(self._inbox) < stop:
                return
            body, self._inbox = self._inbox[end + 4 : stop], self._inbox[stop:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/chat/completions"):
            Stream(self, parse_script(body), bool(_STREAMED.search(body)), bool(_USAGE.search(body)))
        elif path == b"/bench/stats":
            self.write(self.upstream.stats())
        elif path == b"/bench/reset":
            self.upstream.reset()
            self.write(chunks.json_response(b"{}"))
        elif path.endswith(b"/models"):
            self.write(chunks.MODELS)
        else:
            self.write(chunks.json_response(b'{"error":"no such path"}', b"404 Not Found"))

    def begin(self, stream: "Stream") -> None:
        self._stream = stream

    def end(self) -> None:
        """The reply is complete; the next request may be read."""
        self._stream = None
        if self._inbox:
            self._read_requests()

    def write(self, data: bytes) -> None:
        if not self.open:
            return
        if self._outbox:
            self._outbox += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._outbox += data[sent:]
            self.upstream.loop.change(self.fd, IN | OUT)

    def _flush(self) -> None:
        if self._outbox:
            try:
                del self._outbox[: self._socket.send(self._outbox)]
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
        if not self._outbox:
            if self._stream is not None and self._stream.eager:
                self._stream.burst()
            else:
                self.upstream.loop.change(self.fd, IN)

    def wait_writable(self, wanted: bool) -> None:
        if self.open:
            self.upstream.loop.change(self.fd, IN | OUT if wanted else IN)

    def close(self) -> None:
        if not self.open:
            return
        if self._stream is not None:
            self._stream.abandoned()
        self.upstream.loop.forget(self.fd)
        self.fd = -1
        self._socket.close()


class Stream:
    """One reply, streamed or not, as its script says."""

    __slots__ = ("_due", "_offset", "_peer", "_script", "_sent", "_start", "_usage", "eager")

    def __init__(self, peer: Peer, script: Script, streamed: bool, usage: bool) -> None:
        self._peer = peer
        self._script = script
        self._usage = usage
        self._sent = 0
        self._offset = (script.id * 1009) % len(_JITTER)
        self.eager = False
        peer.begin(self)
        if streamed:
            peer.upstream.streams += 1
            peer.write(chunks.HEAD)
            self._after_first(self._begin)
        else:
            peer.upstream.replies += 1
            self._after_first(self._reply)

    def _after_first(self, action: object) -> None:
        assert callable(action)
        if self._script.first:
            self._peer.upstream.loop.at(now_ns() + self._script.first * 1000, action)
        else:
            action()

    def _reply(self) -> None:
        self._peer.write(chunks.reply(self._script.size))
        self._peer.end()

    def _begin(self) -> None:
        if self._script.gap:
            self._start = self._due = now_ns()
            self._tick()
        elif self._script.n:
            self.eager = True
            self.burst()
        else:
            self._finish()

    def abandoned(self) -> None:
        """The client left before the end."""
        self.eager = False
        if self._script.id:
            self._peer.upstream.left[self._script.id] = now_ns()

    def _tick(self) -> None:
        """Sends the chunk that is due, and sees to the next one."""
        peer, script = self._peer, self._script
        if not peer.open:
            return
        if self._sent == script.n:
            self._finish()
            return
        now = now_ns()
        peer.upstream.late.record(now - self._due)
        before, after = chunks.parts(script.size, self._sent == 0)
        peer.write(b"%b%b%019d%b" % (before, chunks.sequence_text(self._sent), now, after))
        peer.upstream.chunks += 1
        self._sent += 1
        if self._sent == script.n:
            self._finish()
            return
        jitter = _JITTER[(self._offset + self._sent) % len(_JITTER)]
        self._due = self._start + int((self._sent + jitter) * script.gap * 1000)
        peer.upstream.loop.at(self._due, self._tick)

    def burst(self) -> None:
        """Sends until the socket is full or the turn is over."""
        peer, script = self._peer, self._script
        for _ in range(_BURST_TURN):
            if self._sent == script.n or peer.full or not peer.open:
                break
            peer.write(self._next_block() if script.block else self._next_chunk())
        if self._sent == script.n:
            self.eager = False
            peer.wait_writable(peer.full)
            self._finish()
        elif peer.open and not peer.full:
            peer.wait_writable(True)

    def _next_chunk(self) -> bytes:
        before, after = chunks.parts(self._script.size, self._sent == 0)
        data = b"%b%b%019d%b" % (before, chunks.sequence_text(self._sent), now_ns(), after)
        self._sent += 1
        self._peer.upstream.chunks += 1
        return data

    def _next_block(self) -> bytes:
        script = self._script
        stop = min(script.n, self._sent + max(1, script.block // script.size))
        data = chunks.block(script.size, self._sent, stop).replace(STAMP, b"%019d" % now_ns())
        self._peer.upstream.chunks += stop - self._sent
        self._sent = stop
        return data

    def _finish(self) -> None:
        if self._script.hold:
            return
        self._peer.write(chunks.LAST + (chunks.USAGE if self._usage else b"") + chunks.DONE)
        self._peer.end()


def serve(port: int) -> None:
    loop = Loop()
    upstream = Upstream(loop)
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    loop.watch(listener.fileno(), IN, lambda _: upstream.accept(listener))
    loop.watch(0, IN, lambda _: loop.stop())
    sharpen_timers()
    print(f"ready {listener.getsockname()[1]}", flush=True)
    loop.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one and prints it")
    serve(parser.parse_args().port)


if __name__ == "__main__":
    main()
