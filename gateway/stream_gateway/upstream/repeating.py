"""Which requests may be sent once more, on another connection, after the first one came to nothing."""

from typing import Final

import httpx

REPEATABLE: Final = "repeatable"
"""The key in `httpx.Request.extensions` under which a request says that processing it twice would do no harm."""

STALE: Final = 3.0
"""Seconds in which a connection that was closed before a request came has said so: a round trip, with a lost packet in
it. One that breaks later has broken under the request, and that is the provider's failure."""

_IDEMPOTENT: Final = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
"""RFC 9110 §9.2.2."""


class SendAgain(httpx.ReadError):
    """The request came to nothing, and HTTP allows to send it once more: the provider has said that it did not
    process it (RFC 9113 §8.7), or processing it twice would do no harm (RFC 9110 §9.2.2)."""


def is_repeatable(request: httpx.Request) -> bool:
    """Whether processing a request twice would do no harm (RFC 9110 §9.2.2), as its method or its sender says."""
    said: bool = request.extensions.get(REPEATABLE, False)
    return said or request.method in _IDEMPOTENT or "idempotency-key" in request.headers
