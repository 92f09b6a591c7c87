"""The heart as a state machine: log, stream and subscriptions against a model that forgets nothing.

Whatever clients and provider do, no subscriber ever misses or repeats anything, a gap is always announced, and
the log never holds more than it may. Native clients and clients of the provider's own dialect, with and without
chunkers, are mixed, and take over each other's cursors.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_gateway.config import StreamSettings
from stream_gateway.guard.principal import ANONYMOUS
from stream_gateway.server.delivery import Start, gap_notice, resume
from stream_gateway.server.formats import renderer_for
from stream_gateway.streams.room import LAGGED
from stream_protocols.chunking.registry import chunking
from stream_protocols.cursor import format_cursor, parse_cursor
from stream_protocols.dialects.native import NativeEncoder
from stream_protocols.dialects.openai_chat import OpenAIChatDecoder, OpenAIChatEncoder
from stream_protocols.errors import CursorExpired, UnknownStream
from stream_protocols.events import COVERED, Opaque, Record, StreamCancelled, StreamStarted
from tests.gateway.streams.model import Delivery, Model, meaning, others, text_of, understood
from tests.gateway.streams.outlet import SlowOutlet
from tests.gateway.streams.rig import Reader, Rig, total
from tests.gateway.streams.trio_thread import TrioThread
from tests.protocols.dialects.openai_chat.frames import DONE, Json, choice, chunk, sse

RETAIN = 3000
STALL = 10.0
KEEP = 100.0
CHUNKINGS = [
    "passthrough",
    "passthrough",
    "adaptive",
    "words",
    "sentences",
    "json",
    "bytes:3",
    "bytes:40",
    "interval:40",
]


@contextmanager
def small_steps() -> Iterator[None]:
    """Bounds so low that a handful of records and clients goes beyond them."""
    with (
        mock.patch("stream_gateway.streams.subscription.DRAIN_BYTES", 700),
        mock.patch("stream_gateway.streams.stream.FANOUT_SLICE", 2),
        mock.patch("stream_gateway.streams.fanout.FANOUT_SLICE", 2),
    ):
        yield


class Client:
    """One client: its subscription, where that began, and what has arrived."""

    def __init__(self, reader: Reader, dialect: str, chunking: str, start: Start) -> None:
        self.reader = reader
        self.dialect = dialect
        self.chunking = chunking
        self.start = start

    @property
    def attached(self) -> bool:
        return self.reader.outcome == "running"

    def deliveries(self) -> list[Delivery]:
        """What has arrived whole; a gap, and nothing else, has no id."""
        events = self.reader.outlet.events()
        if self.start.gap is not None and events:
            notice = json.loads(events.pop(0).data)
            assert notice["code"] == "gap"
            assert notice["data"]["missed"] == self.start.gap.missed
        return [(parse_cursor(event.id or "").position.seq, event.data) for event in events]

    def last_seen(self) -> tuple[int, int]:
        ids = [event.id for event in self.reader.outlet.events() if event.id is not None]
        if not ids:
            return self.start.after, self.start.offset
        position = parse_cursor(ids[-1]).position
        return position.seq, position.offset


somebody_is_attached = precondition(lambda self: any(client.attached for client in self.clients))
somebody_has_left = precondition(lambda self: not all(client.attached for client in self.clients))
it_can_be_found = precondition(lambda self: not self.forgotten)


class StreamMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = small_steps()
        self.patches.__enter__()
        self.trio = TrioThread()
        config = StreamSettings(retain_bytes=RETAIN, stall_timeout=STALL, retain_for=KEEP)
        self.rig = Rig(self.trio.nursery, config, 10**9)
        self.trio.do(self.trio.nursery.start, self.rig.registry.run)
        self.stream = self.trio.do(lambda: self.rig.stream(dialect="openai_chat", started=False))
        self.decoder = OpenAIChatDecoder()
        self.model = Model()
        self.clients: list[Client] = []
        self.words = 0
        self.last_append = 0
        self.forgotten = False
        self.extend([(StreamStarted("demo"), COVERED)])

    def teardown(self) -> None:
        try:
            self.trio.stop()
        finally:
            self.patches.__exit__(None, None, None)

    # ---- the provider

    def extend(self, records: list[Record]) -> None:
        self.model.records += records
        self.last_append = total(records)
        self.trio.do(self.stream.extend, records)

    def word(self, width: int) -> str:
        self.words += 1
        return f"<{self.words}{'é' * width}>"

    @precondition(lambda self: not self.stream.log.sealed and not self.stream.paused)
    @rule(kinds=st.lists(st.sampled_from("tttrcnfuo"), min_size=1, max_size=4), width=st.integers(0, 30))
    def append(self, kinds: list[str], width: int) -> None:
        self.extend(self.decoder.feed(sse(*(self.frame(kind, width) for kind in kinds))))

    def frame(self, kind: str, width: int) -> Json:
        text = choice({"content": self.word(width)})
        if kind == "r":
            text["delta"]["reasoning"] = self.word(width)
        if kind == "c":
            function = {"name": "f", "arguments": self.word(width)}
            text["delta"]["tool_calls"] = [{"index": 0, "id": "c", "function": function}]
        if kind == "f":
            text["finish_reason"] = "stop"
        usage = {"prompt_tokens": 1, "completion_tokens": self.words} if kind == "u" else None
        if kind == "o":
            return chunk(choice({"role": "assistant"}), vendor=self.word(width))
        return chunk(text, *([choice({"content": self.word(width)}, 1)] if kind == "n" else []), usage=usage)

    @precondition(lambda self: not self.stream.log.sealed)
    @rule(how=st.sampled_from(["done", "error", "cut", "cancel"]))
    def seal(self, how: str) -> None:
        if how == "done":
            self.extend(self.decoder.feed(DONE))
        elif how == "error":
            self.extend(self.decoder.feed(sse({"error": {"message": "no"}})))
        elif how == "cut":
            self.extend(self.decoder.close())
        else:
            self.extend([(StreamCancelled("client"), None)])

    # ---- clients

    @it_can_be_found
    @rule(
        dialect=st.sampled_from(["native", "openai_chat"]),
        chunking=st.sampled_from(CHUNKINGS),
        seq=st.integers(0, 60),
        offset=st.integers(0, 4),
        room=st.just(math.inf) | st.integers(0, 400),
    )
    def subscribe(self, dialect: str, chunking: str, seq: int, offset: int, room: float) -> None:
        """A client that comes with a cursor on any earlier position, inside frames and texts too."""
        head = len(self.model.records)
        seq %= head + 1
        if seq == head or offset >= len(text_of(self.model.records[seq][0])):
            offset = 0
        self.come(dialect, chunking, seq, offset, room)

    def come(self, dialect: str, chunking: str, seq: int, offset: int, room: float) -> None:
        log = self.stream.log
        cursor = format_cursor(self.stream.id, log.epoch, seq, offset)
        lost = log.oldest - 1 - seq
        if lost > 0 and dialect != "native":
            with pytest.raises(CursorExpired, match=f"^{lost} events"):
                resume(self.stream, cursor, dialect)
            self.come(dialect, chunking, log.oldest - 1, 0, room)
            return
        start = self.trio.do(resume, self.stream, cursor, dialect)
        if lost > 0:
            assert start.gap is not None
            assert (start.after, start.offset, start.gap.missed) == (log.oldest - 1, 0, lost)
        else:
            assert start == Start(seq, offset)
        self.clients.append(self.trio.do(self.attach, dialect, chunking, start, room))

    async def attach(self, dialect: str, name: str, start: Start, room: float) -> Client:
        renderer = renderer_for(self.stream, dialect)
        reader = Reader(self.stream, SlowOutlet(room), renderer, start.after, start.offset, chunking(name)())
        if start.gap is not None:
            reader.outlet.write_now(renderer.notice(gap_notice(self.stream, start.gap)))
        await self.trio.nursery.start(reader.run)
        return Client(reader, dialect, name, start)

    def some(self, index: int, *, attached: bool) -> Client:
        clients = [client for client in self.clients if client.attached is attached]
        return clients[index % len(clients)]

    @somebody_is_attached
    @rule(index=st.integers(0, 9), room=st.sampled_from([1, 30, 300, 3000, math.inf]))
    def read(self, index: int, room: float) -> None:
        self.trio.do(self.some(index, attached=True).reader.outlet.allow, room)

    @somebody_is_attached
    @rule(index=st.integers(0, 9))
    def read_no_more(self, index: int) -> None:
        self.some(index, attached=True).reader.outlet.room = 0

    @somebody_is_attached
    @rule(index=st.integers(0, 9))
    def detach(self, index: int) -> None:
        client = self.some(index, attached=True)
        self.trio.do(client.reader.scope.cancel)
        assert not client.attached

    @somebody_has_left
    @it_can_be_found
    @rule(
        index=st.integers(0, 9),
        dialect=st.sampled_from(["native", "openai_chat"]),
        chunking=st.sampled_from(CHUNKINGS),
        room=st.sampled_from([0, math.inf]),
    )
    def come_back(self, index: int, dialect: str, chunking: str, room: float) -> None:
        """A client that shows the last cursor it saw, perhaps for another dialect and chunking from now on."""
        self.come(dialect, chunking, *self.some(index, attached=False).last_seen(), room)

    @somebody_is_attached
    @rule(index=st.integers(0, 9))
    def keep_alive(self, index: int) -> None:
        self.trio.do(self.some(index, attached=True).reader.subscription.keep_alive)

    # ---- time

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.1]))
    def wait(self, seconds: float) -> None:
        """Somebody's patience ends. While the stream waits for room, nothing is held."""
        if not self.stream.paused:
            self.trio.jump(seconds)

    @precondition(lambda self: self.stream.paused)
    @rule()
    def stall(self) -> None:
        """Those who hold the stream up are let go, and it goes on."""
        surplus = self.stream.log.surplus(RETAIN)
        attached = [client for client in self.clients if client.attached]
        laggards = [client for client in attached if client.reader.subscription.position < surplus]
        self.trio.jump(STALL + 0.1)
        assert laggards
        assert [client for client in attached if client.reader.outcome == LAGGED] == laggards
        assert not self.stream.paused

    @precondition(lambda self: self.stream.log.sealed)
    @rule()
    def expire(self) -> None:
        self.trio.jump(KEEP + 0.1)
        if self.stream.subscribers:
            assert self.rig.registry.get(self.stream.id, ANONYMOUS) is self.stream
        else:
            self.forgotten = True
            with pytest.raises(UnknownStream):
                self.rig.registry.get(self.stream.id, ANONYMOUS)
            assert self.rig.budget.used == 0

    # ---- what must hold

    @invariant()
    def nobody_misses_or_repeats(self) -> None:
        for client in self.clients:
            start, deliveries = client.start, client.deliveries()
            if client.chunking != "passthrough":
                self.it_has_all_the_words(client, deliveries)
                continue
            if client.dialect == "native":
                expected = self.model.native(NativeEncoder(), start.after, start.offset)
            else:
                expected = self.model.vendors(OpenAIChatEncoder(self.stream.source), start.after, start.offset)
            assert deliveries == expected[: len(deliveries)]
            if not client.reader.outlet.rest and client.reader.outcome in ("running", None):
                assert deliveries == expected
            if deliveries:
                events = [event for _, payload in deliveries for event in understood(payload, client.dialect)]
                assert meaning(events) == self.model.meaning(start.after, start.offset, deliveries[-1][0])

    def it_has_all_the_words(self, client: Client, deliveries: list[Delivery]) -> None:
        """Up to the cursor it would come back with: however they were merged and divided."""
        start, subscription = client.start, client.reader.subscription
        seq, inside = client.last_seen()
        events = [event for _, payload in deliveries for event in understood(payload, client.dialect)]
        assert meaning(events) == self.model.meaning(start.after, start.offset, seq, inside)
        if client.dialect == "native":
            assert others(events) == self.model.others(start.after, seq)
        if not client.reader.outlet.rest and client.reader.outcome in ("running", None):
            assert subscription.caught_up
            held = self.model.records[subscription.position :]
            assert all(text_of(event) or isinstance(event, Opaque) for event, _ in held)
            assert not held or client.attached

    @invariant()
    def the_log_keeps_what_it_should_and_no_more(self) -> None:
        log = self.stream.log
        kept = self.model.records[log.oldest - 1 :]
        assert log.head == len(self.model.records)
        assert log.after(log.oldest - 1) == kept
        assert log.size == total(kept)
        assert log.size <= RETAIN + self.last_append or log.sealed
        if log.oldest > 1:
            before = max(first for first, _, _ in self.model.frames() if first < log.oldest)
            assert total(self.model.records[before - 1 :]) > RETAIN
        assert log.sealed or self.rig.budget.used == log.size

    @invariant()
    def the_counts_are_right(self) -> None:
        attached = sum(client.attached for client in self.clients)
        assert self.stream.subscribers == self.rig.registry.subscriptions == attached
        for client in self.clients:
            assert client.attached or client.reader.outcome in (None, "cancelled", LAGGED)


StreamMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestStream = StreamMachine.TestCase
