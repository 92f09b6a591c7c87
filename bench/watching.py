"""How a target lets many watch one generation, as plain data: its paths, and what is said there."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

CarrierName = Literal["sse", "websocket", "http2"]


@dataclasses.dataclass(frozen=True)
class Way:
    """How to watch. `{id}` stands for the stream's id."""

    path: str
    carrier: CarrierName = "sse"
    protocol: str = ""
    """The WebSocket subprotocol to ask for."""
    deflate: bool = False
    """Over a WebSocket: permessage-deflate is asked for, and must be agreed to."""
    says: tuple[str, ...] = ()
    """What a client says: the first once it is connected, each further one when it has heard something more.

    An empty one is not said, but waits all the same.
    """


@dataclasses.dataclass(frozen=True)
class Command:
    """What a client may say over and over on a WebSocket. `{id}` stands for a stream's id, `{ref}` for a number."""

    says: str
    hears: str
    """How the reply begins."""


@dataclasses.dataclass(frozen=True)
class FanOut:
    """How a target spreads one generation to many."""

    create: str
    """The path that takes a chat request and answers `{"id": …}`."""
    ways: Mapping[str, Way]
    """By name: "sse", "websocket", "websocket-deflate", "http2"."""
    commands: Mapping[str, tuple[Command, ...]] = dataclasses.field(default_factory=dict)
    """Commands to be said in turn on the way "websocket", by a name for them."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FanOut":
        ways = {name: Way(**{**way, "says": tuple(way["says"])}) for name, way in data["ways"].items()}
        commands = {name: tuple(Command(**each) for each in group) for name, group in data["commands"].items()}
        return cls(data["create"], ways, commands)
