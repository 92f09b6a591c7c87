"""Memory of live compressors: with many, each gets a smaller one, and at last none, instead of a machine that swaps."""

from collections.abc import Sequence

import msgspec

from stream_protocols.encodings.base import Codec


class Grant(msgspec.Struct, frozen=True):
    """What a response may use."""

    codec: Codec
    grade: int

    @property
    def cost(self) -> int:
        """Bytes of memory."""
        return self.codec.costs[self.grade]


class Budget:
    """Counts what was granted, in bytes.

    Args:
        limit: what all compressors together may take. Up to half of it everybody gets what is wanted; beyond
            that the cheapest of the coding preferred, or of the next one that still fits.
    """

    def __init__(self, limit: int) -> None:
        self.used = 0
        self._limit = limit

    def take(self, codecs: Sequence[Codec]) -> Grant | None:
        """Grant one of `codecs`, which come best first; None when not even the cheapest fits. To be given back."""
        grant = self._choose(codecs)
        if grant is not None:
            self.used += grant.cost
        return grant

    def give_back(self, grant: Grant) -> None:
        """The compressor is gone."""
        self.used -= grant.cost

    def _choose(self, codecs: Sequence[Codec]) -> Grant | None:
        if codecs and self.used + codecs[0].costs[0] <= self._limit // 2:
            return Grant(codecs[0], 0)
        cheapest = (Grant(codec, len(codec.costs) - 1) for codec in codecs)
        return next((grant for grant in cheapest if self.used + grant.cost <= self._limit), None)
