"""Whatever one vendor says, a client of another hears: every pair, every cut, streamed and whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Decoder, Dialect, SequenceEncoder, Source
from stream_protocols.dialects.registry import DIALECTS
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Event,
    ReasoningDelta,
    Record,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
    last_usage,
)
from stream_protocols.request import Request
from stream_protocols.sse import encode_event
from tests.protocols.dialects.strategies import texts

VENDORS = DIALECTS.values()
PAIRS = pytest.mark.parametrize(
    ("provider", "client"),
    [pytest.param(one, other, id=f"{one.name}-{other.name}") for one in VENDORS for other in VENDORS],
)
ALL = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)

SOURCE = Source("S", "m", 7)
ASKED = Request(dialect="openai_chat", model="m", stream=True, body=b"{}", include_usage=True)


class Said(NamedTuple):
    """What an answer comes to, however it was cut into events."""

    text: str
    reasoning: str
    calls: tuple[tuple[str, str, str], ...]
    """Id, name and arguments of each."""
    reason: str
    usage: tuple[int, int, int, int] | None
    """Tokens in and out, and of them those of the cache and of reasoning."""


def said(events: Sequence[Event]) -> Said:
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            call = calls.setdefault(event.index, ["", "", ""])
            call[0], call[1] = call[0] or event.id, call[1] or event.name
            call[2] += event.arguments
    last = events[-1]
    assert isinstance(last, StreamFinished), last
    reasons = [event.reason for event in events if isinstance(event, ChoiceFinished)]
    assert reasons == [last.reason]
    return Said(
        "".join(event.text for event in events if isinstance(event, TextDelta)),
        "".join(event.text for event in events if isinstance(event, ReasoningDelta)),
        tuple((call[0], call[1], json.dumps(json.loads(call[2]))) for _, call in sorted(calls.items())),
        last.reason,
        _counts(last_usage(events)),
    )


def _counts(usage: Usage | None) -> tuple[int, int, int, int] | None:
    if usage is None:
        return None
    details = usage.details or {}
    cached = details.get("input", {}).get("cached_tokens", 0)
    return usage.input_tokens, usage.output_tokens, cached, details.get("output", {}).get("reasoning_tokens", 0)


# Answers


_arguments = st.dictionaries(texts, texts | st.integers(0, 9) | st.lists(texts, max_size=2), max_size=2).map(json.dumps)


@st.composite
def calls(draw: st.DrawFn) -> list[Event]:
    """Some calls, one after the other or in turns; the arguments of each in fragments."""
    rows: list[list[Event]] = []
    for index, arguments in enumerate(draw(st.lists(_arguments, max_size=3))):
        cut = draw(st.integers(0, len(arguments)))
        rows.append(
            [
                ToolCallDelta(index, f"call_{index}", f"f{index}"),
                ToolCallDelta(index, arguments=arguments[:cut]),
                ToolCallDelta(index, arguments=arguments[cut:]),
            ]
        )
    if draw(st.booleans()):
        return [event for row in rows for event in row]
    return [event for turn in zip(*rows, strict=True) for event in turn]


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """A whole answer of one choice, as a stream has it."""
    reasoning = [ReasoningDelta(text) for text in draw(st.lists(texts, max_size=3))]
    spoken = [TextDelta(text) for text in draw(st.lists(texts, max_size=4))]
    called = draw(calls())
    reason = "tool_calls" if called else draw(st.sampled_from(("stop", "length", "content_filter")))
    read, thought = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    details = {"input": {"cached_tokens": read}, "output": {"reasoning_tokens": thought}}
    usage = Usage(draw(st.integers(9, 99)), draw(st.integers(9, 99)), details)
    return [StreamStarted("m", 7), *reasoning, *spoken, *called, ChoiceFinished(reason), usage, StreamFinished(reason)]


# The wire


def wire(dialect: Dialect, records: Iterable[Record]) -> bytes:
    """The body that a client of a dialect gets; a vendor's own frames as they were."""
    encoder = dialect.encoder(SOURCE, ASKED)
    body = b""
    for event, raw in records:
        if not isinstance(encoder, SequenceEncoder):
            payload = encoder.encode(event) if raw is None else raw
            body += encode_event(payload) if payload else b""
            continue
        for frame in encoder.encode(event) if raw is None else encoder.relay(event, raw):
            body += encode_event(frame.payload, event=frame.name.decode() or None)
    return body


