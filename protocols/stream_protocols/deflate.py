"""permessage-deflate (RFC 7692): negotiation, packing of messages that we send, bounded inflating of those we get.

Two ways to send. *With context* each message is compressed against those before it on the same connection: most is
saved, and each connection pays for a window. *Without* (`server_no_context_takeover`) a message is the same bytes on
every connection, so it is compressed once and shared. Small windows are the default for both.

What clients send is always without context: commands are few, and an inflate window for each connection is not.
"""

import re
import zlib
from functools import cache
from typing import Final, Literal

import msgspec

from stream_protocols.websocket import Packer, frame

Mode = Literal["context", "shared", "off"]

NAME: Final = "permessage-deflate"
WINDOW_BITS: Final = 10
"""Of the windows we use when the client leaves it to us: 1 KiB holds several events' worth of envelope."""

MEMORY_LEVEL: Final = 3
"""zlib's memLevel for small windows: 14 KiB a compressor instead of 262 (measured, zlib 1.2.13)."""

THRESHOLD: Final = 64
"""Payloads below this many bytes are sent as they are: there is next to nothing to save."""

_TAIL: Final = b"\x00\x00\xff\xff"  # what Z_SYNC_FLUSH ends with, and the wire leaves out (RFC 7692 §7.2.1)
_MIN_BITS: Final = 9  # zlib cannot compress with a window of 8 bits, though the RFC allows it
_BITS: Final = re.compile("8|9|1[0-5]", re.ASCII)
_MAX_OFFERS: Final = 8  # a stranger's header: look at so many offers


class Deflate(msgspec.Struct, frozen=True):
    """Agreed parameters. `context`: whether messages from the server build on one another."""

    context: bool
    window_bits: int
    client_window_bits: int | None = None

    def header(self) -> str:
        """The value of Sec-WebSocket-Extensions that says so."""
        parts = [NAME, "client_no_context_takeover"]
        if not self.context:
            parts.append("server_no_context_takeover")
        parts.append(f"server_max_window_bits={self.window_bits}")
        if self.client_window_bits is not None:
            parts.append(f"client_max_window_bits={self.client_window_bits}")
        return "; ".join(parts)


def negotiate(header: str | None, mode: Mode) -> Deflate | None:
    """Answer a client's Sec-WebSocket-Extensions: the first offer that can be met, or None."""
    if header is None or mode == "off":
        return None
    for offer in header.split(",")[:_MAX_OFFERS]:
        agreed = _meet(offer, mode)
        if agreed is not None:
            return agreed
    return None


def _meet(offer: str, mode: Mode) -> Deflate | None:
    name, *parts = (part.strip() for part in offer.split(";"))
    if name.lower() != NAME:
        return None
    parameters: dict[str, str | None] = {}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key in parameters:
            return None
        parameters[key] = value.strip('"') if equals else None
    context = mode == "context" and "server_no_context_takeover" not in parameters
    client = parameters.get("client_max_window_bits", "absent")
    bits = _bits(parameters.get("server_max_window_bits", "15"))
    if not _known(parameters) or bits is None or bits < _MIN_BITS:
        return None
    # The client's window only bounds what it may do; we inflate whatever it chose within that.
    return Deflate(context, min(bits, WINDOW_BITS), _bits(client or "15") if client != "absent" else None)


def _known(parameters: dict[str, str | None]) -> bool:
    """Whether these are RFC 7692's four parameters, with the values they may have (§7.1)."""
    for key, value in parameters.items():
        if key in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return False
        elif key == "server_max_window_bits" or (key == "client_max_window_bits" and value is not None):
            if _bits(value) is None:
                return False
        elif key != "client_max_window_bits":
            return False
    return True


def _bits(text: str | None) -> int | None:
    return int(text) if text is not None and _BITS.fullmatch(text) else None


def _compressor(bits: int) -> "zlib._Compress":
    return zlib.compressobj(1, zlib.DEFLATED, -bits, MEMORY_LEVEL if bits <= WINDOW_BITS else zlib.DEF_MEM_LEVEL)


@cache
def shared_packer(bits: int) -> Packer:
    """Packs each message for itself: the same bytes for every connection with these parameters."""

    def pack(opcode: int, payload: bytes) -> bytes:
        if len(payload) < THRESHOLD:
            return frame(opcode, payload)
        compressor = _compressor(bits)
        data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        # A single message may well not shrink; then it is sent as it is.
        return frame(opcode, payload) if len(data) - 4 >= len(payload) else frame(opcode, data[:-4], True)

    return pack


def context_packer(bits: int) -> Packer:
    """Packs the messages of one connection, each against those before it: call it in the order of sending."""
    compressor: zlib._Compress | None = None  # made for the first message: many a socket never gets one

    def pack(opcode: int, payload: bytes) -> bytes:
        nonlocal compressor
        if len(payload) < THRESHOLD:
            return frame(opcode, payload)
        if compressor is None:
            compressor = _compressor(bits)
        data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return frame(opcode, data[:-4], True)

    return pack


class TooLarge(Exception):
    """A message that inflates beyond its bound."""


class Inflater:
    """Inflates the messages of one client, each for itself, and never beyond `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = 0
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bytes:
        """More of a message.

        Raises:
            TooLarge: it inflates to more than `max_bytes`.
            zlib.error: it is no deflate stream.
        """
        if self._inflate is None:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            self._left = self._max_bytes
        parts = []
        while True:
            # One byte over the bound is asked for: it is how going over it is noticed.
            plain = self._inflate.decompress(data, self._left + 1)
            self._left -= len(plain)
            if self._left < 0 or self._inflate.unconsumed_tail:
                raise TooLarge
            parts.append(plain)
            if not self._inflate.eof:
                return b"".join(parts)
            # The block was marked as the last one, and yet more may follow (RFC 7692 §7.2.3.4).
            data = self._inflate.unused_data
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def finish(self) -> bytes:
        """The rest of the message; the next one begins anew."""
        try:
            return self.feed(_TAIL)
        finally:
            self._inflate = None
