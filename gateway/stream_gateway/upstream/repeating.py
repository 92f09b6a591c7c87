"""Which requests may be sent once more, on another connection, after the first one came to nothing."""

from typing import Final

import httpx

from stream_gateway.upstream.sink import EXTENSION, Headers, Sink, Valve

_IDEMPOTENT: Final = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
"""RFC 9110 §9.2.2."""


class SendAgain(httpx.ReadError):
    """The request came to nothing, and HTTP allows to send it once more: the provider has said that it did not
    process it (RFC 9113 §8.7), or processing it twice would do no harm (RFC 9110 §9.2.2)."""


class Doubtful:
    """A request on a connection that was idle, and may have been closed meanwhile without our knowledge.

    Use it as a context manager around sending it; raises `SendAgain` for an error after which that is allowed.
    """

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._repeatable = request.method in _IDEMPOTENT or "idempotency-key" in request.headers
        self._sink: Sink | None = request.extensions.get(EXTENSION)
        self._watched = _WatchedSink(self._sink) if self._repeatable and self._sink is not None else None
        if self._watched is not None:
            request.extensions = {**request.extensions, EXTENSION: self._watched}

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._watched is not None:
            self._request.extensions = {**self._request.extensions, EXTENSION: self._sink}
        untouched = self._watched is None or not self._watched.touched
        if self._repeatable and untouched and isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
            raise SendAgain(str(error), request=self._request) from None


class _WatchedSink:
    """Hands everything on to a sink, and knows whether there was anything."""

    def __init__(self, sink: Sink) -> None:
        self.touched = False
        self.begin_of = sink.begin
        self.feed = sink.feed
        self.flush = sink.flush
        self.end = sink.end

    def begin(self, status: int, headers: Headers, valve: Valve) -> bool:
        """The head has arrived: from here on the request has had an effect."""
        self.touched = True
        return self.begin_of(status, headers, valve)
