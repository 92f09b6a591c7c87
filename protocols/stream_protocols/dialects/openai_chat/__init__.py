"""OpenAI chat completions: unnamed `data:` frames of `chat.completion.chunk`, then `data: [DONE]`.

What the documentation does not say loudly, and many servers rely on:

- an error in mid-stream is `data: {"error": {…}}`, and no `[DONE]` follows;
- with `stream_options.include_usage` one more chunk with `choices: []` carries the usage, before `[DONE]`;
- some servers leave `[DONE]` out: then a finish reason for every choice, and a body that ended properly,
  is a clean end; anything less is a truncation.
"""

from stream_protocols.dialects.openai_chat.decoder import OpenAIChatDecoder
from stream_protocols.dialects.openai_chat.dialect import OpenAIChat
from stream_protocols.dialects.openai_chat.encoder import OpenAIChatEncoder
from stream_protocols.dialects.openai_chat.reply import decode_error, decode_reply, encode_reply, inspect_reply
from stream_protocols.dialects.openai_chat.request import NAME, parse_request

__all__ = [
    "NAME",
    "OpenAIChat",
    "OpenAIChatDecoder",
    "OpenAIChatEncoder",
    "decode_error",
    "decode_reply",
    "encode_reply",
    "inspect_reply",
    "parse_request",
]
