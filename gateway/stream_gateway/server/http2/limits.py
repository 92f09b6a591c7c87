"""What one HTTP/2 connection may ask of us, beyond `limits` in the configuration. Each limit names its threat.

A well-behaved client never meets any of them. Whoever does is told ENHANCE_YOUR_CALM (RFC 9113 §7), and is closed.
"""

from typing import Final

import msgspec

STREAM_WINDOW: Final = 262_144
"""Bytes of a request's body that may wait to be read: memory per stream, against speed on long lines."""

CONNECTION_WINDOW: Final = 1_048_576
"""The same for a connection: a client that opens many uploads at once cannot fill more."""

MAX_FRAME: Final = 16_384
"""Bytes of a frame's payload, the protocol's own default. h2 checks it only once the whole frame is in memory,
so a frame that says it has 16 MiB would cost that much; the guard refuses it by its head."""

HEADER_SLACK: Final = 2
"""A header list up to so many times `limits.header_bytes` is still decoded, so that it can be answered 431.
Beyond, it is a decompression bomb (CVE-2016-6581)."""

MAX_CONTINUATIONS: Final = 16
"""CONTINUATION frames of one header block: endless ones fill memory before a request exists (CVE-2024-27316)."""

MAX_SETTINGS: Final = 32
"""Entries of one SETTINGS frame: unknown ones are kept by h2 for as long as the connection lives."""

HEADER_TABLE: Final = 4_096
"""Bytes of our HPACK table: a client may offer gigabytes, and every lookup walks through what we put in."""

CLOSED_STREAMS: Final = 1_024
"""Closed streams that are remembered, to tell a late frame from a wrong one. h2's own 65,536 cost megabytes."""

MAX_ANSWERS: Final = 65_536
"""Bytes of answers (acknowledgements, resets) that wait for a client which sends and does not read: then we stop
reading it."""

TURN_BYTES: Final = 65_536
"""Bytes that a turn may collect before they are sent: a turn must not become a buffer."""

SLICE: Final = 32
"""Frames handled in one run: after so many, the loop's other tasks have their turn."""

BLOCK_WEIGHT: Final = 8
"""A header block counts as so many frames: 30 bytes of references to a full table cost a millisecond to check."""

FIELD_OVERHEAD: Final = 32
"""Bytes that a field counts beyond its name and value, in SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 §6.5.2)."""

SMALL_DATA: Final = 128
"""A DATA frame with less, and no end, costs more to handle than it brings; a window that admits less games us."""

PADDING: Final = 256
"""Bytes that a padded frame may have and bring nothing (RFC 9113 §6.1)."""


class Rate(msgspec.Struct, frozen=True):
    """A token bucket: so many at once, so many more each second."""

    burst: float
    per_second: float


PINGS: Final = Rate(200, 100)
"""Each PING must be answered: a flood makes us write as much as it sends (CVE-2019-9512)."""

SETTINGS: Final = Rate(32, 0.1)
"""Each SETTINGS must be acknowledged and applied to all streams (CVE-2019-9515)."""

EMPTY_DATA: Final = Rate(100, 10)
"""DATA without data and without an end passes every flow control (CVE-2019-9518)."""

TINY_DATA: Final = Rate(4_000, 2_000)
"""Bodies in crumbs. WebSocket frames are small too, and a connection may carry many sockets."""

WINDOW_UPDATES: Final = Rate(2_000, 200)
"""Windows opened byte by byte make us send byte by byte (CVE-2019-9511, CVE-2019-9517). Each DATA frame that
no window has cut to less than `SMALL_DATA` earns `UPDATES_EARNED` more: honest clients answer data, nothing else."""

UPDATES_EARNED: Final = 2

LATE_HEADERS: Final = Rate(1_000, 500)
"""HEADERS on a stream that is known already: trailers, or frames for a stream that is over, each of which h2 answers
with a reset."""

LARGE_HEADS: Final = Rate(20, 1)
"""Header lists over the limit: answered with 431, but decompressing each costs milliseconds."""

IDLE_FRAMES: Final = Rate(1_000, 50)
"""PRIORITY and what we do not know: ignored, but not for nothing (CVE-2019-9513)."""

RESET_BURST: Final = 5.0
"""Seconds' worth of `limits.resets_per_second` that may come at once, besides one for every stream that may run: a
page with many streams is closed."""
