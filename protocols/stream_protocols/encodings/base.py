"""What every content coding offers. Custom ones subclass `Codec` (docs/encodings.md)."""

import abc
from typing import ClassVar, Protocol


class Compressor(Protocol):
    """Compresses one response. It is used by one task at a time, and never again after it has raised."""

    def feed(self, data: bytes) -> bytes:
        """Compress a piece, which is not empty.

        Returns:
            Bytes, never none: with all that was returned before, the client can decode everything that was fed.
        """

    def finish(self) -> bytes:
        """What ends the body, possibly nothing. Called once, after the last piece."""


class Codec(abc.ABC):
    """A content coding.

    Attributes:
        name: its token in Accept-Encoding and Content-Encoding, in lower case (RFC 9110 §8.4.1).
        costs: bytes of memory that a live compressor takes, by *grade*: grade 0 is the one wanted, each further one is
            cheaper, for when there are many.
        dictionary: SHA-256 of the dictionary that clients must have to decode it (RFC 9842); empty: none.
    """

    name: str
    costs: tuple[int, ...]
    dictionary: ClassVar[bytes] = b""

    @abc.abstractmethod
    def compressor(self, grade: int) -> Compressor:
        """A compressor of that grade, for one response."""
