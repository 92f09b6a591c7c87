"""Anthropic messages: named events that build numbered content blocks, from `message_start` to `message_stop`.

What the documentation does not say loudly:

- the name of an event is the `type` of its JSON, and SDKs skip events without a name;
- `ping` may come anywhere; kinds of events, blocks and deltas that nobody knows yet have to be skipped;
- `message_delta` has totals, not differences: the last one counts, also for input tokens where it names them;
- `input_tokens` leaves out what came from the cache or went there: all input is the sum of three;
- an error in mid-stream is `event: error`, and nothing follows it; without `message_stop` an answer is no whole one.
"""

from stream_protocols.dialects.anthropic.decoder import AnthropicDecoder
from stream_protocols.dialects.anthropic.dialect import Anthropic
from stream_protocols.dialects.anthropic.encoder import AnthropicEncoder
from stream_protocols.dialects.anthropic.request import NAME

__all__ = ["NAME", "Anthropic", "AnthropicDecoder", "AnthropicEncoder"]
