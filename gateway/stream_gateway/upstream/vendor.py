"""A vendor's endpoint: any that speaks one of the dialects."""

from collections.abc import Coroutine, Sequence
from typing import Any, Final, cast

import httpx
import structlog

from stream_gateway.config import ProviderSettings
from stream_gateway.upstream.keys import Redactor, read_key
from stream_gateway.upstream.provider import Answer, ProviderFailed, RawReply, Reply
from stream_gateway.upstream.pump import Pump
from stream_gateway.upstream.repeating import REPEATABLE
from stream_gateway.upstream.sink import EXTENSION, SILENCE, Headers, Valve
from stream_gateway.upstream.transport import Exchange, open_transport
from stream_protocols.dialects import Dialect, Naming
from stream_protocols.dialects.registry import DIALECTS, upstream_body
from stream_protocols.events import COVERED, Record, StreamFailed, StreamStarted, last_usage
from stream_protocols.request import Request

_log = structlog.get_logger()

MAX_URLS: Final = 256
"""URLs that are remembered: more than any route list has."""

_SSE: Final = b"text/event-stream"

_PLAIN: Final[dict[str, Any]] = {REPEATABLE: True}
"""What vendors are asked for changes nothing there, and their own clients repeat all of it when a connection breaks."""


class VendorProvider:
    """Streams and completes through one endpoint (see `Provider`).

    Raises:
        ConfigError: its key cannot be read.
    """

    def __init__(self, name: str, settings: ProviderSettings, pump: Pump) -> None:
        self.dialect = settings.dialect
        self._name = name
        self._dialect = DIALECTS[settings.dialect]
        self._base = settings.base_url.rstrip("/")
        self._known: dict[tuple[str, bool], httpx.URL] = {}
        self.settings = settings
        self.use_key(read_key(name, settings))
        self.transport = open_transport(name, settings, pump)

    def use_key(self, key: str | None) -> None:
        """Show this key with requests from now on."""
        self._key = key
        self._redacted = Redactor(key).whole
        headers = {
            "Host": httpx.URL(self._base).netloc.decode("ascii"),
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "stream-gateway",
            **self._dialect.headers,
        }
        if key:
            headers |= self._dialect.credentials(key)
        # Made once: httpx takes longer over headers than over everything else in a request.
        self._headers = httpx.Headers({**headers, "Accept": "application/json"})
        self._stream_headers = httpx.Headers({**headers, "Accept": "text/event-stream"})

    def stream(self, request: Request, model: str, answer: Answer) -> Coroutine[Any, Any, None]:
        """Append the answer's records as they come (see `Provider`)."""
        sink = _StreamSink(answer, request.choices, self._dialect, Redactor(self._key))
        answer.valve = sink
        return self._finish(answer, sink, self._send(request, model, sink))

    async def _finish(self, answer: Answer, sink: "_StreamSink", sent: Exchange) -> None:
        try:
            response = await self._received(sent)
        except ProviderFailed as error:
            answer.extend([(error.failure, None)])
            return
        if answer.over or sink.accepted:
            return
        failure = self._failure(response)
        if failure is not None:
            answer.extend([(failure, None)])
            return
        # Asked for a stream, it sent a whole reply.
        answer.extend([sink.started(), *self._dialect.decode_reply(self._body(response))])

    async def complete(self, request: Request, model: str) -> Reply:
        """The whole answer; to a client of the same dialect in the endpoint's own bytes (see `Provider`)."""
        response = await self._received(self._send(request, model, None))
        failure = self._failure(response)
        if failure is not None:
            raise ProviderFailed(failure)
        body = self._body(response)
        if request.dialect == self.dialect:
            outcome = self._dialect.inspect_reply(body)
            if isinstance(outcome, StreamFailed):
                raise ProviderFailed(outcome)
            return Reply(body=body, usage=outcome)
        events = tuple(event for event, _ in self._dialect.decode_reply(body))
        if events and isinstance(events[-1], StreamFailed):
            raise ProviderFailed(events[-1])
        return Reply(events=events, usage=last_usage(events))

    async def call(self, path: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> RawReply:
        """The endpoint's own answer to a request that is no generation, whatever it is.

        Args:
            path: below the base URL.
            body: JSON, as the endpoint wants it.
            headers: of the client's, for the endpoint to see.

        Raises:
            ProviderFailed: there is none, or it is an error.
        """
        headers = (("Accept", "*/*"), *headers)
        response = await self._received(self._post(httpx.URL(self._base + path), body, headers, None))
        failure = None if response.is_success else self._failure(response)
        if failure is not None:
            raise ProviderFailed(failure)
        return RawReply(response.status_code, response.headers.get("content-type"), self._body(response))

    def _send(self, asked: Request, model: str, sink: "_StreamSink | None") -> Exchange:
        stream = sink is not None
        body = upstream_body(asked, self._dialect, model=model, stream=stream)
        headers = asked.headers if asked.dialect == self.dialect else ()
        return self._post(self._url(model, stream), body, headers, sink)

    def _post(
        self, url: httpx.URL, body: bytes, more: Sequence[tuple[str, str]], sink: "_StreamSink | None"
    ) -> Exchange:
        headers = httpx.Headers(self._headers if sink is None else self._stream_headers)
        headers["Content-Length"] = str(len(body))
        if more:
            headers.update(more)
        extensions = _PLAIN if sink is None else {**_PLAIN, EXTENSION: sink, SILENCE: sink.answer.silence}
        request = httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(body), extensions=extensions)
        return self.transport.handle_async_request(request)

    async def _received(self, sent: Exchange) -> httpx.Response:
        try:
            return await sent
        except httpx.TimeoutException as error:
            raise ProviderFailed(self._unreachable("upstream_timeout", error, 504)) from None
        except httpx.TransportError as error:
            raise ProviderFailed(self._unreachable("upstream_error", error, 502)) from None

    def _url(self, model: str, stream: bool) -> httpx.URL:
        """Where a request goes. Parsing a URL is slow, and there are few; but a client may name any model."""
        url = self._known.get((model, stream))
        if url is None:
            url = httpx.URL(self._base + self._dialect.path(model, stream=stream))
            if len(self._known) < MAX_URLS:
                self._known[model, stream] = url
        return url

    def _unreachable(self, code: str, error: httpx.TransportError, status: int) -> StreamFailed:
        _log.warning("upstream_failed", provider=self._name, error=str(error))
        kind = "timeout_error" if status == 504 else "server_error"
        return StreamFailed(code, str(error), status, kind)

    def _body(self, response: httpx.Response) -> bytes:
        # Read from its stream, as it is whole and decoded: to httpx's `read` it would be news.
        return self._redacted(b"".join(cast(httpx.SyncByteStream, response.stream)))

    def _failure(self, response: httpx.Response) -> StreamFailed | None:
        """What an error reply says, without our key in it; None for a good reply."""
        status = response.status_code
        if status == 200:
            return None
        _log.warning("upstream_refused", provider=self._name, status=status)
        # What is no error to HTTP is one to us: a redirect or an empty success has no answer in it.
        shown = status if status >= 400 else 502
        return self._dialect.decode_error(self._body(response), shown, response.headers.get("retry-after"))


