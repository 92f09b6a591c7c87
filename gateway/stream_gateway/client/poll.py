"""Long polls: a request for each piece of news, for where nothing that streams comes through."""

import msgspec

from stream_gateway.client.carrier import Batch
from stream_gateway.client.errors import NotAGateway
from stream_gateway.client.http import Link, refuse
from stream_gateway.client.sse import Spawn
from stream_protocols.cursor import Gap
from stream_protocols.dialects.native import decode_known


class _Item(msgspec.Struct):
    id: str
    event: msgspec.Raw


class _Answer(msgspec.Struct):
    events: list[_Item]
    cursor: str
    ended: bool
    gap: Gap | None = None


class PollCarrier:
    """Asks again and again for what comes after a cursor (see `Carrier`); the first time without waiting.

    Args:
        after: the cursor to begin after; None for the beginning.
        wait: seconds that the gateway may take when there is nothing.
    """

    gap: Gap | None = None  # it comes with the answer
    retry: float | None = None

    def __init__(self, link: Link, stream: str, after: str | None, wait: float, spawn: Spawn) -> None:
        self.dead = False
        self._link = link
        self._path = f"v1/streams/{stream}/events"
        self._after = after
        self._wait = wait
        self._asked = False
        self._spawn = spawn
        self._left = False

    async def receive(self) -> Batch:
        """Wait for more (see `Carrier`)."""
        try:
            answer = await self._ask(self._wait if self._asked else 0.0)
        except BaseException:
            self.dead = True
            raise
        self._asked = True
        self._after = answer.cursor
        return Batch([(item.id, decode_known(bytes(item.event))) for item in answer.events], answer.gap, answer.ended)

    async def _ask(self, wait: float) -> _Answer:
        params = {"wait": f"{wait:g}"} | ({} if self._after is None else {"after": self._after})
        response = await self._link.ask("GET", self._path, params=params, wait=wait)
        if response.status_code != 200:
            raise await refuse(response, self._after)
        try:
            return msgspec.json.decode(response.content, type=_Answer)
        except msgspec.DecodeError as error:
            raise NotAGateway(f"{response.url} is no stream of a Stream Gateway: {error}.") from None

    def leave(self) -> None:
        """Close the connection in the background."""
        if not self._left:
            self._left = self.dead = True
            self._spawn(self._link.aclose)
