"""Counts what arrived: every chunk once, in order, and how old it was."""

from array import array

from bench.histogram import Histogram
from bench.wire import Scanner


class Recorder:
    """The latencies of all streams of a run."""

    def __init__(self) -> None:
        self.received = array("q")
        self.latencies = array("q")

    def histogram(self, start: int, stop: int) -> Histogram:
        pairs = zip(self.received, self.latencies, strict=True)
        return Histogram.of(latency for received, latency in pairs if start <= received < stop)

    def count(self, start: int, stop: int) -> int:
        return sum(start <= received < stop for received in self.received)

    def timeline(self, start: int, stop: int, step: int) -> list[list[float]]:
        """[seconds since start, p50, p99, maximum] of every `step` nanoseconds; latencies in ns."""
        slices: dict[int, list[int]] = {}
        for received, latency in zip(self.received, self.latencies, strict=True):
            if start <= received < stop:
                slices.setdefault((received - start) // step, []).append(latency)
        return [
            [index * step / 1e9, ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1]]
            for index, values in sorted(slices.items())
            if (ordered := sorted(values))
        ]


class Order:
    """The order of one stream's chunks. They are numbered from 0 without a hole."""

    __slots__ = ("_missing", "disordered", "next", "repeated")

    def __init__(self, first: int = 0) -> None:
        self.next = first
        self._missing: set[int] = set()
        self.repeated = 0
        self.disordered = 0

    @property
    def lost(self) -> int:
        return len(self._missing)

    def see(self, sequence: int) -> None:
        if sequence == self.next:
            self.next += 1
        elif sequence > self.next:
            self._missing.update(range(self.next, sequence))
            self.next = sequence + 1
        elif sequence in self._missing:
            self._missing.remove(sequence)
            self.disordered += 1
        else:
            self.repeated += 1


class Tally:
    """One stream as a client saw it."""

    __slots__ = ("_recorder", "_scanner", "first_at", "last_at", "order")

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._recorder = recorder
        self._scanner = Scanner()
        self.order = Order()
        self.first_at = 0
        self.last_at = 0

    def body(self, data: bytes, now: int) -> None:
        marks = self._scanner.feed(data)
        if not marks:
            return
        if not self.first_at:
            self.first_at = now
        self.last_at = now
        order, recorder = self.order, self._recorder
        for sequence_text, stamp in marks:
            sequence = int(sequence_text)
            if sequence == order.next:
                order.next = sequence + 1
            else:
                order.see(sequence)
            if recorder is not None:
                recorder.received.append(now)
                recorder.latencies.append(now - int(stamp))
