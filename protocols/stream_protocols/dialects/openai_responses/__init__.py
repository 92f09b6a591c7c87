"""OpenAI Responses: named events, numbered from 0, and a response that is told whole when it has ended.

What the documentation does not say loudly, and this package relies on or does:

- nothing like `[DONE]` ends a stream; `response.completed`, `.incomplete` or `.failed` does, and less is a truncation;
- an `error` event has its fields at the top level by the specification, and in a member `error` on the wire. We read
  both and write both: SDKs raise on the second only. `response.failed` follows ours;
- items may stream side by side, each under its `output_index`; tool calls do so here when a provider mixes them;
- servers that are compatible tell a text only in its `.done` event sometimes, or in `response.completed`.
"""

from stream_protocols.dialects.openai_responses.decoder import OpenAIResponsesDecoder
from stream_protocols.dialects.openai_responses.dialect import OpenAIResponses
from stream_protocols.dialects.openai_responses.encoder import OpenAIResponsesEncoder
from stream_protocols.dialects.openai_responses.reply import decode_reply, encode_reply
from stream_protocols.dialects.openai_responses.request import NAME, parse_request

__all__ = [
    "NAME",
    "OpenAIResponses",
    "OpenAIResponsesDecoder",
    "OpenAIResponsesEncoder",
    "decode_reply",
    "encode_reply",
    "parse_request",
]
