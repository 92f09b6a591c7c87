"""What is controlled: the gateway, as far as the control plane knows it."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from stream_gateway.observe.catalogue import Scene
from stream_gateway.observe.statistics import ConnectionStatistics
from stream_gateway.streams.registry import Registry


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload came to: keys that are in use as they are now written, and changed ones that need a restart."""

    applied: tuple[str, ...] = ()
    not_live: tuple[str, ...] = ()


class Subject(Protocol):
    """A gateway."""

    @property
    def registry(self) -> Registry:
        """Its streams."""

    def scene(self) -> Scene:
        """All that metrics are read from, now."""

    def connected(self) -> Sequence[ConnectionStatistics]:
        """The open connections, oldest first."""

    def unready(self) -> str | None:
        """Why it should be given no new work; None: it should."""

    def stop(self) -> None:
        """End as after SIGTERM: drain, then leave."""

    def reload(self) -> Reloaded:
        """Read the configuration again.

        Raises:
            ConfigError: it cannot be used; all stays as it is.
        """
