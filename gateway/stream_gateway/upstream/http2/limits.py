"""What one HTTP/2 connection to a provider may cost us. Each limit names its threat."""

from typing import Final

STREAM_WINDOW: Final = 262_144
"""Bytes of one response that may be under way or wait for a paused sink: memory per stream, against speed on long
lines. It is opened again only by what the sink has taken."""

CONNECTION_WINDOW: Final = 16_777_216
"""Bytes of all responses that may be under way. It is opened by what has *arrived*, so a paused stream cannot starve
its neighbours; what waits for it in memory is bounded by its own window."""

MAX_FRAME: Final = 16_384
"""Bytes of a frame's payload, the protocol's own default: a frame is handled when it is whole."""

MAX_HEAD: Final = 65_536
"""Bytes of a header block, compressed or not: CONTINUATION frames could go on for ever (CVE-2024-27316), and a small
block can stand for a large list (CVE-2016-6581)."""

MAX_STREAMS: Final = 1_000
"""Requests on one connection, however many the provider allows: they share one TCP connection's losses."""

ASSUMED_STREAMS: Final = 100
"""What a provider is taken to allow until it has said so: the least that RFC 9113 §6.5.2 recommends."""

LAST_STREAM: Final = 2**31 - 1_000_001
"""A connection whose stream numbers come near their end is not used for more."""

MAX_UNSENT: Final = 65_536
"""Bytes that wait for a provider which does not read: then request bodies wait, and we do not read it either,
because our answers to what it says (acknowledgements, resets) would pile up."""

HEADER_TABLE: Final = 4_096
"""Bytes of our HPACK table: a provider may offer gigabytes, and every lookup walks through what we put in."""

CLOSED_STREAMS: Final = 4_096
"""Closed streams that are remembered, to tell a late frame from a wrong one. h2's own 65,536 cost megabytes."""

OVERHEAD_BURST: Final = 2_000.0
OVERHEAD_RATE: Final = 200.0
"""Frames that bring no data, at once and per second: each costs ten times what it costs to send (CVE-2019-9512,
-9515, -9518)."""

OVERHEAD_EARNED: Final = 4.0
"""Such frames that each request, and each frame of its body, entitles a provider to."""

PING_AFTER: Final = 30.0
"""Seconds of silence after which a connection is asked whether it is still there, if a request depends on that."""

PING_TIMEOUT: Final = 5.0
"""Seconds in which it must answer."""
