"""Delivery: from a stream to the body of a response, beginning wherever the client stopped."""

from functools import partial
from typing import Final

import msgspec
import structlog
import trio

from stream_gateway.server.exchange import BodyOutlet, Exchange, HeaderList
from stream_gateway.server.keepalive import Keepalive
from stream_gateway.streams.stream import Stream
from stream_gateway.streams.subscription import Subscription
from stream_protocols.chunking.registry import MakeChunker
from stream_protocols.cursor import Gap, check, format_cursor, parse_cursor
from stream_protocols.dialects import native
from stream_protocols.errors import CursorExpired, CursorFromFuture, EpochMismatch
from stream_protocols.events import Notice, StreamStarted
from stream_protocols.render import Renderer

_log = structlog.get_logger()

_HEADERS: Final = [("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")]


class Start(msgspec.Struct, frozen=True):
    """Where a delivery begins: after record `after` and `offset` characters; `gap` is what could not be kept."""

    after: int = 0
    offset: int = 0
    gap: Gap | None = None


def resume(stream: Stream, text: str | None, dialect: str, *, polls: bool = False) -> Start:
    """Where a client that shows a cursor goes on; without one, at the oldest record there is.

    Args:
        polls: it asks again and again, and does not come back each time.

    Raises:
        InvalidCursor, CursorOfAnotherStream, CursorFromFuture: the cursor is no good.
        CursorExpired, EpochMismatch: there is a gap, and the client's dialect has no words to say so.
    """
    log = stream.log
    meter = stream.pulse.meter
    if text is None:
        text = format_cursor(stream.id, log.epoch, 0)
    cursor = parse_cursor(text)
    gap = check(cursor, stream=stream.id, epoch=log.epoch, head=log.head, oldest=log.oldest, lives=log.lives)
    if gap is None:
        position = cursor.position
        _check_offset(stream, position.seq, position.offset)
        meter.resumes += position.seq > 0 and not polls
        return Start(position.seq, position.offset)
    meter.gaps[gap.reason] += 1
    if dialect == native.NAME:
        return Start(gap.resume_seq, 0, gap)
    oldest = format_cursor(stream.id, log.epoch, gap.resume_seq)
    if gap.reason == "epoch":
        raise EpochMismatch(f"The stream began anew since this cursor was given; start again after {oldest}.")
    raise CursorExpired(
        f"{gap.missed} events after this cursor are no longer kept; what is kept begins after {oldest}."
    )


def _check_offset(stream: Stream, seq: int, offset: int) -> None:
    if offset:
        record = stream.log.record(seq + 1)
        text = getattr(record[0], "text", "") if record else ""
        if offset >= len(text):
            raise CursorFromFuture(f"The cursor points {offset} characters into event {seq + 1}, which is shorter.")


def gap_notice(stream: Stream, gap: Gap) -> Notice:
    """What a client hears first when something it missed is gone."""
    after = format_cursor(stream.id, stream.log.epoch, gap.resume_seq)
    lost = "What you saw belongs to another run of this stream" if gap.reason == "epoch" else "Some events are gone"
    data = {"reason": gap.reason, "missed": gap.missed, "resumes_after": after}
    return Notice("gap", f"{lost}; this goes on after {after}.", data)


async def deliver(
    exchange: Exchange,
    stream: Stream,
    renderer: Renderer,
    start: Start,
    keepalive: Keepalive,
    chunking: MakeChunker | None = None,
) -> None:
    """Send a stream as the response's body until it ends or the client leaves.

    A body that ends properly is whole. When the gateway has to let a client go, it cuts the connection
    instead, and the client resumes from the last id it saw. Call it without waiting after `resume`: what that
    found may be trimmed as soon as anybody else runs.

    Args:
        chunking: what the client asked for; None: what its stream has for those who ask for nothing.
    """
    if start.after == stream.log.head and stream.log.sealed and start.gap is None:
        # Nothing is left. 204 is also what tells a browser's EventSource not to come back.
        await exchange.respond(204, [("Stream-Id", stream.id)])
        return
    outlet = exchange.open(200, stream_headers(stream, renderer, keepalive))
    if exchange.method == "HEAD":
        await outlet.finish()
        return
    with (
        Subscription(
            stream,
            renderer,
            outlet,
            after=start.after,
            offset=start.offset,
            welcome=outlet.welcome,
            chunker=(chunking or stream.chunking)(),
        ) as subscription,
        keepalive.watching(subscription, exchange.began),
    ):
        outlet.begin()
        if start.gap is not None and (notice := renderer.notice(gap_notice(stream, start.gap))):
            await outlet.flush()
            outlet.write_now(outlet.framing(notice))
        await conclude(subscription, outlet)


async def deliver_new(exchange: Exchange, stream: Stream, renderer: Renderer, keepalive: Keepalive) -> bool:
    """Send a stream from its very beginning: the first piece leaves as soon as the provider has sent it.

    Until the provider has accepted, a refusal can still be an HTTP status. No longer than the keepalive interval,
    though: then the client, or a proxy before it, wants to hear something.

    Call it without waiting after the producer was started: nothing may have been appended yet.

    Returns:
        False when the stream failed before it began; nothing has been answered then.
    """
    refused = partial(has_failed_early, stream)
    outlet = exchange.open(200, stream_headers(stream, renderer, keepalive), unless=refused)
    with (
        Subscription(stream, renderer, outlet, welcome=outlet.welcome, chunker=stream.chunking()) as subscription,
        keepalive.watching(subscription, exchange.began),
    ):
        subscription.go_live()
        with trio.move_on_at(exchange.began + keepalive.interval):
            await stream.opened.wait()
        if refused():
            return False
        outlet.begin()
        await conclude(subscription, outlet)
    return True


async def conclude(subscription: Subscription, outlet: BodyOutlet) -> None:
    """Run a subscription; end the body if the stream came to its end."""
    reason = await subscription.run()
    if reason is None:
        await outlet.finish()
    else:
        _log.info("subscription_ended", stream=subscription.stream.id, reason=reason)


def stream_headers(stream: Stream, renderer: Renderer, keepalive: Keepalive) -> HeaderList:
    """The headers of every streamed body. The keepalive's says how long a living connection is silent at most."""
    return [
        ("Content-Type", renderer.media_type),
        ("Stream-Id", stream.id),
        ("Stream-Keepalive", f"{keepalive.interval:g}"),
        *_HEADERS,
    ]


def has_failed_early(stream: Stream) -> bool:
    """Whether a stream ended before its provider accepted the request."""
    if stream.terminal is None:
        return False
    first = stream.log.record(1)
    return first is not None and not isinstance(first[0], StreamStarted)
