"""The dialect as one object."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import msgspec

from stream_protocols.conversation import Conversation
from stream_protocols.dialects.base import Dialect, Source
from stream_protocols.dialects.openai_chat.encoder import error_json
from stream_protocols.dialects.openai_chat.reply import decode_error
from stream_protocols.dialects.openai_responses import reading, reply, request, writing
from stream_protocols.dialects.openai_responses.decoder import OpenAIResponsesDecoder
from stream_protocols.dialects.openai_responses.encoder import OpenAIResponsesEncoder
from stream_protocols.events import Event, Record, StreamCancelled, StreamFailed
from stream_protocols.request import Request


class OpenAIResponses(Dialect):
    """OpenAI's Responses API, and all that is compatible with it. Its errors are those of the chat completions."""

    name = request.NAME
    params: ClassVar[Mapping[str, str]] = {
        "messages": "input",
        "reasoning_effort": "reasoning.effort",
        "response_format": "text.format",
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

    def echo(self, asked: Request) -> bytes:
        return request.echo(asked)

    def path(self, model: str, *, stream: bool) -> str:
        return "/responses"

    def credentials(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def decoder(self) -> OpenAIResponsesDecoder:
        return OpenAIResponsesDecoder()

    def decode_reply(self, body: bytes) -> list[Record]:
        return reply.decode_reply(body)

    def decode_error(self, body: bytes, status: int, retry_after: str | None = None) -> StreamFailed:
        return decode_error(body, status, retry_after)

    def encoder(self, source: Source, request: Request | None = None) -> OpenAIResponsesEncoder:
        return OpenAIResponsesEncoder(source)

    def encode_reply(self, source: Source, events: Iterable[Event]) -> bytes:
        return reply.encode_reply(source, events)

    def encode_error(self, failure: StreamFailed | StreamCancelled) -> bytes:
        return msgspec.json.encode({"error": error_json(failure)})
