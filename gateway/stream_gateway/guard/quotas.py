"""Quotas: how much of what each principal may have, in a minute and at once.

Requests and tokens a minute are buckets that hold a minute's worth and fill evenly. A generation takes what its request
is estimated at when it begins, and the rest when it has ended and what it has cost is known: a bucket may owe, and
nothing begins until it no longer does.
"""

import collections
import math
import time
from collections.abc import Callable
from typing import Final

from stream_gateway.config import QuotaSettings
from stream_gateway.guard.principal import Principal
from stream_protocols.errors import TooManyRequests

MAX_ACCOUNTS: Final = 8_192
"""Accounts that are kept. Those with a stream or socket stay in any case, and those are limited elsewhere."""

CHARACTERS_PER_TOKEN: Final = 4
"""The estimate where nobody has counted: of English text, as vendors themselves put it."""

_UNLIMITED: Final = QuotaSettings()
_WINDOW: Final = 60
_TRIES: Final = 8


class Bucket:
    """A quota for a minute."""

    __slots__ = ("_left", "_seen", "size")

    def __init__(self, size: int, now: float) -> None:
        self.size = size
        self._left = float(size)
        self._seen = now

    def left(self, now: float) -> float:
        """What may be taken; negative when it owes."""
        self._left = min(float(self.size), self._left + (now - self._seen) * self.size / _WINDOW)
        self._seen = now
        return self._left

    def take(self, amount: float, now: float) -> None:
        """Take some, whether there is some or not; give back with a negative amount."""
        self._left = min(float(self.size), self.left(now) - amount)

    def resize(self, size: int, now: float) -> None:
        """From now on it holds so much, and is as full as it was: a change is no present."""
        self._left = self.left(now) * size / self.size
        self.size = size

    def wait(self, amount: float, now: float) -> int:
        """Whole seconds until there will be as much, 0 when there is. More than it holds is never there."""
        missing = min(amount, self.size) - self.left(now)
        return max(0, math.ceil(missing * _WINDOW / self.size))


class Account:
    """What one principal has used and is using. It stays the same one when their quota changes: bills point to it."""

    __slots__ = ("_buckets", "_policy", "quota", "requests", "sockets", "streams", "tokens")

    def __init__(self, quota: QuotaSettings, now: float) -> None:
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.streams = 0
        self.sockets = 0
        self.change(quota, now)

    def change(self, quota: QuotaSettings, now: float) -> None:
        """From now on they may have so much."""
        self.quota = quota
        self.requests = _resized(self.requests, quota.requests_per_minute, now)
        self.tokens = _resized(self.tokens, quota.tokens_per_minute, now)
        named = (("requests", self.requests), ("tokens", self.tokens))
        self._buckets = [(name, bucket) for name, bucket in named if bucket is not None]
        self._policy = ", ".join(f'"{name}";q={bucket.size};w={_WINDOW}' for name, bucket in self._buckets)

    def idle(self) -> bool:
        """Whether nothing of theirs goes on."""
        return not self.streams and not self.sockets

    def headers(self, now: float) -> list[tuple[str, str]]:
        """What they have left (draft-ietf-httpapi-ratelimit-headers)."""
        if not self._buckets:
            return []
        left = ", ".join(
            f'"{name}";r={max(0, math.floor(bucket.left(now)))};t={bucket.wait(bucket.size, now)}'
            for name, bucket in self._buckets
        )
        return [("RateLimit-Policy", self._policy), ("RateLimit", left)]


