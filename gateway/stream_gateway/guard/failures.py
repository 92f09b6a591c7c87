"""Failed logins, by address: who guesses is made to wait."""

import collections
import math
from typing import Final

from stream_gateway.guard.addresses import network_of
from stream_protocols.errors import TooManyRequests

MAX_ENTRIES: Final = 8_192
"""Networks that are remembered: an attacker with more of them is slowed down less, and memory stays bounded."""


class FailedLogins:
    """A bucket of attempts for each network: each failure takes one, a minute brings `per_minute` back.

    While it is empty no credential of that network is looked at, a right one neither: nobody learns whether a guess
    was right. What was verified before is not affected.
    """

    def __init__(self, per_minute: int) -> None:
        self._burst = float(per_minute)
        self._rate = per_minute / 60
        self._entries: collections.OrderedDict[str, tuple[float, float]] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, address: str, now: float) -> None:
        """Raise TooManyRequests if an address has to wait; `now` in seconds of any clock."""
        if not self._entries:
            return
        left = self._left(network_of(address), now)
        if left < 1:
            wait = math.ceil((1 - left) / self._rate)
            raise TooManyRequests(f"Too many failed logins from your address; try again in {wait} s.", retry_after=wait)

    def count(self, address: str, now: float) -> None:
        """Take note of a failure."""
        network = network_of(address)
        self._entries[network] = self._left(network, now) - 1, now
        self._entries.move_to_end(network)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)

    def _left(self, network: str, now: float) -> float:
        left, seen = self._entries.get(network, (self._burst, now))
        return min(self._burst, left + (now - seen) * self._rate)
