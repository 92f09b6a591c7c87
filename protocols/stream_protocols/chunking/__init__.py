"""Chunking: how much of what waits for a client leaves as one chunk.

It happens on the reading side: the log keeps the finest grain, and each client has a chunker of its own. What a chunker
holds back is not kept anywhere: it is what the log has after the client's position. A chunk ends at a position, also
inside an event, so a client may come back with any chunk's cursor and any other strategy, and misses nothing.

`base` says what a chunker is, `plan` applies one to records, `registry` has them by name.
"""

from stream_protocols.chunking.base import BadCut, Chunker, Conditions, Waiting
from stream_protocols.chunking.plan import Chunk, Plan, plan

__all__ = ["BadCut", "Chunk", "Chunker", "Conditions", "Plan", "Waiting", "plan"]
