"""The dialect as one object."""

from collections.abc import Iterable, Mapping

from stream_protocols.conversation import Conversation
from stream_protocols.dialects.base import Dialect, Source
from stream_protocols.dialects.gemini import failures, reading, reply, request, writing
from stream_protocols.dialects.gemini.decoder import GeminiDecoder
from stream_protocols.dialects.gemini.encoder import GeminiEncoder
from stream_protocols.events import Event, Record, StreamCancelled, StreamFailed, Usage
from stream_protocols.request import Request


class Gemini(Dialect):
    """Google's Gemini API (`generateContent`), and all that is compatible with it."""

    name = request.NAME

    def parse_request(
        self, body: bytes, *, native: bool = False, model: str | None = None, stream: bool | None = None
    ) -> Request:
        return request.parse_request(body, model=model or "", stream=bool(stream))

    def read(self, request: Request) -> Conversation:
        return reading.read(request)

    def write(self, conversation: Conversation, *, model: str, stream: bool) -> bytes:
        return writing.write(conversation, model=model)

    def patch(self, asked: Request, *, model: str, stream: bool) -> bytes:
        return request.patch(asked, model=model)

    def continued(self, asked: Request, text: str) -> Request:
        return request.continued(asked, text) if text else asked

    def path(self, model: str, *, stream: bool) -> str:
        return request.path(model, "streamGenerateContent?alt=sse" if stream else "generateContent")

    def credentials(self, key: str) -> Mapping[str, str]:
        return {"x-goog-api-key": key}

    def decoder(self) -> GeminiDecoder:
        return GeminiDecoder()

    def decode_reply(self, body: bytes) -> list[Record]:
        return reply.decode_reply(body)

    def inspect_reply(self, body: bytes) -> StreamFailed | Usage | None:
        return reply.inspect_reply(body)

    def decode_error(self, body: bytes, status: int, retry_after: str | None = None) -> StreamFailed:
        return failures.decode_error(body, status, retry_after)

    def encoder(self, source: Source, request: Request | None = None) -> GeminiEncoder:
        return GeminiEncoder(source)

    def encode_reply(self, source: Source, events: Iterable[Event]) -> bytes:
        return reply.encode_reply(source, events)

    def encode_error(self, failure: StreamFailed | StreamCancelled) -> bytes:
        return failures.error_json(failure)
