"""What carries watched streams: SSE, WebSocket and HTTP/2, each from bytes to what every stream on it says."""

import abc
from collections.abc import Callable, Mapping

from bench import http2
from bench.client import request_bytes
from bench.loop import Loop
from bench.pipe import Pipe
from bench.response import BadResponse, Response
from bench.watching import Way
from bench.websocket import Frames, agrees_to_deflate, client_text, handshake

Said = tuple[int, bytes, bool]
"""(number of the stream on its connection, what it says, whether it has ended)."""


class Carrier(abc.ABC):
    """One connection's protocol. Knows no socket."""

    alpn = "http/1.1"

    def __init__(self, way: Way, stream: str, headers: Mapping[str, str]) -> None:
        self._way = way
        self._stream = stream
        self._path = way.path.format(id=stream)
        self._headers = headers
        self.problem = ""
        self.replies = b""
        """Bytes that are due; the caller sends and clears them."""

    @abc.abstractmethod
    def hello(self) -> bytes:
        """What a client sends first."""

    @abc.abstractmethod
    def feed(self, data: bytes) -> list[Said]:
        """Takes what came."""

    def _head(self, response: Response, data: bytes) -> bytes:
        """Takes bytes of an HTTP/1.1 response; returns those of its body."""
        try:
            body = response.feed(data)
        except (BadResponse, ValueError) as error:
            self.problem = f"the response is broken: {error}"
            return b""
        if response.status >= 300:
            self.problem = f"status {response.status}"
        return body


class Sse(Carrier):
    """HTTP/1.1: one body a connection."""

    def __init__(self, way: Way, stream: str, headers: Mapping[str, str]) -> None:
        super().__init__(way, stream, headers)
        self._response = Response()

    def hello(self) -> bytes:
        return request_bytes("GET", self._path, {**self._headers, "accept": "text/event-stream"})

    def feed(self, data: bytes) -> list[Said]:
        return [(0, self._head(self._response, data), self._response.done)]


class WebSocket(Carrier):
    """Says what its way says, and hands over each message."""

    def __init__(self, way: Way, stream: str, headers: Mapping[str, str]) -> None:
        super().__init__(way, stream, headers)
        self._response = Response()
        self._frames = Frames(way.deflate)
        self._to_say = list(way.says)

    def hello(self) -> bytes:
        return handshake(self._path, self._way.protocol, self._headers, self._way.deflate)

    def feed(self, data: bytes) -> list[Said]:
        """The first thing said is nothing: the socket is open."""
        opened = bool(self._response.head)
        data = self._head(self._response, data)
        messages = self._frames.feed(data)
        if not opened and self._response.head:
            if self._way.deflate and not agrees_to_deflate(self._response.head):
                self.problem = self.problem or "the target does not agree to compress"
            messages.insert(0, b"")
        for _ in messages:
            self._speak()
        self.replies += self._frames.replies
        self._frames.replies = b""
        return [(0, message, False) for message in messages]

    def _speak(self) -> None:
        if self._to_say and (text := self._to_say.pop(0)):
            self.replies += client_text(text.replace("{id}", self._stream))


class Http2(Carrier):
    """Many bodies a connection."""

    alpn = "h2"

    def __init__(self, way: Way, stream: str, headers: Mapping[str, str], streams: int) -> None:
        super().__init__(way, stream, headers)
        self._streams = streams
        self._frames = http2.Frames()

    def hello(self) -> bytes:
        headers = {**self._headers, "accept": "text/event-stream"}
        requests = (http2.get(2 * number + 1, self._path, headers) for number in range(self._streams))
        return http2.greeting() + b"".join(requests)

    def feed(self, data: bytes) -> list[Said]:
        said = [(stream // 2, part, over) for stream, part, over in self._frames.feed(data)]
        self.replies += self._frames.replies
        self._frames.replies = b""
        self.problem = self._frames.problem
        return said


def carrier(way: Way, stream: str, headers: Mapping[str, str], streams: int = 1) -> Carrier:
    """A new one of the way's kind; `streams`: watchers on it, of which only HTTP/2 takes several."""
    if way.carrier == "http2":
        return Http2(way, stream, headers, streams)
    assert streams == 1, f"{way.carrier} carries one stream a connection"
    return (WebSocket if way.carrier == "websocket" else Sse)(way, stream, headers)


class Connection:
    """A carrier on a socket of its own, from now on."""

    def __init__(
        self,
        loop: Loop,
        port: int,
        carrier: Carrier,
        on_said: Callable[[int, bytes, bool, int], None],
        on_problem: Callable[[str], None],
        *,
        tls: bool = False,
    ) -> None:
        """`on_said` is called with what a stream says, as in `Said`, and when it came; `on_problem` once at most."""
        self._carrier = carrier
        self._on_said = on_said
        self._on_problem = on_problem
        self._closed = False
        self._pipe = Pipe(loop, port, carrier.hello(), self._take, carrier.alpn if tls else "")

    def say(self, data: bytes) -> None:
        if not self._closed:
            self._pipe.say(data)

    def _take(self, data: bytes, now: int) -> None:
        said = self._carrier.feed(data) if data else []
        if replies := self._carrier.replies:
            self._carrier.replies = b""
            self._pipe.say(replies)
        for number, part, over in said:
            if self._closed:
                return
            self._on_said(number, part, over, now)
        if self._closed:
            return
        if problem := self._carrier.problem or ("" if data else "the connection closed before its streams' end"):
            self.close()
            self._on_problem(problem)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pipe.close()
