"""Server-sent events over HTTP/1.1 or HTTP/2: a response for each stream."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

import anyio
import httpx
import msgspec

from stream_gateway.client.carrier import Batch, Lost
from stream_gateway.client.errors import NotAGateway
from stream_gateway.client.http import Link, finish, refuse, told
from stream_protocols.cursor import Gap, parse_cursor
from stream_protocols.dialects.native import decode_known
from stream_protocols.errors import InvalidCursor, SseEventTooLarge
from stream_protocols.events import Notice
from stream_protocols.reconnect import Blame, Rhythm, Silence
from stream_protocols.sse import SseDecoder, SseEvent

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
"""Runs something in the background, also while the caller is being cancelled."""

_TYPE: Final = "text/event-stream"


class SseCarrier:
    """A response that brings a stream (see `Carrier`).

    Args:
        rhythm: tells when the response is dead.
        spawn: where it is closed.
    """

    gap: Gap | None = None  # it comes as the first event

    def __init__(self, link: Link, response: httpx.Response, rhythm: Rhythm, spawn: Spawn) -> None:
        self.dead = False
        self.retry: float | None = None
        self._link = link
        self._body = response.aiter_bytes()
        self._rhythm = rhythm
        self._silence = Silence(rhythm, anyio.current_time())
        self._decoder = SseDecoder()
        self._spawn = spawn
        self._heard = False
        self._left = False

    async def receive(self) -> Batch:
        """Wait for more (see `Carrier`)."""
        try:
            data = await self._read()
        except BaseException:
            self.dead = True
            raise
        now = anyio.current_time()
        try:
            events = self._decoder.feed(data)
        except SseEventTooLarge as error:
            raise NotAGateway(f"What came is no stream of a Stream Gateway: {error.message}") from None
        self._silence.heard(now, keepalive=not events and data.startswith(b":"))
        self._heard = True
        if self._decoder.retry is not None:
            self.retry = self._decoder.retry / 1000
        return _batch(events)

    async def _read(self) -> bytes:
        left = self._silence.left(anyio.current_time())
        try:
            with anyio.fail_after(left):
                return await anext(self._body)
        except TimeoutError:
            # Nothing at all, not even a keepalive: most often a proxy that collects what should stream.
            blame = Blame.NETWORK if self._heard else Blame.TRANSPORT
            raise Lost(f"silent for {self._rhythm.allowed:.1f} s", blame) from None
        except StopAsyncIteration:
            raise Lost("the response ended before the stream did", self._blame) from None
        except httpx.HTTPError as error:
            raise Lost(told(error), self._blame) from None

    @property
    def _blame(self) -> Blame:
        return Blame.NETWORK if self._heard else Blame.EARLY

    def leave(self) -> None:
        """Close the response and its connection in the background."""
        if not self._left:
            self._left = self.dead = True
            self._spawn(self._close)

    async def _close(self) -> None:
        await finish(self._body)
        await self._link.aclose()


async def open_events(
    link: Link, stream: str, after: str | None, chunking: str | None, rhythm: Rhythm, spawn: Spawn
) -> SseCarrier | None:
    """Ask for a stream's events after a cursor; None when it has ended, and nothing is left.

    Raises:
        Lost: come back.
        ClientError: do not.
    """
    headers = {"Accept": _TYPE, "Accept-Encoding": "gzip"}
    if after is not None:
        headers["Last-Event-ID"] = after
    params = {} if chunking is None else {"chunking": chunking}
    response = await link.open("GET", f"v1/streams/{stream}/events", params=params, headers=headers)
    if response.status_code == 204:
        return None
    if response.status_code != 200:
        raise await refuse(response, after)
    if not response.headers.get("content-type", "").startswith(_TYPE):
        raise NotAGateway(f"{response.url} is no event stream of a Stream Gateway; check the address.")
    rhythm.announce(response.headers.get("stream-keepalive"))
    return SseCarrier(link, response, rhythm, spawn)


def _batch(events: list[SseEvent]) -> Batch:
    found = []
    gap = None
    for item in events:
        try:
            event = decode_known(item.data)
        except msgspec.DecodeError as error:
            raise NotAGateway(f"An event is none of a Stream Gateway: {error}.") from None
        if isinstance(event, Notice) and event.code == "gap" and item.id is None:
            gap = gap_of(event)
        elif item.id is not None:
            found.append((item.id, event))
        elif not isinstance(event, Notice):  # nothing could be resumed, and what comes twice would not be noticed
            raise NotAGateway("Its events have no ids, so this is no stream of a Stream Gateway; check the address.")
    return Batch(found, gap)


def gap_of(notice: Notice) -> Gap | None:
    """The gap that a notice speaks of."""
    data = notice.data or {}
    try:
        seq = parse_cursor(str(data.get("resumes_after"))).position.seq
        return msgspec.convert({**data, "resume_seq": seq}, Gap)
    except (InvalidCursor, msgspec.ValidationError):
        return None
