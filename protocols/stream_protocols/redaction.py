"""Secrets in text that people will read: whoever writes a log or an error may pass it through here once more.

Nothing of ours puts a credential there. This is for what others say: an exception of a library, a URL, a provider.
"""

import re
from typing import Final

REDACTED: Final = "[redacted]"

_SECRET: Final = re.compile(
    r"""
    (?P<kept>
        (?:[?&;](?:token|key|api_?key|access_token)=)              # in a URL
      | (?:\b(?:bearer|basic)\s+)                                    # in an Authorization header
      | (?:\b(?:x-api-key|x-goog-api-key|api[_-]?key)["']?\s*[:=]\s*["']?)
    )
    [^\s&;,"'<>\\]+
    | \bsg[kt]_[A-Za-z0-9_.-]{8,}                                    # keys and stream tokens of ours
    | \bstream-gateway\.token\.[A-Za-z0-9_-]+                       # a credential among subprotocols
    | \bey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*         # a JWT
    | \b(?:sk-|AIza)[A-Za-z0-9_-]{12,}                               # providers' keys
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redact(text: str) -> str:
    """The text without what looks like a credential."""
    return _SECRET.sub(lambda match: (match["kept"] or "") + REDACTED, text)
