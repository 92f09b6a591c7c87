"""A stream on a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_gateway.server.delivery import Start
from stream_gateway.streams.follower import Follower
from stream_gateway.streams.stream import Stream
from stream_protocols.chunking import Chunker
from stream_protocols.cursor import format_cursor
from stream_protocols.render import SocketRenderer

if TYPE_CHECKING:
    from stream_gateway.server.sockets.session import Session


class SocketFollower(Follower):
    """A stream on a socket that carries others too; the socket's writer drives it."""

    __slots__ = ("_session",)

    def __init__(
        self, session: Session, stream: Stream, renderer: SocketRenderer, start: Start, chunker: Chunker | None
    ) -> None:
        super().__init__(stream, renderer, session.socket, after=start.after, offset=start.offset, chunker=chunker)
        self._session = session

    def write(self, data: bytes) -> bool:
        """As any follower's; but a socket has pings, so nobody asks when something was written."""
        try:
            return not data or self.outlet.write_now(data)
        except Exception as error:
            self.broken = error
            return False

    def wake(self) -> None:
        """Ask for a turn, or leave when all has been said."""
        if self.broken is not None:
            self._session.socket.spoiled(self, self.broken)
        elif self.caught_up and self.stream.log.sealed and self.outlet.clear():
            self._session.leave(self.stream.id)
        else:
            self._session.socket.lags(self)

    def go_live(self) -> None:
        """Follow the stream from here on, if it goes on."""
        if self.stream.log.sealed:
            self._session.leave(self.stream.id)
        elif self.stream.id in self._session.following:
            super().go_live()

    @property
    def cursor(self) -> str:
        """The position after what was handed to the socket."""
        return format_cursor(self.stream.id, self.stream.log.epoch, self.position, self._offset)

    def close(self, reason: str) -> None:
        """Let the client go: it hears where to resume as soon as it reads again."""
        self._session.let_go(self, reason)