def decoded(decoder: Decoder, body: bytes, cuts: Iterable[int] = ()) -> list[Record]:
    places = sorted({cut % (len(body) + 1) for cut in cuts})
    records: list[Record] = []
    for start, end in itertools.pairwise([0, *places, len(body)]):
        records += decoder.feed(body[start:end])
    return records + decoder.close()


def events_of(records: Iterable[Record]) -> list[Event]:
    return [event for event, _ in records]


cutting = st.lists(st.integers(0, 10_000), max_size=12)


@PAIRS
@given(answer=answers(), cuts=cutting)
def test_an_answer_is_the_same_in_every_dialect(
    provider: Dialect, client: Dialect, answer: list[Event], cuts: list[int]
) -> None:
    body = wire(provider, [(event, None) for event in answer])
    records = decoded(provider.decoder(), body, cuts)
    assert said(events_of(records)) == said(answer)
    started: list[Record] = [(StreamStarted("m", 7), COVERED if provider is client else None)]
    own = records if provider is client else [(event, None) for event in events_of(records)]
    shown = wire(client, [*started, *own])
    assert said(events_of(decoded(client.decoder(), shown, cuts))) == said(answer)
    if provider is client:
        assert shown == body


@PAIRS
@given(answer=answers(), message=texts.filter(bool), cuts=cutting)
def test_a_failure_in_mid_stream_is_one_in_every_dialect(
    provider: Dialect, client: Dialect, answer: list[Event], message: str, cuts: list[int]
) -> None:
    broken: list[Event] = [*answer[:-3], StreamFailed("overloaded_error", message, 529, "overloaded_error")]
    body = wire(provider, [(event, None) for event in broken])
    records = decoded(provider.decoder(), body, cuts)
    own = records if provider is client else [(event, None) for event in events_of(records)]
    *before, last = events_of(decoded(client.decoder(), wire(client, own), cuts))
    assert isinstance(last, StreamFailed)
    assert last.message == message
    assert not any(isinstance(event, ChoiceFinished | StreamFinished | StreamFailed) for event in before)


@ALL
@given(answer=answers(), cuts=cutting)
def test_cuts_change_nothing(dialect: Dialect, answer: list[Event], cuts: list[int]) -> None:
    body = wire(dialect, [(event, None) for event in answer])
    assert decoded(dialect.decoder(), body, cuts) == decoded(dialect.decoder(), body)


@ALL
@given(answer=answers())
def test_a_whole_answer_says_what_the_stream_said(dialect: Dialect, answer: list[Event]) -> None:
    body = dialect.encode_reply(SOURCE, answer)
    assert said(events_of(dialect.decode_reply(body))) == said(answer)
    usage = dialect.inspect_reply(body)
    assert isinstance(usage, Usage)
    assert _counts(usage) == said(answer).usage


@ALL
@given(answer=answers(), place=st.floats(0, 1, exclude_max=True))
def test_an_answer_that_is_cut_off_is_no_answer(dialect: Dialect, answer: list[Event], place: float) -> None:
    """However little is missing: unless that is nothing but what follows the word that ends it."""
    body = wire(dialect, [(event, None) for event in answer])
    part = body[: int(len(body) * place)]
    records = decoded(dialect.decoder(), part)
    last = records[-1][0]
    assert isinstance(last, StreamFailed | StreamFinished)
    if isinstance(last, StreamFinished):
        whole, told = said(answer), said(events_of(records))
        assert told._replace(usage=None) == whole._replace(usage=None)


@ALL
@given(answer=answers(), junk=st.binary(max_size=40), place=st.floats(0, 1))
def test_nothing_that_a_provider_sends_raises(dialect: Dialect, answer: list[Event], junk: bytes, place: float) -> None:
    body = wire(dialect, [(event, None) for event in answer])
    at = int(len(body) * place)
    records = decoded(dialect.decoder(), body[:at] + junk + body[at:])
    ends = [event for event in events_of(records) if isinstance(event, StreamFailed | StreamFinished)]
    assert ends == [records[-1][0]]
    for client in DIALECTS.values():
        own = client is dialect
        wire(client, [(event, raw if own else None) for event, raw in records])
