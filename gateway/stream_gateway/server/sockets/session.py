"""A session: the commands and streams of one socket that speaks our subprotocol."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec
import structlog
import trio

from stream_gateway.config import SocketSettings
from stream_gateway.guard.jwts import KeysPending
from stream_gateway.guard.principal import NOBODY
from stream_gateway.guard.visitor import Visitor
from stream_gateway.server.delivery import Start, resume
from stream_gateway.server.sockets.follower import SocketFollower
from stream_gateway.server.sockets.socket import WebSocket
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.room import LAGGED
from stream_gateway.streams.stream import MOVED, Stream
from stream_protocols import commands
from stream_protocols.chunking.registry import MakeChunker
from stream_protocols.closing import CLOSINGS, CloseCode
from stream_protocols.commands import Codec, Command
from stream_protocols.cursor import format_cursor
from stream_protocols.dialects import native
from stream_protocols.dialects.openai_chat import parse_request
from stream_protocols.errors import (
    BadRequest,
    Forbidden,
    InvalidField,
    LocalError,
    StreamProtocolError,
    TooManyRequests,
)
from stream_protocols.render import SocketRenderer
from stream_protocols.request import check_lease, fingerprint, take_chunking

_log = structlog.get_logger()

Fetch = Callable[[], Awaitable[object]]

BURST: Final = 2.0
"""Seconds' worth of commands that may come at once; at least as many as it takes to subscribe to all streams again."""


