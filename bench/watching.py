"""The ways to watch a stream that others watch too: by SSE, or by a WebSocket that is told what to say."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from bench.client import Client, request_bytes
from bench.websocket import Frames, client_text, handshake


@dataclasses.dataclass(frozen=True)
class Way:
    """How to watch. `{id}` stands for the stream's id."""

    path: str
    websocket: bool = False
    protocol: str = ""
    """The WebSocket subprotocol to ask for."""
    says: tuple[str, ...] = ()
    """What a client says: the first once it is connected, each further one when it has heard something more.

    An empty one is not said, but waits all the same.
    """


@dataclasses.dataclass(frozen=True)
class FanOut:
    """How a target spreads one generation to many."""

    create: str
    """The path that takes a chat request and answers `{"id": …}`."""
    ways: Mapping[str, Way]
    """By name: "sse", "websocket"."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FanOut":
        ways = {name: Way(**{**way, "says": tuple(way["says"])}) for name, way in data["ways"].items()}
        return cls(data["create"], ways)


def watch(
    client: Client,
    way: Way,
    stream: str,
    headers: Mapping[str, str],
    on_body: Callable[[bytes, int], None],
    on_end: Callable[[str], None],
) -> None:
    """Has a client watch; `on_body` gets what the stream says, whatever carries it."""
    path = way.path.format(id=stream)
    if not way.websocket:
        request = request_bytes("GET", path, {**headers, "accept": "text/event-stream"})
        client.send(request, on_body, on_end)
        return
    frames = Frames()

    to_say = list(way.says)

    def speak() -> None:
        if to_say and (text := to_say.pop(0)):
            client.say(client_text(text.replace("{id}", stream)))

    def unframe(data: bytes, now: int) -> None:
        payloads = frames.feed(data)
        for _ in payloads:
            speak()
        if frames.replies:
            client.say(frames.replies)
            frames.replies = b""
        if payloads:
            on_body(b"".join(payloads), now)

    client.send(handshake(path, way.protocol, headers), unframe, on_end, speak)