class Bill:
    """What one generation costs: a place among the streams at once, and tokens."""

    __slots__ = ("_account", "_clock", "_reserved")

    def __init__(self, account: Account | None, reserved: int, clock: Callable[[], float]) -> None:
        self._account = account
        self._reserved = reserved
        self._clock = clock

    @property
    def counts_tokens(self) -> bool:
        """Whether `settle` makes a difference with tokens."""
        return self._account is not None and self._account.tokens is not None

    def settle(self, tokens: int | None, characters: int = 0) -> None:
        """The generation has ended. Only the first call counts.

        Args:
            tokens: what it has cost, None when nobody has counted.
            characters: how much it has said; 0: it has come to nothing, and costs nothing.
        """
        account, self._account = self._account, None
        if account is None:
            return
        account.streams -= 1
        if account.tokens is not None:
            if tokens is None:
                tokens = self._reserved + math.ceil(characters / CHARACTERS_PER_TOKEN) if characters else 0
            account.tokens.take(tokens - self._reserved, self._clock())


class Quotas:
    """All accounts.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: collections.OrderedDict[str, Account] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def request(self, principal: Principal) -> tuple[list[tuple[str, str]], TooManyRequests | None]:
        """Count a request: headers for its answer, and what it has to be refused with, if it has to be."""
        account = self._account(principal)
        if account is None:
            return [], None
        now, bucket, refusal = self._clock(), account.requests, None
        if bucket is not None:
            wait = bucket.wait(1, now)
            if wait:
                refusal = _over("requests a minute", bucket.size, wait)
            else:
                bucket.take(1, now)
        return account.headers(now), refusal

    def generation(self, principal: Principal, size: int) -> Bill:
        """Begin a generation; its bill has to be settled.

        Args:
            size: bytes of the request, from which its tokens are estimated.

        Raises:
            TooManyRequests: they have as many already, or have used up their tokens.
        """
        account = self._account(principal)
        if account is None:
            return Bill(None, 0, self._clock)
        quota, now, reserved = account.quota, self._clock(), 0
        if quota.streams is not None and account.streams >= quota.streams:
            raise _over("streams at once", quota.streams, 1)
        if account.tokens is not None:
            reserved = math.ceil(size / CHARACTERS_PER_TOKEN)
            if wait := account.tokens.wait(max(1, reserved), now):
                raise _over("tokens a minute", account.tokens.size, wait)
            account.tokens.take(reserved, now)
        account.streams += 1
        return Bill(account, reserved, self._clock)

    def check_socket(self, principal: Principal) -> None:
        """Raise TooManyRequests when they have as many sockets as they may."""
        account = self._account(principal)
        if account is not None and account.quota.sockets is not None and account.sockets >= account.quota.sockets:
            raise _over("sockets at once", account.quota.sockets, 1)

    def socket(self, principal: Principal) -> Callable[[], None]:
        """Count a socket; what this returns counts it out again, and has to be called once.

        Raises:
            TooManyRequests: see `check_socket`.
        """
        self.check_socket(principal)
        account = self._account(principal)
        if account is None:
            return _nothing
        account.sockets += 1

        def leave() -> None:
            account.sockets -= 1

        return leave

    def _account(self, principal: Principal) -> Account | None:
        if principal.quota == _UNLIMITED:
            return None
        key = principal.account or principal.id
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(principal.quota, self._clock())
            self._make_room()
            return account
        if account.quota != principal.quota:
            account.change(principal.quota, self._clock())
        self._accounts.move_to_end(key)
        return account

    def _make_room(self) -> None:
        """Forget the idle ones that were used longest ago."""
        for _ in range(_TRIES):
            if len(self._accounts) <= MAX_ACCOUNTS:
                return
            key, account = next(iter(self._accounts.items()))
            if account.idle():
                del self._accounts[key]
            else:
                self._accounts.move_to_end(key)


def _resized(bucket: Bucket | None, size: int | None, now: float) -> Bucket | None:
    if size is None:
        return None
    if bucket is None:
        return Bucket(size, now)
    bucket.resize(size, now)
    return bucket


def _over(what: str, limit: int, wait: int) -> TooManyRequests:
    return TooManyRequests(f"You have {limit} {what}, and that is the limit; try again in {wait} s.", retry_after=wait)


def _nothing() -> None:
    """There is no account."""
