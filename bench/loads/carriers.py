"""One generation, many watchers, by each of the ways that can carry it: what a delivery costs on each."""

from collections.abc import Callable

from bench import http2
from bench.client import request_bytes
from bench.loads.fan_out import create
from bench.loads.run import Run
from bench.loads.steady import report_latency
from bench.pipe import Pipe
from bench.response import Response
from bench.tally import Tally
from bench.websocket import Frames, client_text, handshake
from bench.wire import Script

_SUBSCRIBE = '{"type":"stream.subscribe","ref":1,"stream":"{id}"}'


def carriers(run: Run, *, carrier: str, connections: int, streams: int, rate: float, seconds: float) -> None:
    """`connections` of `streams` watchers each, all of one stream of `rate` chunks/s, for `seconds`."""
    gather = 1.0 + connections * (0.004 if run.place.tls else 0.002) + connections * streams * 0.001
    script = Script(id=1, n=int((seconds + 0.5) * rate), gap=int(1e6 / rate), first=int(gather * 1e6))
    stream = create(run, script)
    opens = run.soon() + int((gather + 0.2) * 1e9)
    closes = opens + int(seconds * 1e9)
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    going = [connections * streams]

    def done() -> None:
        going[0] -= 1
        if not going[0]:
            run.loop.stop()

    group = [_KINDS[carrier](run, stream, streams, script.n, done) for _ in range(connections)]
    for number, connection in enumerate(group):
        run.loop.at(run.soon() + number * 1_500_000, connection.begin)
    run.drive(until=closes + 3_000_000_000)
    for connection in group:
        connection.cut()
    report_latency(run, offered=connections * streams * rate)


class Connection:
    """One connection, and the account of every stream on it."""

    alpn = "http/1.1"

    def __init__(self, run: Run, stream: str, streams: int, expected: int, done: Callable[[], None]) -> None:
        self._run = run
        self._path = f"/v1/streams/{stream}/events"
        self._stream = stream
        self._expected = expected
        self._done = done
        self._tallies = [Tally(run.recorder) for _ in range(streams)]
        self._open = set(range(streams))
        self._pipe: Pipe | None = None

    def begin(self) -> None:
        alpn = self.alpn if self._run.place.tls else ""
        self._pipe = Pipe(self._run.loop, self._run.place.port, self.hello(), self._take, alpn)

    def hello(self) -> bytes:
        return request_bytes("GET", self._path, {**self._run.place.headers, "accept": "text/event-stream"})

    def unpack(self, data: bytes, now: int) -> None:
        raise NotImplementedError

    def say(self, data: bytes) -> None:
        if self._pipe is not None:
            self._pipe.say(data)

    def body(self, number: int, data: bytes, now: int) -> None:
        """What one stream has said."""
        self._tallies[number].body(data, now)
        if number in self._open and self._tallies[number].order.next >= self._expected:
            self._account(number, self._expected)

    def broken(self, problem: str) -> None:
        if self._open:
            self._run.broken(problem)
        for number in list(self._open):
            self._account(number, None)
        self.cut()

    def _take(self, data: bytes, now: int) -> None:
        if data:
            self.unpack(data, now)
        else:
            self.broken("the connection closed before its streams' end")

    def _account(self, number: int, expected: int | None) -> None:
        self._open.discard(number)
        self._run.account(self._tallies[number], expected)
        self._done()

    def cut(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        self._run.result.unfinished += len(self._open)
        for number in list(self._open):
            self._account(number, None)


class Sse(Connection):
    """HTTP/1.1: one body a connection."""

    def __init__(self, run: Run, stream: str, streams: int, expected: int, done: Callable[[], None]) -> None:
        super().__init__(run, stream, streams, expected, done)
        self._response = Response()

    def unpack(self, data: bytes, now: int) -> None:
        self.body(0, self._response.feed(data), now)


class WebSocket(Connection):
    """Our subprotocol, in JSON."""

    def __init__(self, run: Run, stream: str, streams: int, expected: int, done: Callable[[], None]) -> None:
        super().__init__(run, stream, streams, expected, done)
        self._response = Response()
        self._frames = Frames()

    def hello(self) -> bytes:
        return handshake("/v1/connect", "stream-gateway.v1+json", self._run.place.headers)

    def unpack(self, data: bytes, now: int) -> None:
        opened = bool(self._response.head)
        data = self._response.feed(data)
        if not opened and self._response.head:
            self.say(client_text(_SUBSCRIBE.replace("{id}", self._stream)))
        self.body(0, b"".join(self._frames.feed(data)), now)


class Http2(Connection):
    """Many bodies a connection."""

    alpn = "h2"

    def __init__(self, run: Run, stream: str, streams: int, expected: int, done: Callable[[], None]) -> None:
        super().__init__(run, stream, streams, expected, done)
        self._frames = http2.Frames()

    def hello(self) -> bytes:
        headers = {**self._run.place.headers, "accept": "text/event-stream"}
        requests = (http2.get(2 * number + 1, self._path, headers) for number in range(len(self._tallies)))
        return http2.greeting() + b"".join(requests)

    def unpack(self, data: bytes, now: int) -> None:
        for stream, part, _ in self._frames.feed(data):
            self.body(stream // 2, part, now)
        if self._frames.problem:
            self.broken(self._frames.problem)
        elif self._frames.replies:
            replies, self._frames.replies = self._frames.replies, b""
            self.say(replies)


_KINDS: dict[str, type[Connection]] = {"sse": Sse, "websocket": WebSocket, "http2": Http2}
