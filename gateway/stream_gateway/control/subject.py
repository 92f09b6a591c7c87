"""What is controlled: the gateway, as far as the control plane knows it."""

from collections.abc import Sequence
from typing import Protocol

from stream_gateway.config import Changes
from stream_gateway.guard.guard import Guard
from stream_gateway.observe.catalogue import Scene
from stream_gateway.observe.statistics import ConnectionStatistics
from stream_gateway.streams.registry import Registry


class Subject(Protocol):
    """A gateway."""

    @property
    def registry(self) -> Registry:
        """Its streams."""

    @property
    def guard(self) -> Guard:
        """Who knows its clients."""

    @property
    def data_plane(self) -> str | None:
        """Where it listens for clients, as a URL; None: on a Unix socket."""

    def scene(self) -> Scene:
        """All that metrics are read from, now."""

    def connected(self) -> Sequence[ConnectionStatistics]:
        """The open connections, oldest first."""

    def unready(self) -> str | None:
        """Why it should be given no new work; None: it should."""

    def stop(self) -> None:
        """End as after SIGTERM: drain, then leave."""

    def reload(self) -> Changes:
        """Read the configuration again.

        Raises:
            ConfigError: it cannot be used; all stays as it is.
        """
