"""Dialects: the JSON shapes of vendors, and our own (`native`).

A dialect module offers, as far as its vendor has the thing:

- a decoder: `feed(body bytes) -> records`, `close() -> records`; it never raises on what a provider sends:
  a broken stream ends in a `StreamFailed` record;
- an encoder: `encode(event) -> bytes | None`, one JSON payload for one event, or nothing;
- `decode_reply(body)` and `encode_reply(events)` for answers that are not streamed;
- `encode_error(...)`: the vendor's error object.
"""

from stream_protocols.dialects.base import Decoder, Encoder, Source

__all__ = ["Decoder", "Encoder", "Source"]
