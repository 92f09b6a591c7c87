"""Any endpoint that speaks OpenAI's chat completions."""

import os
import re
from pathlib import Path
from typing import Final

import httpx
import structlog

from stream_gateway.config import ConfigError, ProviderSettings
from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.provider import ProviderFailed, Reply
from stream_gateway.upstream.pump import Pump
from stream_gateway.upstream.sink import EXTENSION, Headers, Valve
from stream_gateway.upstream.transport import open_transport
from stream_protocols.dialects import openai_chat
from stream_protocols.dialects.openai_chat import ChatRequest, OpenAIChatDecoder
from stream_protocols.events import COVERED, Record, StreamFailed, StreamStarted

_log = structlog.get_logger()

REDACTED: Final = b"[redacted]"

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

_SSE: Final = b"text/event-stream"


class OpenAIProvider:
    """Streams and completes through one endpoint (see `Provider`).

    Raises:
        ConfigError: its key cannot be read.
    """

    dialect = openai_chat.NAME

    def __init__(self, name: str, settings: ProviderSettings, pump: Pump) -> None:
        self._name = name
        self._url = httpx.URL(settings.base_url.rstrip("/") + "/chat/completions")
        self._key = read_key(name, settings)
        self._headers = {
            "Host": self._url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "stream-gateway",
        }
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        self.transport = open_transport(name, settings, pump)

    async def stream(self, request: ChatRequest, model: str, stream: Stream) -> None:
        """Append the answer to a stream as it comes (see `Provider`)."""
        sink = _StreamSink(stream, request.choices, self._key)
        stream.valve = sink
        body = request.upstream_body(model=model, stream=True)
        try:
            response = await self._send(body, "text/event-stream", sink)
        except ProviderFailed as error:
            stream.conclude(error.failure)
            return
        if stream.log.sealed or sink.accepted:
            return
        failure = self._failure(response)
        if failure is not None:
            stream.conclude(failure)
            return
        # Asked for a stream, it sent a whole reply.
        stream.extend([sink.started(), *openai_chat.decode_reply(response.content)])

    async def complete(self, request: ChatRequest, model: str) -> Reply:
        """The whole answer, in the endpoint's own bytes (see `Provider`)."""
        response = await self._send(request.upstream_body(model=model, stream=False), "application/json", None)
        failure = self._failure(response)
        if failure is not None:
            raise ProviderFailed(failure)
        return Reply(body=response.content)

    async def _send(self, body: bytes, accept: str, sink: "_StreamSink | None") -> httpx.Response:
        extensions = {} if sink is None else {EXTENSION: sink}
        request = httpx.Request(
            "POST",
            self._url,
            headers={**self._headers, "Accept": accept},
            content=body,
            extensions=extensions,
        )
        try:
            return await self.transport.handle_async_request(request)
        except httpx.TimeoutException as error:
            raise ProviderFailed(self._unreachable("upstream_timeout", error, 504)) from None
        except httpx.TransportError as error:
            raise ProviderFailed(self._unreachable("upstream_error", error, 502)) from None

    def _unreachable(self, code: str, error: httpx.TransportError, status: int) -> StreamFailed:
        _log.warning("upstream_failed", provider=self._name, error=str(error))
        kind = "timeout_error" if status == 504 else "server_error"
        return StreamFailed(code, str(error), status, kind)

    def _failure(self, response: httpx.Response) -> StreamFailed | None:
        """What an error reply says, without our key in it; None for a good reply."""
        status = response.status_code
        if status == 200:
            return None
        _log.warning("upstream_refused", provider=self._name, status=status)
        content = response.content
        if self._key:
            content = content.replace(self._key.encode(), REDACTED)
        # What is no error to HTTP is one to us: a redirect or an empty success has no answer in it.
        shown = status if status >= 400 else 502
        return openai_chat.decode_error(content, shown, response.headers.get("retry-after"))


class _StreamSink:
    """Decodes one streamed answer into a stream; also the stream's valve."""

    def __init__(self, stream: Stream, choices: int, key: str | None) -> None:
        self.accepted = False
        self._key = key.encode() if key else None
        self._stream = stream
        self._choices = choices
        self._decoder = OpenAIChatDecoder()
        self._records: list[Record] = []
        self._valve: Valve | None = None

    def started(self) -> Record:
        """The gateway's word for the beginning; a vendor's client gets the vendor's own instead."""
        source = self._stream.source
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
        """Decode more of the body; a provider that quotes our key in it shall not tell it to clients."""
        if self._key is not None and self._key in data:
            data = data.replace(self._key, REDACTED)
        self._records += self._decoder.feed(data)

    def flush(self) -> None:
        """Append what was decoded: one read, one append."""
        records, self._records = self._records, []
        self._stream.extend(records)
        if self._stream.log.sealed and self._valve is not None:
            self._valve.expect_end()

    def end(self) -> None:
        """The body ended; if the answer had not, the decoder says so."""
        self._records += self._decoder.close()
        self.flush()

    def pause(self) -> None:
        """Make the provider feel that the log is full."""
        if self._valve is not None:
            self._valve.pause()

    def resume(self) -> None:
        """The log has room again."""
        if self._valve is not None:
            self._valve.resume()


def read_key(name: str, settings: ProviderSettings) -> str | None:
    """A provider's key from where the configuration says, or None when it needs none.

    Raises:
        ConfigError: the variable is not set, or the file cannot be read.
    """
    if settings.api_key_env:
        if not _VARIABLE.fullmatch(settings.api_key_env):
            # Not shown: whoever mistakes this for the key itself should not find that in a log.
            raise ConfigError(f'key `providers."{name}".api_key_env`: expected the name of an environment variable.')
        key = os.environ.get(settings.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f'key `providers."{name}".api_key_env`: the environment variable '
                f"{settings.api_key_env} is not set; set it to the provider's key."
            )
        return _clean(key, f'`providers."{name}".api_key_env`')
    if settings.api_key_file:
        try:
            key = Path(settings.api_key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f'key `providers."{name}".api_key_file`: {settings.api_key_file} cannot be read: {error}.'
            ) from None
        return _clean(key, f'`providers."{name}".api_key_file`')
    return None


def _clean(key: str, where: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        raise ConfigError(f"key {where}: the provider's key must be one line of printable ASCII without spaces.")
    return key
