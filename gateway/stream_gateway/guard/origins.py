"""Browser origins: which pages may call the gateway (Fetch standard, CORS)."""

import re
from collections.abc import Iterable
from typing import Final

EXPOSED: Final = "Stream-Id, Stream-Keepalive, Retry-After, RateLimit, RateLimit-Policy"
"""Response headers that a page may read beside the safelisted ones."""

MAX_AGE: Final = "600"
"""Seconds for which a browser may remember a preflight."""


_ADDRESS: Final = re.compile(r"(?:localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.IGNORECASE)
"""A Host that is an address, which nobody else can make lead to us."""


class OriginPolicy:
    """An allow-list of origins.

    Args:
        origins: `https://app.example`, `http://localhost:*` (any port, or none), or `*` (any origin).
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._any = False
        patterns = []
        for origin in origins:
            if origin == "*":
                self._any = True
            elif origin.endswith(":*"):
                patterns.append(re.escape(origin[:-2]) + r"(?::\d{1,5})?")
            else:
                patterns.append(re.escape(origin))
        self._allowed = re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE)

    def allows(self, origin: str, host: str | None) -> bool:
        """Whether a page of `origin` may call us; one that came from us, at the address `host`, always may."""
        if self._any or self._allowed.fullmatch(origin):
            return True
        if host is None or origin.partition("://")[2].lower() != host.lower():
            return False
        # By name, the page may be a stranger's whose name now leads to us (DNS rebinding): it has to be listed.
        return _ADDRESS.fullmatch(host) is not None
