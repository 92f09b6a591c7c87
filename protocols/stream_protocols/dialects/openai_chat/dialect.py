"""The dialect as one object."""

from collections.abc import Iterable, Mapping

import msgspec

from stream_protocols.conversation import Conversation
from stream_protocols.dialects.base import Dialect, Source
from stream_protocols.dialects.openai_chat import reading, reply, request, writing
from stream_protocols.dialects.openai_chat.decoder import OpenAIChatDecoder
from stream_protocols.dialects.openai_chat.encoder import OpenAIChatEncoder, error_json
from stream_protocols.events import Event, Record, StreamCancelled, StreamFailed, Usage
from stream_protocols.request import Request


class OpenAIChat(Dialect):
    """OpenAI's chat completions, and all that is compatible with them."""

    name = request.NAME

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

    def path(self, model: str, *, stream: bool) -> str:
        return "/chat/completions"

    def credentials(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def decoder(self) -> OpenAIChatDecoder:
        return OpenAIChatDecoder()

    def decode_reply(self, body: bytes) -> list[Record]:
        return reply.decode_reply(body)

    def inspect_reply(self, body: bytes) -> StreamFailed | Usage | None:
        return reply.inspect_reply(body)

    def needs(self, asked: Request) -> frozenset[str]:
        return request.needs(asked)

    def continued(self, asked: Request, text: str) -> Request:
        return request.continued(asked, text) if text else asked

    def decode_error(self, body: bytes, status: int, retry_after: str | None = None) -> StreamFailed:
        return reply.decode_error(body, status, retry_after)

    def encoder(self, source: Source, request: Request | None = None) -> OpenAIChatEncoder:
        return OpenAIChatEncoder(source, include_usage=request is not None and request.include_usage)

    def encode_reply(self, source: Source, events: Iterable[Event]) -> bytes:
        return reply.encode_reply(source, events)

    def encode_error(self, failure: StreamFailed | StreamCancelled) -> bytes:
        return msgspec.json.encode({"error": error_json(failure)})
