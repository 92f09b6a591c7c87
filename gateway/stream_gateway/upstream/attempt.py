"""An attempt: what stands between one provider's records and the answer that clients see.

- Where another target could take over, what comes before the first *content* (text, reasoning, a refusal, a tool call)
  or a good end is held back: until then nobody has been shown anything. Where there is only one target, that beginning
  is shown at once, and left out when the target is asked again.
- From the first content on records go straight through.
- A failure is never handed on. It is the attempt's outcome, and what becomes of it is the generation's decision.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import msgspec
import trio

from stream_gateway.upstream.continuation import Splice, Transcript
from stream_gateway.upstream.provider import Answer, Valve
from stream_gateway.upstream.routing.target import Kind, Place
from stream_gateway.upstream.sink import Silence
from stream_protocols.events import (
    COVERED,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    Usage,
)

CONTENT: Final = frozenset({TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta})
"""What a client has seen cannot be taken back: with the first of these an attempt is bound to its answer."""

MAX_HELD: Final = 262_144
"""Bytes held back at most: a provider that sends so much before any content has begun, whatever it means by it."""

HELD_OVERHEAD: Final = 200
"""Bytes that a held record counts for beside its frame."""


class AttemptStatus(msgspec.Struct):
    """An attempt as its stream's resource shows it.

    `started` is Unix time; `first_token` and `duration` are seconds after that; `code` says how it failed.
    """

    target: str
    kind: Kind
    started: float
    outcome: Literal["running", "finished", "failed", "cancelled"] = "running"
    first_token: float | None = None
    duration: float | None = None
    code: str | None = None


class Attempt:
    """One try at one target; an `Answer` to its provider.

    Attributes:
        place: where it is made.
        status: how others see it.
        scope: cancels it, by itself at its deadline.
        failed: the failure's record, if it has failed.
        finished: whether the answer is whole.
        opened: whether clients have seen its beginning.
        shown: whether they have seen any content of it, or its end.
        usage: the tokens that its provider has told.
        rest: what is left to do at the provider, which has been asked.
        settled: set when it has content, or none will come; only where somebody waits for that.

    Args:
        deadline: when it is cancelled, as Trio counts time; whoever makes it may put that off.
        raw: whether the provider's bytes are of the answer's dialect.
        hold: whether its beginning is held back.
        transcript: is told what clients are shown, if that may have to be continued.
        splice: joins it to what clients have already.
        began: called at the first content, or at a good end without any.
    """

    def __init__(
        self,
        answer: Answer,
        place: Place,
        status: AttemptStatus,
        *,
        deadline: float,
        raw: bool,
        hold: bool,
        silence: Silence | None,
        transcript: Transcript | None,
        splice: Splice | None,
        began: Callable[["Attempt"], None],
    ) -> None:
        self.source = answer.source
        self.over = False
        self.valve: Valve | None = None
        self.silence = silence
        self.place = place
        self.status = status
        self.scope = trio.CancelScope(deadline=deadline)
        self.failed: Record | None = None
        self.finished = False
        self.opened = False
        self.shown = False
        self.usage: Usage | None = None
        self.settled: trio.Event | None = None
        self.rest: Awaitable[None]
        self.extend: Callable[[Sequence[Record]], None] = self._begin
        self._answer = answer
        self._raw = raw
        self._most = MAX_HELD if hold else 0
        self._transcript = transcript
        self._splice = splice
        self._began = began
        self._content = False
        self._held: list[Record] = []
        self._held_bytes = 0
        self._write = answer.extend if raw and transcript is None else self._note_and_write

    def known_as(self, alias: str) -> None:
        """See `Answer`. Only in its own dialect does a client learn that name."""
        if self._raw:
            self._answer.known_as(alias)

    async def flowing(self) -> None:
        """See `Answer`."""
        await self._answer.flowing()

    def fail(self, failure: StreamFailed) -> None:
        """It has failed, for a reason that the provider did not give itself."""
        self._fail((failure, None))

    def give_up(self) -> None:
        """Nobody wants it any more."""
        self.over = True
        self.extend = _ignore
        self.scope.cancel()

    # ---- what its provider calls as `extend`

    def _begin(self, records: Sequence[Record]) -> None:
        """Wait for content, which may be among these records."""
        records = self._look(records)
        if self._splice is not None:
            records = self._splice.take(records)
        bound = self.finished or any(map(_is_content, records))
        if bound or (self._splice is not None and self._splice.heard):
            self._speak()
        if bound:
            self._bind(records)
        elif self.failed is None and self._splice is None:
            self._hold(records)

    def _hold(self, records: Sequence[Record]) -> None:
        self._held += records
        # A beginning that some frame will stand for is nothing yet: a vendor's client would see nothing of it.
        self._held_bytes += sum(HELD_OVERHEAD + len(raw or b"") for _, raw in records if raw != COVERED)
        if self._held_bytes <= self._most:
            return
        if self._most:
            self._speak()
            self._bind([])
        else:
            self._show([])

    def _speak(self) -> None:
        """It has content, though that may be known to clients already; or it is whole without any."""
        if not self._content:
            self._content = True
            self._began(self)

    def _bind(self, records: Sequence[Record]) -> None:
        """From here on nobody else's answer can take the place of this one."""
        self.shown = True
        if not self.over:
            self.extend = self._pass if self._splice is None else self._pass_spliced
        self._show(records)

    def _show(self, records: Sequence[Record]) -> None:
        """Let clients see what was held back, and these records."""
        self.opened = True
        self._answer.valve = self.valve
        first = self._held if self._splice is None else self._splice.opening()
        self._held = []
        self._write([*first, *records])

    def _pass(self, records: Sequence[Record]) -> None:
        if len(records) != 1 or type(records[0][0]) is not TextDelta:  # as nearly every read is: one piece of text
            records = self._look(records)
        self._write(records)

    def _pass_spliced(self, records: Sequence[Record]) -> None:
        if self._splice is not None:
            self._write(self._splice.take(self._look(records)))

    def _note_and_write(self, records: Sequence[Record]) -> None:
        if self._transcript is not None:
            self._transcript.note(records)
        self._answer.extend(records if self._raw else [(event, None) for event, _ in records])

    def _look(self, records: Sequence[Record]) -> Sequence[Record]:
        """Take note of usage and of the end; returns the records without a failure."""
        for index, record in enumerate(records):
            event = record[0]
            if isinstance(event, Usage):
                self.usage = event
            elif isinstance(event, StreamFinished):
                self.over = self.finished = True
                self.extend = _ignore
            elif isinstance(event, StreamFailed):
                self._fail(record)
                return records[:index]
        return records

    def _fail(self, record: Record) -> None:
        self.over = True
        self.failed = record if self._raw else (record[0], None)
        self.extend = _ignore
        self.scope.cancel()  # whatever else would come of it, the next attempt does not wait for that


def _is_content(record: Record) -> bool:
    return type(record[0]) in CONTENT


def _ignore(records: Sequence[Record]) -> None:
    """What comes after the end."""