class _StreamSink:
    """Decodes one streamed answer; also the answer's valve."""

    def __init__(self, answer: Answer, choices: int, dialect: Dialect, redactor: Redactor) -> None:
        self.accepted = False
        self.answer = answer
        self._redactor = redactor
        self._choices = choices
        self._decoder = dialect.decoder()
        self._naming = self._decoder if isinstance(self._decoder, Naming) else None
        self._records: list[Record] = []
        self._valve: Valve | None = None

    def started(self) -> Record:
        """The gateway's word for the beginning; a vendor's client gets the vendor's own instead."""
        source = self.answer.source
        return StreamStarted(source.model, source.created, self._choices), COVERED

    def begin(self, status: int, headers: Headers, valve: Valve) -> bool:
        """Accept a good answer that really is an event stream."""
        kind = dict(headers).get(b"content-type", _SSE)
        if status != 200 or not kind.lower().startswith(_SSE):
            return False
        self.accepted = True
        self._valve = valve
        self._records.append(self.started())
        return True

    def feed(self, data: bytes) -> None:
        """Decode more of the body."""
        self._records += self._decoder.feed(self._redactor.feed(data))

    def flush(self) -> None:
        """Append what was decoded: one read, one append."""
        if self._naming is not None and self._naming.answer_id is not None:
            self.answer.known_as(self._naming.answer_id)
            self._naming = None
        records, self._records = self._records, []
        self.answer.extend(records)
        if self.answer.over and self._valve is not None:
            self._valve.expect_end()

    def end(self) -> None:
        """The body ended; if the answer had not, the decoder says so."""
        self._records += [*self._decoder.feed(self._redactor.close()), *self._decoder.close()]
        self.flush()

    def pause(self) -> None:
        """Make the provider feel that the log is full."""
        if self._valve is not None:
            self._valve.pause()

    def resume(self) -> None:
        """The log has room again."""
        if self._valve is not None:
            self._valve.resume()
