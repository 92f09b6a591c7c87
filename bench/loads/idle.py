"""Streams, or sockets, on which nothing happens: what each of them weighs."""

from collections.abc import Callable, Sequence
from typing import Protocol

from bench import proc
from bench.loads.fan_out import Watchers, begin, create, gathering
from bench.loads.run import Run, Streamed
from bench.tally import Tally
from bench.wire import Script

_APART = 2_000_000
_WARM = 50
_PATIENCE = 20_000_000_000


class Idler(Protocol):
    """A client that waits, once it has its first chunk."""

    @property
    def tally(self) -> Tally: ...

    @property
    def over(self) -> bool:
        """It will not wait any more: something went wrong."""

    def cut(self) -> None: ...


def idle(run: Run, *, streams: int, settle: float) -> None:
    """Opens `streams` whose upstream falls silent after one chunk; compares the target's memory."""

    def open_all(count: int) -> list[Streamed]:
        group = [Streamed(run, Script(n=1, hold=1), lambda _: None) for _ in range(count)]
        start = run.soon()
        for number, stream in enumerate(group):
            stream.start_at(start + number * _APART)
        return group

    _weigh(run, open_all, streams, settle, "streams")


def idle_sockets(run: Run, *, way: str, sockets: int, settle: float) -> None:
    """Opens `sockets` that watch one stream, on which each gets one chunk, and then nothing; compares the memory."""

    def open_all(count: int) -> list[_Socket]:
        gather = gathering(run, count)
        stream = create(run, Script(n=1, hold=1, first=int(gather * 1e6)))
        group = [_Socket(run, run.fan_out.ways[way], stream, 1, 2, lambda: None) for _ in range(count)]
        begin(run, group, run.soon())
        return group

    _weigh(run, open_all, sockets, settle, "sockets")


class _Socket(Watchers):
    @property
    def tally(self) -> Tally:
        return self.tallies[0]


def _weigh(run: Run, open_all: Callable[[int], Sequence[Idler]], count: int, settle: float, what: str) -> None:
    """Compares the target's memory before and after; it is warm before."""
    warm = open_all(min(_WARM, count))
    _all_answered(run, warm)
    for idler in warm:
        idler.cut()
    _pause(run, settle)
    pids = proc.family(run.place.target_pid)
    before = proc.pss_bytes(pids)
    group = open_all(count)
    _all_answered(run, group)
    _pause(run, settle)
    after = proc.pss_bytes(pids)
    answered = sum(bool(idler.tally.first_at) for idler in group)
    if answered < count:
        run.result.saturated = True
        run.result.notes.append(f"only {answered:,} of {count:,} {what} began in time")
    if answered:
        run.result.values["pss_kib"] = max(0, after - before) / 1024 / answered
    run.result.values["before_mib"] = before / 2**20
    for idler in group:
        idler.cut()
    run.result.unfinished = 0


def _all_answered(run: Run, group: Sequence[Idler]) -> None:
    """Waits until each has its chunk."""
    run.stop_when(lambda: all(idler.tally.first_at or idler.over for idler in group))
    run.drive(until=run.soon() + _PATIENCE)


def _pause(run: Run, seconds: float) -> None:
    run.drive(until=run.soon() + int(seconds * 1e9))
