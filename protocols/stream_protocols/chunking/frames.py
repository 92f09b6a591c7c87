"""A vendor's frame apart from its text, so that texts can be merged or divided in the vendor's own words.

What it says beside the text (token probabilities, filter results, who speaks) must not get lost: only frames that say
the same beside their texts can be said as one.
"""

import json
import re
from typing import Final, NamedTuple

import msgspec

from stream_protocols.events import COVERED

_NOISE: Final = re.compile(rb'"(?:obfuscation|p)":"[^"]*"|"created":\d+')
"""What differs from frame to frame and says nothing: padding against eavesdroppers, and the time."""

_encode = msgspec.json.encode


class Shell(NamedTuple):
    """What is around the text of a frame; `said` is that without noise."""

    before: bytes
    after: bytes
    said: bytes

    def around(self, text: str) -> bytes:
        """The frame that says another text."""
        return self.before + _encode(text) + self.after


def shell(text: str, frame: bytes | None) -> Shell | None:
    """The shell of a frame that says a text; None: that cannot be told apart in it, or it has no bytes of its own."""
    if not frame or frame == COVERED:
        return None
    quoted = _encode(text)
    if quoted not in frame:
        quoted = json.dumps(text).encode()  # as Python's own encoder writes it, with escapes for all but ASCII
    before, found, after = frame.partition(quoted)
    if not found or quoted in after:
        return None
    return Shell(before, after, _NOISE.sub(b"", before) + b"\0" + _NOISE.sub(b"", after))
