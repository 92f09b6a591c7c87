"""The log as a state machine against a plain list that forgets nothing."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_gateway.streams.log import Log
from stream_protocols.events import COVERED, Record, StreamFinished, StreamStarted, TextDelta
from tests.gateway.streams.rig import total


class LogMachine(RuleBasedStateMachine):
    """Whatever is appended and trimmed: kept records stay what they were, under their numbers, in whole frames."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log("s", "e")
        self.all: list[Record] = []
        self.frame_ends = {0}
        self.dropped = 0

    @precondition(lambda self: not self.log.sealed)
    @rule(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5), width=st.integers(0, 40))
    def append(self, sizes: list[int], width: int) -> None:
        records: list[Record] = []
        for size in sizes:
            text = TextDelta(f"{len(self.all) + len(records)}".ljust(width))
            records += [(text, COVERED)] * (size - 1) + [(text, b"{}")]
            self.frame_ends.add(len(self.all) + len(records))
        self._extend(records)

    @precondition(lambda self: not self.all)
    @rule()
    def start(self) -> None:
        self.frame_ends.add(1)
        self._extend([(StreamStarted("m"), COVERED)])

    @precondition(lambda self: not self.log.sealed)
    @rule()
    def seal(self) -> None:
        self.frame_ends.add(len(self.all) + 1)
        self._extend([(StreamFinished("stop"), None)])
        self.log.seal()

    def _extend(self, records: list[Record]) -> None:
        assert self.log.extend(records) == total(records)
        self.all += records

    @rule(floor=st.integers(0, 60), goal=st.integers(0, 5000))
    def trim(self, floor: int, goal: int) -> None:
        before = self.log.size
        could = max(end for end in self.frame_ends if end <= max(floor, self.dropped))
        freed = self.log.trim(floor, goal)
        assert freed == before - self.log.size
        # Either the goal is met, or nothing more could go; and nothing went that need not.
        assert self.log.size <= goal or self.log.oldest - 1 == could
        if freed:
            last = max(end for end in self.frame_ends if end < self.log.oldest - 1)
            assert self.log.size + total(self.all[last : self.log.oldest - 1]) > goal
        assert self.log.oldest - 1 <= could
        self.dropped = self.log.oldest - 1

    @rule(number=st.integers(0, 60), bound=st.integers(0, 3000))
    def read(self, number: int, bound: int) -> None:
        number = min(number, len(self.all))
        if number < self.dropped:
            with pytest.raises(LookupError):
                self.log.read(number, bound)
            return
        records = self.log.read(number, bound)
        assert records == self.all[number : number + len(records)]
        assert records or number == len(self.all)
        end = number + len(records)
        assert end in self.frame_ends
        frame_end = min((frame_end for frame_end in self.frame_ends if frame_end > number), default=end)
        last = max((frame_end for frame_end in self.frame_ends if frame_end < end), default=0)
        assert end == frame_end or total(self.all[number : last + 1]) <= bound

    @invariant()
    def what_is_kept_is_what_was_appended(self) -> None:
        log = self.log
        assert log.head == len(self.all)
        assert log.oldest == self.dropped + 1
        assert log.after(self.dropped) == self.all[self.dropped :]
        assert log.size == total(self.all[self.dropped :])
        assert self.dropped in self.frame_ends
        for number in (0, self.dropped, self.dropped + 1, log.head, log.head + 1):
            kept = self.dropped < number <= log.head
            assert log.record(number) == (self.all[number - 1] if kept else None)


LogMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestLog = LogMachine.TestCase
