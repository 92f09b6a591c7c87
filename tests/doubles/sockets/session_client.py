"""A client of the subprotocol on any socket: commands with their replies, and pushes by stream."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from typing import Any, Generic, Protocol, TypeVar

import msgpack

from tests.doubles.gateway_client import MESSAGES, GatewayClient
from tests.doubles.sockets.frames import BINARY, TEXT
from tests.doubles.sockets.raw_socket import JSON, MSGPACK, RawSocket, raw_socket

Message = dict[str, Any]
TERMINAL = ("stream.finished", "stream.failed", "stream.cancelled")


class Socket(Protocol):
    """What a session needs of a socket."""

    async def send(self, opcode: int, payload: bytes | str = b"") -> None:
        """Send a message."""

    async def message(self) -> str | bytes:
        """The next message. Raises `Closed`."""


S = TypeVar("S", bound=Socket)


class SessionClient(Generic[S]):
    """Speaks the subprotocol on a socket. It reads only while a test waits for something.

    Attributes:
        ended: what the gateway said of subscriptions that it ended, by stream.
    """

    def __init__(self, socket: S, *, binary: bool = False) -> None:
        self.socket = socket
        self.ended: dict[str, Message] = {}
        self._binary = binary
        self._refs = 0
        self._replies: dict[Any, Message] = {}
        self._pushes: dict[str, deque[Message]] = defaultdict(deque)

    # ---- commands

    async def send(self, type_: str, **fields: Any) -> int:
        """Send a command, and return its `ref`."""
        self._refs += 1
        await self.say({"type": type_, "ref": self._refs, **fields})
        return self._refs

    async def say(self, message: Any) -> None:
        """Send anything that can be encoded."""
        if self._binary:
            await self.socket.send(BINARY, msgpack.packb(message))
        else:
            await self.socket.send(TEXT, json.dumps(message))

    async def ask(self, type_: str, **fields: Any) -> Message:
        """Send a command and wait for its reply, whatever it says."""
        return await self.reply(await self.send(type_, **fields))

    async def reply(self, ref: Any) -> Message:
        """Wait for the reply to a command; pushes on the way are kept."""
        while ref not in self._replies:
            await self.receive()
        return self._replies.pop(ref)

    async def refused(self, type_: str, **fields: Any) -> Message:
        """Send a command that has to be refused; the error."""
        reply = await self.ask(type_, **fields)
        assert reply["type"] == "error", reply
        assert reply["message"], reply
        return reply

    async def create(self, model: str, *, request: Message | None = None, **fields: Any) -> str:
        """Start a generation; the stream's id."""
        asked = {"model": model, "messages": MESSAGES, **(request or {})}
        reply = await self.ask("stream.create", request=asked, **fields)
        assert reply["type"] == "stream.created", reply
        return str(reply["stream"])

    async def subscribe(self, stream: str, after: str | None = None) -> Message:
        """Follow a stream; the reply."""
        fields = {} if after is None else {"after": after}
        reply = await self.ask("stream.subscribe", stream=stream, **fields)
        assert reply["type"] == "stream.subscribed", reply
        return reply

    # ---- what comes

    async def receive(self) -> Message:
        """The next message, sorted in and returned. Raises `Closed`."""
        data = await self.socket.message()
        assert isinstance(data, bytes) is self._binary, data
        message = self.parse(data, binary=self._binary)
        if message["type"] == "event":
            assert message.keys() == {"type", "stream", "id", "event"}, message
            self._pushes[message["stream"]].append(message)
        elif message["type"] == "stream.unsubscribed":
            self.ended[message["stream"]] = message
        else:
            self._replies[message["ref"]] = message
        return message

    @staticmethod
    def parse(data: str | bytes, *, binary: bool) -> Message:
        """Read a message's payload."""
        message: Message = msgpack.unpackb(data) if binary else json.loads(data)
        return message

    async def event(self, stream: str) -> Message:
        """The next push of a stream."""
        while not self._pushes[stream]:
            await self.receive()
        return self._pushes[stream].popleft()

    async def take(self, stream: str, count: int) -> list[Message]:
        """The next pushes of a stream, which have to come."""
        return [await self.event(stream) for _ in range(count)]

    async def rest(self, stream: str) -> list[Message]:
        """The pushes of a stream up to its terminal event."""
        pushes = [await self.event(stream)]
        while pushes[-1]["event"]["type"] not in TERMINAL:
            pushes.append(await self.event(stream))
        return pushes

    def waiting(self, stream: str) -> int:
        """How many pushes of a stream have come and were not taken."""
        return len(self._pushes[stream])


async def session(gateway: GatewayClient, *, protocol: str | None = JSON, **options: Any) -> SessionClient[RawSocket]:
    """Open a socket and speak the subprotocol on it; options as in `shake`."""
    socket = await raw_socket(gateway, protocol=protocol, **options)
    return SessionClient(socket, binary=protocol == MSGPACK)


def text(pushes: list[Message]) -> str:
    """The text that pushes carry, joined."""
    return "".join(push["event"]["text"] for push in pushes if push["event"]["type"] == "text.delta")


def types(pushes: list[Message]) -> list[str]:
    """The types of the events, in order."""
    return [push["event"]["type"] for push in pushes]


def seqs(pushes: list[Message]) -> list[int]:
    """The numbers in the cursors."""
    return [int(push["id"].split(".")[2]) for push in pushes]


def assert_whole(pushes: list[Message]) -> None:
    """Each event once and in order, and exactly one that ends it all, the last."""
    numbers = seqs(pushes)
    assert numbers == sorted(set(numbers)), numbers
    assert [kind in TERMINAL for kind in types(pushes)] == [False] * (len(pushes) - 1) + [True], types(pushes)
