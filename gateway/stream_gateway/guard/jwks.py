"""A JWK set that lives elsewhere: fetched, kept, and fetched again when keys rotate."""

import math
import ssl
from collections.abc import Callable
from typing import Final

import httpx
import structlog
import trio

from stream_gateway.config import JwtSettings
from stream_gateway.guard.jwk import KeySet, read_set

_log = structlog.get_logger()

MAX_BYTES: Final = 262_144
"""Of a set; providers' have a few thousand."""

MIN_INTERVAL: Final = 10.0
"""Seconds between two fetches, however many unknown keys strangers name."""

MAX_STALE: Final = 86_400.0
"""Seconds for which keys are believed that cannot be fetched again."""


class RemoteKeys:
    """The keys at a URL. `run` keeps them fresh.

    Attributes:
        keys: those of the last fetch that succeeded; none at first.

    Args:
        changed: is called when keys have gone that were good before.
    """

    def __init__(self, url: str, settings: JwtSettings, context: ssl.SSLContext, changed: Callable[[], None]) -> None:
        self.keys = KeySet()
        self._url = url
        self._settings = settings
        self._context = context
        self._changed = changed
        self._wanted = trio.Event()
        self._fetched = trio.Event()
        self._succeeded = -math.inf
        self._tried = -math.inf

    def may_bring(self, kid: str | None) -> bool:
        """Whether a key that is not known may be there after a fetch, which is then under way or about to be."""
        if kid in self.keys.names or trio.current_time() < self._tried + MIN_INTERVAL:
            return False
        self._wanted.set()
        return True

    async def settled(self) -> None:
        """Wait for the fetch that `may_bring` has promised, however it ends; it has a deadline of its own."""
        with trio.move_on_after(2 * self._settings.fetch_timeout):
            await self._fetched.wait()

    async def run(self) -> None:
        """Fetch when it is time to, or when somebody needs to, until cancelled."""
        while True:
            await self._try()
            self._wanted = trio.Event()
            self._fetched.set()
            self._fetched = trio.Event()
            good = self._succeeded == self._tried
            with trio.move_on_at(self._tried + (self._settings.refresh if good else MIN_INTERVAL)):
                await self._wanted.wait()

    async def _try(self) -> None:
        try:
            with trio.fail_after(self._settings.fetch_timeout):
                keys = read_set(await self._fetch())
        except (httpx.HTTPError, OSError, ValueError, trio.TooSlowError) as error:
            _log.warning("jwks_failed", url=self._url, error=str(error) or type(error).__name__)
            keys = None
        now = self._tried = trio.current_time()
        if keys is None and now < self._succeeded + MAX_STALE:
            return
        gone = self.keys.names - (frozenset() if keys is None else keys.names)
        if keys is not None:
            self._succeeded = now
        self.keys = keys or KeySet()
        if gone:
            self._changed()

    async def _fetch(self) -> bytes:
        """The set's bytes, on a connection of its own: cancelled ones would spoil a pool of httpx's."""
        body = b""
        async with (
            httpx.AsyncClient(verify=self._context, timeout=None) as client,  # the caller has the deadline
            client.stream("GET", self._url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise ValueError(f"the answer was {response.status_code}")
            # Read to the end or the deadline, but not kept: httpx's generators cannot be left half-way.
            async for piece in response.aiter_bytes():
                body += piece[: MAX_BYTES + 1 - len(body)]
        if len(body) > MAX_BYTES:
            raise ValueError(f"the answer is larger than {MAX_BYTES} bytes")
        return body