class Session:
    """Handles what a socket's client says.

    Nothing here waits, unless a stream has to be fetched from another node. What the client says meanwhile waits, too.

    Args:
        codec: the subprotocol's encoding.
        visitor: who it is.
    """

    def __init__(
        self,
        socket: WebSocket,
        codec: Codec,
        registry: Registry,
        generations: Generations,
        settings: SocketSettings,
        visitor: Visitor,
    ) -> None:
        self.socket = socket
        self.visitor = visitor
        self.following: dict[str, SocketFollower] = {}
        self._codec = codec
        self._registry = registry
        self._generations = generations
        self._settings = settings
        self._bucket = max(settings.commands_per_second * BURST, settings.streams)
        self._tokens = self._bucket
        self._refilled = trio.current_time()
        # Names, and digests of the requests, of streams that are about to be created, by their keys.
        self._names: dict[str, tuple[str, bytes]] = {}
        self._fetching = False
        self._later: deque[str | bytes] = deque()  # no more than the bucket lets through within one fetching
        self._ended = False

    def end(self) -> None:
        """The socket is gone: its streams are left, and their leases begin."""
        self._ended = True
        self._later.clear()
        for name in list(self.following):
            self.leave(name)

    def check_shown(self) -> float:
        """Let a client go that has not said who it is in time; never to be called again (see `Reminders`)."""
        if self.visitor.principal is NOBODY:
            self.socket.close(CloseCode.UNAUTHORIZED, "nobody has said who this is")
        return math.inf

    def on_message(self, message: str | bytes) -> None:
        """Carry out one command and reply to it; a bad one is answered, and harms nothing."""
        if not self._admit():
            self.socket.close(CloseCode.LIMIT_EXCEEDED, "too many commands a second")
        elif not self._fetching:
            self._take(message)
        elif len(self._later) < self._bucket:
            self._later.append(message)
        else:
            self.socket.close(CloseCode.LIMIT_EXCEEDED, "too many commands at once")

    def _take(self, message: str | bytes) -> None:
        try:
            command = self._codec.decode(message)
            if not isinstance(command, commands.Auth):
                self.visitor.check()
        except StreamProtocolError as error:
            self._reply(commands.error_reply(self._codec.ref_of(message), error))
            return
        fetch = self._fetch(command)
        if fetch is None:
            self._carry_out(command)
        else:
            self._fetching = True
            self.socket.start_soon(self._carry_out_later, command, fetch)

    def _fetch(self, command: Command) -> Fetch | None:
        """What has to be waited for before the command can be carried out: a stream that is not here."""
        registry = self._registry
        if isinstance(command, commands.Subscribe) and not registry.at_hand(command.stream, command.after):
            return partial(registry.open, command.stream, self.visitor.principal, command.after)
        if isinstance(command, commands.Cancel) and not registry.at_hand(command.stream):
            return partial(registry.open, command.stream, self.visitor.principal, cancel=True)
        if (
            isinstance(command, commands.Create)
            and command.key
            and self.visitor.principal.grant is None
            and not registry.claimed(command.key, self.visitor.principal)
        ):
            return partial(self._claim, command)
        return None

    async def _carry_out_later(self, command: Command, fetch: Fetch) -> None:
        """Carry out a command that has to wait, and then those that have come meanwhile, in their order."""
        refusal: StreamProtocolError | None = None
        try:
            await fetch()
        except StreamProtocolError as error:
            refusal = error
        except Exception:
            _log.exception("command_failed")
            refusal = LocalError("The gateway failed on this command; its log says why.")
        self._fetching = False
        if refusal is not None and not self._ended:
            self._reply(commands.error_reply(command.ref, refusal))
        elif not self._ended:
            self._carry_out(command)
        while self._names:  # of a stream that was not created after all
            key, (name, asked) = self._names.popitem()
            self._registry.release(key, name, asked, self.visitor.principal)
        while self._later and not self._fetching:
            self._take(self._later.popleft())

    def _carry_out(self, command: Command, handler: Callable[[Session, Any], None] | None = None) -> None:
        try:
            (handler or _HANDLERS[type(command)])(self, command)
        except StreamProtocolError as error:
            if isinstance(error, LocalError):
                _log.warning("command_failed", error=error.message)
            self._reply(commands.error_reply(command.ref, error))
        except Exception:
            _log.exception("command_failed")
            failed = LocalError("The gateway failed on this command; its log says why.")
            self._reply(commands.error_reply(command.ref, failed))

    def _admit(self) -> bool:
        """Take a token from the bucket of `commands_per_second`."""
        now, rate = trio.current_time(), self._settings.commands_per_second
        self._tokens = min(self._tokens + (now - self._refilled) * rate, self._bucket) - 1
        self._refilled = now
        return self._tokens >= 0

    def _reply(self, message: commands.Message) -> None:
        self.socket.send(self._codec.opcode, self._codec.encode(message))

    # ---- commands

    def _auth(self, command: commands.Auth) -> None:
        """Somebody says who they are. Who cannot is let go: the socket is of no use to them."""
        try:
            self._show(command)
        except KeysPending:
            self.socket.start_soon(self._auth_later, command)

    async def _auth_later(self, command: commands.Auth) -> None:
        await self.visitor.settled()
        self._carry_out(command, partial(Session._show, final=True))

    def _show(self, command: commands.Auth, *, final: bool = False) -> None:
        try:
            self.visitor.show(command.token, final=final)
        except StreamProtocolError as error:
            self.socket.close(error.close_code, "not let in")
            raise
        self._ok(command)

    def _create(self, command: commands.Create) -> None:
        if self.visitor.principal.grant is not None:
            raise Forbidden("A stream token is good for its stream only; create streams with an API key or a JWT.")
        self._check_room()
        body, field = take_chunking(_as_json(command.request))
        request = parse_request(body, native=True)
        chunking = self._chunking(field if command.chunking is None else command.chunking)
        key = commands.check_key(command.key)
        lease = request.lease if command.lease is None else check_lease(command.lease)
        asked = b"" if key is None else fingerprint(request.body)
        stream = None if key is None else self._registry.find(key, asked, self.visitor.principal)
        if stream is not None and stream.id in self.following:
            raise BadRequest(f"Stream {stream.id!r} of this key is already on this socket.", param="key")
        if stream is None:
            principal = self.visitor.principal
            _, refusal = self._generations.quotas.request(principal)
            if refusal is not None:
                raise refusal
            name, _ = self._names.get(key or "", (None, b""))
            stream, produce = self._generations.create(request, principal, lease=lease, key=key, asked=asked, name=name)
            if key is not None:
                self._names.pop(key, None)
            stream.chunking = chunking or stream.chunking
            produce()
        start = resume(stream, None, native.NAME)
        first = format_cursor(stream.id, stream.log.epoch, start.after)
        self._reply(commands.Created(command.ref, stream.id, first, start.gap))
        self._follow(stream, start, chunking)

    def _subscribe(self, command: commands.Subscribe) -> None:
        self._check_room()
        if command.stream in self.following:
            raise BadRequest(f"Stream {command.stream[:64]!r} is already on this socket.", param="stream")
        stream = self._registry.get(command.stream, self.visitor.principal)
        chunking = self._chunking(command.chunking)
        start = resume(stream, command.after, native.NAME)
        ended = stream.log.sealed and start.after == stream.log.head
        self._reply(commands.Subscribed(command.ref, stream.id, start.gap, ended))
        self._follow(stream, start, chunking)

    def _unsubscribe(self, command: commands.Unsubscribe) -> None:
        if command.stream not in self.following:
            # An unknown stream is another mistake than one not followed.
            self._registry.get(command.stream, self.visitor.principal)
            raise BadRequest(f"Stream {command.stream[:64]!r} is not on this socket.", param="stream")
        self.leave(command.stream)
        self._ok(command)

    def _cancel(self, command: commands.Cancel) -> None:
        self._registry.get(command.stream, self.visitor.principal, cancel=True).cancel("client")
        self._ok(command)

    async def _claim(self, command: commands.Create) -> None:
        """Learn whose an idempotency key is: the stream is here then, or has a name."""
        body, _ = take_chunking(_as_json(command.request))
        key = commands.check_key(command.key)
        if key is not None:
            asked = fingerprint(parse_request(body, native=True).body)
            _, name = await self._registry.claim(key, asked, self.visitor.principal)
            if name is not None:
                self._names[key] = name, asked

    def _ok(self, command: Command) -> None:
        self._reply(commands.Ok(command.ref))

    def _check_room(self) -> None:
        if len(self.following) >= self._settings.streams:
            raise TooManyRequests(
                f"This socket has {len(self.following)} streams, which is the limit (sockets.streams)."
            )

    # ---- streams

    def _chunking(self, asked: str | None) -> MakeChunker | None:
        return None if asked is None else self._registry.chunkers.named(asked)

    def _follow(self, stream: Stream, start: Start, chunking: MakeChunker | None) -> None:
        chunker = (chunking or stream.chunking)()
        follower = SocketFollower(self, stream, self._renderer(stream), start, chunker)
        self.following[stream.id] = follower
        stream.attach(follower)
        self.socket.lags(follower)

    def _renderer(self, stream: Stream) -> SocketRenderer:
        """What all sockets of a kind share; a socket whose compression has a context needs its own."""
        socket = self.socket
        if not socket.shares:
            return SocketRenderer(stream.id, stream.log.epoch, self._codec, socket.pack, shared=False)
        key = ("socket", self._codec.name, socket.pack)
        renderer = stream.renderers.get(key)
        if not isinstance(renderer, SocketRenderer):
            renderer = SocketRenderer(stream.id, stream.log.epoch, self._codec, socket.pack)
            stream.renderers[key] = renderer
        return renderer

    def leave(self, name: str) -> None:
        """Stop following a stream; its lease begins if nobody else does."""
        follower = self.following.pop(name, None)
        if follower is not None:
            follower.live = False
            self.socket.forget(follower)
            follower.stream.detach(follower)

    def let_go(self, follower: SocketFollower, reason: str) -> None:
        """End a subscription for a reason of the gateway's, and say where to resume."""
        stream = follower.stream
        if self.following.get(stream.id) is not follower:
            return
        self.leave(stream.id)
        message = _MEANINGS.get(reason, reason)
        self._reply(commands.Unsubscribed(stream.id, reason, follower.cursor, message))


_MEANINGS: Final = {
    LAGGED: CLOSINGS[CloseCode.LAGGED].meaning,
    MOVED: "the stream goes on elsewhere; resume from the last cursor",
}

_HANDLERS: Final[dict[type[Command], Callable[[Session, Any], None]]] = {
    commands.Create: Session._create,
    commands.Subscribe: Session._subscribe,
    commands.Unsubscribe: Session._unsubscribe,
    commands.Cancel: Session._cancel,
    commands.Auth: Session._auth,
    commands.Ping: Session._ok,
}


def _as_json(request: dict[str, Any]) -> bytes:
    """A request as providers take it.

    Raises:
        InvalidField: it came in MessagePack and holds what JSON has no words for.
    """
    try:
        return msgspec.json.encode(request)
    except (TypeError, ValueError) as error:
        raise InvalidField(
            f"Field `request` is wrong: it cannot be written as JSON: {error}.", param="request"
        ) from None
