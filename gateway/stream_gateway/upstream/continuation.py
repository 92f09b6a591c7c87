"""Going on with an answer that broke off: what has been said, and how the rest is joined to it."""

from collections.abc import Sequence
from typing import Any, Final

from stream_protocols.events import (
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    Record,
    RefusalDelta,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)

MAX_TEXT: Final = 1_000_000
"""Characters of an answer that can still be continued: more is more than any model takes back."""

MIN_OVERLAP: Final = 12
"""Characters that have to agree before they count as said twice: fewer may well be the same by chance."""

CONTINUED: Final = "continued"
"""The code of the notice that marks a splice."""


class Transcript:
    """What clients have been shown of an answer, and whether another target could go on from there.

    It cannot after a tool call, half of which may have been sent, after signed reasoning, which only its author can
    continue, in a refusal, after the answer's end, or after something that could not be translated.
    """

    def __init__(self) -> None:
        self.open = True
        self._parts: list[str] = []
        self._size = 0

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._parts)

    def note(self, records: Sequence[Record]) -> None:
        """These records have been shown."""
        for event, raw in records:
            if type(event) is TextDelta:
                self._parts.append(event.text)
                self._size += len(event.text)
            elif _closes(event) or (raw and b'"signature"' in raw):
                self.open = False
        if self._size > MAX_TEXT:
            self.open = False
        if not self.open:
            self._parts.clear()


def _closes(event: Event) -> bool:
    if isinstance(event, Notice):
        return event.code != CONTINUED
    return isinstance(event, ToolCallDelta | RefusalDelta | ChoiceFinished)


class Overlap:
    """Finds where a text goes on after another, though it may repeat the end of it, or all.

    The overlap is the longest end of `before` with which the new text begins, if that is at least `MIN_OVERLAP`
    characters, or all of `before`. While a longer one is still possible, what has come is held back.
    """

    def __init__(self, before: str) -> None:
        self.decided = not before
        self.removed = 0
        self._before = before
        self._held = ""

    def feed(self, text: str) -> str:
        """More of the new text; returns what is new in it as far as that is known."""
        if self.decided:
            return text
        self._held += text
        return "" if self._may_grow() else self.settle()

    def settle(self) -> str:
        """No more comes, or no longer overlap is possible: what is new in the text held back."""
        if self.decided:
            return ""
        self.decided = True
        self.removed = self._length()
        rest, self._held, self._before = self._held[self.removed :], "", ""
        return rest

    def _may_grow(self) -> bool:
        """Whether all that is held back stands somewhere in the text before, and that does not end there."""
        before, held = self._before, self._held
        if before.startswith(held) and len(before) > len(held):
            return True
        # The last place at which an overlap of sufficient length could begin decides where to search.
        end = len(before) - max(1, MIN_OVERLAP - len(held))
        return end >= len(held) and held in before[:end]

    def _length(self) -> int:
        before, held = self._before, self._held
        if held.startswith(before):
            return len(before)
        longest = min(len(before), len(held))
        lengths = range(longest, MIN_OVERLAP - 1, -1)
        return next((length for length in lengths if before.endswith(held[:length])), 0)


class Splice:
    """Makes the records of a second answer the rest of a first one.

    Its beginning is left out, and so are its bytes: their ids and numbers are another answer's. Usage is the sum.

    Args:
        before: the text that clients have.
        spent: what the attempts before have used, where that is known.
        reason: the code of the failure that it mends; None when clients have seen no content, and need not know.
    """

    def __init__(self, before: str, spent: Usage | None, reason: str | None) -> None:
        self.heard = False
        self._overlap = Overlap(before)
        self._characters = len(before)
        self._spent = spent
        self._reason = reason
        self._usage: Usage | None = None  # told before there was any content, and not handed on yet

    def opening(self) -> list[Record]:
        """What marks the place; asked for when what follows it is known."""
        if self._reason is None:
            return []
        data: dict[str, Any] = {"after": self._characters, "removed": self._overlap.removed, "reason": self._reason}
        return [(Notice(CONTINUED, "The answer broke off here, and another attempt goes on with it.", data), None)]

    def take(self, records: Sequence[Record]) -> list[Record]:
        """The records that clients are to see, without anyone's bytes."""
        events: list[Event] = []
        for event, _ in records:
            if isinstance(event, StreamStarted | Opaque):
                continue
            if isinstance(event, TextDelta):
                self.heard = True
                if text := self._overlap.feed(event.text):
                    events.append(TextDelta(text, event.choice))
            elif isinstance(event, Usage):
                self._usage = event
                if self._overlap.decided and self.heard:
                    events += self._summed()
            else:
                if text := self._overlap.settle():
                    events.append(TextDelta(text))
                if isinstance(event, StreamFinished):
                    events += self._summed()
                events.append(event)
        return [(event, None) for event in events]

    def _summed(self) -> list[Event]:
        """The usage that was not handed on yet, with what was spent before."""
        usage, self._usage = self._usage, None
        total = None if usage is None else add_usage(self._spent, usage)
        return [] if total is None else [total]


def add_usage(one: Usage | None, other: Usage | None) -> Usage | None:
    """What two attempts have used together, as far as it is known."""
    if one is None or other is None:
        return one or other
    details = _add_details(one.details or {}, other.details or {})
    return Usage(one.input_tokens + other.input_tokens, one.output_tokens + other.output_tokens, details or None)


def _add_details(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Breakdowns are nested numbers; what is no number is the later one's."""
    total = {**one, **other}
    for key in one.keys() & other.keys():
        first, second = one[key], other[key]
        if isinstance(first, dict) and isinstance(second, dict):
            total[key] = _add_details(first, second)
        elif isinstance(first, int | float) and isinstance(second, int | float):
            total[key] = first + second
    return total
