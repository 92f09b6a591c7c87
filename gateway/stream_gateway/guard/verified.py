"""What has been verified lately: a credential that comes again costs one hash and one look."""

import collections
import hashlib
import math
from typing import Final

from stream_gateway.guard.principal import Principal

MAX_ENTRIES: Final = 4_096
"""Of some 300 bytes each. The one that was used longest ago makes room."""

MAX_AGE: Final = 60.0
"""Seconds after which a credential is verified anew: what was withdrawn elsewhere (a JWT's key) is soon noticed."""


class Verified:
    """A bounded table of credentials, by digest: what it holds is worth nothing to whoever sees it."""

    def __init__(self) -> None:
        self._entries: collections.OrderedDict[bytes, tuple[Principal, float]] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes, now: float) -> Principal | None:
        """Whose credential it is, if that was verified lately; `now` in Unix time."""
        entry = self._entries.get(digest)
        if entry is None or now >= entry[1]:
            return None
        self._entries.move_to_end(digest)
        return entry[0]

    def had(self, digest: bytes) -> bool:
        """Whether it was good once, lately or not: then it is no guess."""
        return digest in self._entries

    def drop(self, digest: bytes) -> None:
        """It is not good any more."""
        self._entries.pop(digest, None)

    def put(self, digest: bytes, principal: Principal, now: float) -> None:
        """Remember whose it is."""
        self._entries[digest] = principal, min(principal.expires, now + MAX_AGE)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)

    def expire(self) -> None:
        """Have all verified anew. That they were good once stays known: nobody has guessed them."""
        for digest, (principal, _) in self._entries.items():
            self._entries[digest] = principal, -math.inf


def digest_of(credential: str) -> bytes:
    """What a credential is found by."""
    return hashlib.sha256(credential.encode()).digest()
