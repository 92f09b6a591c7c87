"""Dialects: the JSON shapes of vendors, and our own (`native`).

A vendor's dialect is a package with one `Dialect`: requests read, written and patched, answers decoded and encoded,
errors both ways. `registry` has all of them. Between a client and a provider of the same dialect the client's own bytes
go through; between others a request goes by way of a `Conversation`, and an answer by way of events.
"""

from stream_protocols.dialects.base import Decoder, Dialect, Encoder, Frame, Naming, SequenceEncoder, Source

__all__ = ["Decoder", "Dialect", "Encoder", "Frame", "Naming", "SequenceEncoder", "Source"]
