"""Reading a stream piece by piece over any transport, for tests of what becomes of texts on the way."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from stream_protocols.cursor import parse_cursor
from tests.doubles.gateway_client import GatewayClient, openai_text
from tests.doubles.sockets.session_client import session

STRATEGIES = (
    *("adaptive", "passthrough", "words", "sentences", "lines", "json"),
    *("bytes", "bytes:3", "bytes:64", "bytes:1024", "interval", "interval:20"),
)

Piece = tuple[str, str]
"""A cursor, and the text that came with it, possibly none."""

Read = Callable[[GatewayClient, str, str, str | None, int | None], Awaitable[list[Piece]]]
"""What a client of some transport gets of a stream, by a strategy, after a cursor: so many pieces of text, or all."""


def text(pieces: list[Piece]) -> str:
    return "".join(piece for _, piece in pieces)


def _enough(pieces: list[Piece], most: int | None) -> bool:
    return most is not None and sum(bool(piece) for _, piece in pieces) >= most


async def sse(
    gateway: GatewayClient, stream: str, chunking: str, after: str | None, most: int | None, **query: str
) -> list[Piece]:
    """Server-sent events, in our own dialect or the vendor's; the client hangs up when it has enough."""
    response = await gateway.subscribe(stream, last=after, chunking=chunking, **query)
    if response.status == 204:
        return []
    events, pieces = response.events(), list[Piece]()
    while (event := await events.next()) is not None:
        assert event.id is not None, event
        pieces.append((event.id, openai_text([event]) if query else event.json.get("text", "")))
        if _enough(pieces, most):
            break
    await response.connection.aclose()
    return pieces


async def openai(
    gateway: GatewayClient, stream: str, chunking: str, after: str | None, most: int | None
) -> list[Piece]:
    return await sse(gateway, stream, chunking, after, most, dialect="openai_chat")


async def ndjson(
    gateway: GatewayClient, stream: str, chunking: str, after: str | None, most: int | None
) -> list[Piece]:
    query = {"chunking": chunking} | ({"after": after} if after else {})
    response = await gateway.subscribe(stream, accept="application/x-ndjson", **query)
    pieces: list[Piece] = []
    unread = b""
    while not _enough(pieces, most) and (data := await response.read_some()):
        *lines, unread = (unread + data).split(b"\n")
        for line in filter(None, lines):
            entry = json.loads(line)
            pieces.append((entry["id"], entry["event"].get("text", "")))
            if _enough(pieces, most):
                break
    await response.connection.aclose()
    return pieces


async def websocket(
    gateway: GatewayClient, stream: str, chunking: str, after: str | None, most: int | None
) -> list[Piece]:
    client = await session(gateway)
    asked: dict[str, Any] = {"chunking": chunking} | ({"after": after} if after else {})
    assert (await client.ask("stream.subscribe", stream=stream, **asked))["type"] == "stream.subscribed"
    pieces: list[Piece] = []
    while not _enough(pieces, most):
        push = await client.event(stream)
        pieces.append((push["id"], push["event"].get("text", "")))
        if push["event"]["type"] == "stream.finished":
            break
    await client.socket.line.aclose()
    return pieces


TRANSPORTS: dict[str, Read] = {"sse": sse, "ndjson": ndjson, "openai": openai, "websocket": websocket}


def in_order(pieces: list[Piece]) -> bool:
    """Whether each cursor is after the one before."""
    positions = [(at.seq, at.offset) for at in (parse_cursor(cursor).position for cursor, _ in pieces)]
    return positions == sorted(set(positions))
