"""The dialect as one object."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from stream_protocols.conversation import Conversation
from stream_protocols.dialects.anthropic import failures, reading, reply, request, writing
from stream_protocols.dialects.anthropic.decoder import AnthropicDecoder
from stream_protocols.dialects.anthropic.encoder import AnthropicEncoder
from stream_protocols.dialects.base import Dialect, Source
from stream_protocols.events import Event, Record, StreamCancelled, StreamFailed
from stream_protocols.request import Request

VERSION: Final = "2023-06-01"
"""The version of the API that we ask for unless a client of the same dialect asks for another.

All models and resellers know it. For messages, the next one (2026-10-21) only refuses more: sampling settings, for one,
which some models still take.
"""

COUNT_PATH: Final = "/messages/count_tokens"
"""Where a provider counts the tokens of a request, below its base URL."""


class Anthropic(Dialect):
    """Anthropic's messages, and all that is compatible with them."""

    name = request.NAME
    forwarded = ("anthropic-version", "anthropic-beta")
    headers: ClassVar[Mapping[str, str]] = {"anthropic-version": VERSION}
    params: ClassVar[Mapping[str, str]] = {
        "reasoning_effort": "output_config.effort",
        "response_format": "output_config.format",
        "stop": "stop_sequences",
    }

    def parse_request(
        self, body: bytes, *, native: bool = False, model: str | None = None, stream: bool | None = None
    ) -> Request:
        return request.parse_request(body, native=native)

    def read(self, request: Request) -> Conversation:
        return reading.read(request)

    def write(self, conversation: Conversation, *, model: str, stream: bool) -> bytes:
        return writing.write(conversation, model=model, stream=stream)

    def patch(self, asked: Request, *, model: str, stream: bool) -> bytes:
        return request.patch(asked, model=model, stream=stream)

    def continued(self, asked: Request, text: str) -> Request:
        return request.continued(asked, text) if text.strip() else asked

    def path(self, model: str, *, stream: bool) -> str:
        return "/messages"

    def credentials(self, key: str) -> Mapping[str, str]:
        return {"x-api-key": key}

    def decoder(self) -> AnthropicDecoder:
        return AnthropicDecoder()

    def decode_reply(self, body: bytes) -> list[Record]:
        return reply.decode_reply(body)

    def decode_error(self, body: bytes, status: int, retry_after: str | None = None) -> StreamFailed:
        return failures.decode_error(body, status, retry_after)

    def encoder(self, source: Source, request: Request | None = None) -> AnthropicEncoder:
        return AnthropicEncoder(source)

    def encode_reply(self, source: Source, events: Iterable[Event]) -> bytes:
        return reply.encode_reply(source, events)

    def encode_error(self, failure: StreamFailed | StreamCancelled) -> bytes:
        return failures.error_json(failure)
