"""Waiting for a state that nothing announces."""

from __future__ import annotations

from collections.abc import Callable

import trio

_LOOK_AGAIN = 0.005


async def until(holds: Callable[[], bool], *, within: float = 10.0) -> None:
    """Return as soon as `holds()`; fail after `within` seconds.

    For what has no event to wait on, such as the counters of `Gateway.statistics()`. The pause between two
    looks only saves processor time: no test depends on its length.
    """
    with trio.fail_after(within):
        while not holds():  # noqa: ASYNC110 - nothing announces it
            await trio.sleep(_LOOK_AGAIN)
