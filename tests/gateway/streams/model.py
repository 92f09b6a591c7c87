"""What the clients of a stream should get, worked out the simple way: from a list that nothing is dropped from."""

from collections.abc import Iterable

from stream_protocols.dialects import Encoder
from stream_protocols.dialects.native import decode_event
from stream_protocols.dialects.openai_chat import OpenAIChatDecoder
from stream_protocols.events import (
    COVERED,
    Event,
    Opaque,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
)

Delivery = tuple[int, bytes]
"""The number in an event's id, and its payload."""

_TEXTS = (TextDelta, ReasoningDelta, RefusalDelta)


def text_of(event: Event) -> str:
    """An event's text, if it is a piece of text."""
    return event.text if isinstance(event, _TEXTS) else ""


def cut(event: Event, offset: int) -> Event:
    """What is left of an event after `offset` characters."""
    if isinstance(event, _TEXTS):
        return type(event)(event.text[offset:], event.choice)
    return event


class Model:
    """All that was ever appended to a stream whose provider speaks `openai_chat`."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def frames(self) -> Iterable[tuple[int, list[Event], bytes | None]]:
        """The number of each vendor frame's first record, its events and its bytes."""
        events: list[Event] = []
        for number, (event, raw) in enumerate(self.records, 1):
            events.append(event)
            if raw != COVERED or isinstance(event, StreamStarted):
                yield number - len(events) + 1, events, raw
                events = []

    def native(self, encoder: Encoder, seq: int, offset: int) -> list[Delivery]:
        """What a native client gets after record `seq` and `offset` characters of the next."""
        deliveries = []
        for number, (event, _) in enumerate(self.records[seq:], seq + 1):
            payload = encoder.encode(cut(event, offset) if number == seq + 1 else event)
            if payload:
                deliveries.append((number, payload))
        return deliveries

    def vendors(self, encoder: Encoder, seq: int, offset: int) -> list[Delivery]:
        """What a client of the provider's own dialect gets: whole frames, and the rest of a begun one in our words."""
        deliveries: list[tuple[int, bytes | None]] = []
        for first, events, raw in self.frames():
            last = first + len(events) - 1
            if last <= seq:
                continue
            begun = first <= seq or (first == seq + 1 and offset)
            if not begun and raw is not None:
                deliveries.append((last, raw))
                continue
            for number, event in enumerate(events, first):
                if number > seq:
                    rest = cut(event, offset) if number == seq + 1 else event
                    deliveries.append((number, encoder.encode(rest)))
        return [(number, payload) for number, payload in deliveries if payload]

    def meaning(self, seq: int, offset: int, end: int, inside: int = 0) -> dict[tuple[str, int], str]:
        """The words from a position on to the end of record `end`, or to `inside` characters of the next."""
        events = [event for event, _ in self.records[seq:end]]
        if inside:
            event = self.records[end][0]
            assert isinstance(event, _TEXTS)
            events.append(type(event)(event.text[:inside], event.choice))
        if events:
            events[0] = cut(events[0], offset)
        return meaning(events)

    def others(self, seq: int, end: int) -> list[str]:
        """The kinds of the events after record `seq`, up to `end`, that are no words and that everybody is told."""
        return others(event for event, _ in self.records[seq:end])


def others(events: Iterable[Event]) -> list[str]:
    """The kinds of those events that are no words, and no vendor's own."""
    return [type(event).__name__ for event in events if not isinstance(event, (*_TEXTS, Opaque))]


def meaning(events: Iterable[Event]) -> dict[tuple[str, int], str]:
    """The words of events, joined: for each kind and choice."""
    result: dict[tuple[str, int], str] = {}
    for event in events:
        text = event.arguments if isinstance(event, ToolCallDelta) else text_of(event)
        if text:
            key = type(event).__name__, getattr(event, "choice", 0)
            result[key] = result.get(key, "") + text
    return result


def understood(payload: bytes, dialect: str) -> list[Event]:
    """What a client of a dialect understands of one payload."""
    if dialect == "native":
        return [decode_event(payload)]
    return [event for event, _ in OpenAIChatDecoder().feed(b"data: " + payload + b"\n\n")]
