"""What a generation has cost, as far as its log tells."""

from collections.abc import Iterable

from stream_protocols.events import Event, Record, Usage


def spent(records: Iterable[Record]) -> tuple[int | None, int]:
    """Tokens as the provider has counted them, None when it has not; and characters that were said."""
    return spent_on(event for event, _ in records)


def spent_on(events: Iterable[Event]) -> tuple[int | None, int]:
    """The same of events."""
    tokens, characters = None, 0
    for event in events:
        if type(event) is Usage:
            tokens = event.input_tokens + event.output_tokens  # cumulative: the last one counts
        else:
            characters += len(getattr(event, "text", None) or getattr(event, "arguments", None) or "")
    return tokens, characters
