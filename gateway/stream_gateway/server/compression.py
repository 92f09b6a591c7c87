"""Compression of responses: which codings a client takes, which of them it gets, and what that may cost.

It stands between the routes and whatever HTTP version carries them: a route sees an exchange like any other.
"""

import contextlib
from collections.abc import Awaitable, Callable
from functools import lru_cache
from itertools import takewhile
from typing import Final

import structlog

from stream_gateway.config import CompressionSettings, ConfigError
from stream_gateway.server.compressed import CompressedExchange
from stream_gateway.server.exchange import Exchange
from stream_protocols.encodings import Budget, Codec, Tuning, load_codec
from stream_protocols.encodings.dictionary import available
from stream_protocols.errors import CodecError, NotAcceptable
from stream_protocols.negotiate import rank_encodings

_log = structlog.get_logger()

REMEMBERED: Final = 128
"""Characters of an Accept-Encoding that is remembered with its ranking: clients send a handful of them, all short."""

_remembered = lru_cache(maxsize=256)(rank_encodings)


def load_codecs(settings: CompressionSettings) -> list[Codec]:
    """The codecs that a configuration names, in its order; none if it wants no compression.

    Raises:
        ConfigError: one cannot be used.
    """
    tuning = Tuning(window_bits=settings.window_bits, gzip_level=settings.gzip_level, br_level=settings.br_level)
    codecs: dict[str, Codec] = {}
    for index, name in enumerate(settings.codings if settings.enabled else ()):
        try:
            codec = load_codec(name, tuning)
        except CodecError as error:
            raise ConfigError(f"key `compression.codings[{index}]`: {error.message}.") from error
        if codec.name in codecs:
            raise ConfigError(f"key `compression.codings[{index}]`: the coding `{codec.name}` is there already.")
        codecs[codec.name] = codec
    return list(codecs.values())


class Compression:
    """Has exchanges answered by `handler`, compressed.

    Args:
        codecs: best first.

    Attributes:
        budget: of live compressors.
        minimum_bytes: whole replies below this size are left as they are.
        vary: what a response depends on.
    """

    def __init__(
        self, settings: CompressionSettings, codecs: list[Codec], handler: Callable[[Exchange], Awaitable[None]]
    ) -> None:
        self.budget = Budget(settings.budget_bytes)
        self.minimum_bytes = settings.minimum_bytes
        self.vary = "Accept-Encoding"
        if any(codec.dictionary for codec in codecs):
            self.vary += ", Available-Dictionary"
        self._codecs = {codec.name: codec for codec in codecs}
        self._handler = handler

    async def handle(self, exchange: Exchange) -> None:
        """Have one exchange answered; afterwards its compressor is gone."""
        ranked = self._rank(exchange)
        if not ranked:
            known = ", ".join(self._codecs)
            error = NotAcceptable(f"Accept-Encoding allows nothing that is known here; allow identity, or {known}.")
            with contextlib.suppress(OSError):  # the client is gone
                await exchange.respond_json(error.status, error.to_json(), [("Vary", self.vary)])
            return
        codecs = [self._codecs[name] for name in takewhile(lambda name: name != "identity", ranked)]
        with CompressedExchange(exchange, self, codecs, required="identity" not in ranked) as compressed:
            await self._handler(compressed)

    def _rank(self, exchange: Exchange) -> list[str]:
        header = exchange.headers.get("accept-encoding")
        dictionary = available(exchange.headers.get("available-dictionary"))
        offers = tuple(name for name, codec in self._codecs.items() if codec.dictionary in (b"", dictionary))
        rank = _remembered if header is None or len(header) <= REMEMBERED else rank_encodings
        return rank(header, offers)

    def withdraw(self, codec: Codec, error: Exception) -> None:
        """Offer a codec to nobody any more: it would fail again, and its clients would come back for ever."""
        if self._codecs.pop(codec.name, None) is not None:
            _log.error(
                "codec_failed",
                coding=codec.name,
                error=f"{type(error).__name__}: {error}",
                effect="it is not offered any more until the gateway is started again",
            )
