"""Server-sent events: the decoder against the standard's own words, and against every way to cut bytes."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_protocols.errors import LocalError, SseEventTooLarge
from stream_protocols.sse import KEEPALIVE, SseDecoder, SseEvent, encode_event


def reference(stream: bytes) -> list[SseEvent]:
    """The algorithm of WHATWG HTML §9.2.6, word for word, for a whole stream."""
    text = stream.decode("utf-8", errors="replace").removeprefix("\ufeff")
    *lines, _unfinished = re.split("\r\n|\n|\r", text)
    events: list[SseEvent] = []
    data_buffer, event_type, last_id, retry = "", "", None, None
    for line in lines:
        if line == "":
            if data_buffer:
                data = data_buffer.removesuffix("\n").encode()
                events.append(SseEvent(data, event_type or None, last_id, retry))
            data_buffer, event_type, retry = "", "", None
            continue
        if line.startswith(":"):
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event_type = value
        elif field == "data":
            data_buffer += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry" and re.fullmatch("[0-9]{1,15}", value):
            retry = int(value)
    return events


def decode(*pieces: bytes) -> list[SseEvent]:
    """Feed the pieces; make the data comparable with the reference, which decodes before it parses."""
    decoder = SseDecoder()
    return [
        SseEvent(event.data.decode("utf-8", errors="replace").encode(), event.event, event.id, event.retry)
        for piece in pieces
        for event in decoder.feed(piece)
    ]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


fragments = st.sampled_from(
    [
        *(
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\r\n\r\n",
            b"data: ",
            b"data:",
            b"data",
            b"data: x\n\n",
            b"data: {}\n\n",
            b"event: e\ndata: {}\n\n",
            b"event: \xc3\ndata: \n\n",
        ),
        *(
            b"event: ",
            b"event",
            b"id: ",
            b"id",
            b"id: 7\n",
            b"retry: ",
            b"retry: 10\n",
            b":",
            b": note\n",
            b" ",
        ),
        *(
            b"\0",
            b"\xef\xbb\xbf",
            b"\xe2\x80\xa8",
            "é".encode(),
            b"\xc3",
            b"\xff",
            b"9",
            b"foo: bar\n",
            b"DATA: x\n",
        ),
    ]
)
streams = st.lists(fragments | st.binary(max_size=4), max_size=30).map(b"".join)

SAMPLES = {
    "plain": b"data: a\n\ndata: b\n\ndata: [DONE]\n\n",
    "crlf": b"data: a\r\n\r\ndata: b\r\n\r\n",
    "cr": b"data: a\r\rdata: b\r\r",
    "mixed line ends": b"data: a\r\ndata: b\n\rdata: c\r\n\n",
    "all fields": b"id: 1\nevent: e\nretry: 50\ndata: a\n\ndata: b\n\n",
    "names": b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\nevent:  \ndata: \n\nevent: \ndata: 3\n\n",
    "names and more": b"event: a\ndata: 1\n\nevent: b\ndata: 2\nid: 7\n\nevent: c\ndata: 3\n\ndata: 4\n\n",
    "names that are not alone": b"event: a\ndata: 1\ndata: 2\n\nevent: b\n\nevent: c\nevent: d\ndata: 3\n\n",
    "a name after its data": b"event: a\ndata: 1\n\ndata: 2\nevent: b\n\n",
    "several lines": b"data: a\ndata\ndata:\ndata:  b\n\n",
    "comments": b": hi\n\ndata: a\n:\ndata: b\n:no\n\n:\n:\ndata: c\n\n",
    "utf-8": "data: é€𝄞\u2028x\n\n".encode(),
    "bom": b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n",
    "id only": b"id: 9\n\ndata: a\n\nid\n\ndata: b\n\n",
    "bad id and retry": b"id: a\0b\nretry: 1x\nretry:\nretry: -1\nretry: \xc2\xb2\ndata: a\n\n",
    "many blank lines": b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n",
    "unfinished": b"data: a\n\ndata: b\n",
    "data within data": b"data: a\ndata: b\n\ndata: c\n\n",
    "huge retry": b"retry: " + b"9" * 5000 + b"\ndata: a\n\n",
}


@pytest.mark.parametrize("stream", SAMPLES.values(), ids=SAMPLES)
def test_samples_whole_at_every_cut_and_byte_by_byte(stream: bytes) -> None:
    expected = reference(stream)
    assert decode(stream) == expected
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == expected
    if len(stream) < 200:
        for first in range(len(stream)):
            for second in range(first, len(stream)):
                assert decode(stream[:first], stream[first:second], stream[second:]) == expected


@given(streams, st.lists(st.integers(0, 1000), max_size=8))
@example(b"data: a\n\ndata: b\n\ndata: c\n\n", [9])
@example(b"retry: 10\ndata: {}\n\n", [10])
@example(b"event: a\ndata: 1\n\nevent: b\n\nevent: c\ndata: 2\ndata: 3\n\n", [])
def test_any_bytes_in_any_pieces(stream: bytes, places: list[int]) -> None:
    assert decode(*cut(stream, places)) == reference(stream)


lines = st.sampled_from([b"event: a", b"event: ", b"event:b", b"data: 1", b"data: ", b"data:2", b"id: 7", b"", b": c"])
vendors = st.lists(
    st.sampled_from([b"event: e\ndata: {}\n\n", b"data: {}\n\n"])
    | st.lists(lines, max_size=4).map(lambda event: b"".join(line + b"\n" for line in event) + b"\n"),
    max_size=6,
).map(b"".join)


@given(vendors, vendors)
def test_whole_events_go_the_short_way_as_they_go_the_long_one(first: bytes, second: bytes) -> None:
    """In reads that end with their last event, one way knows pairs of a name and its data; byte by byte none does."""
    stream = first + second
    assert decode(first, second) == decode(*(stream[i : i + 1] for i in range(len(stream)))) == reference(stream)


def test_the_fields_of_an_event() -> None:
    assert SseDecoder().feed(b"id: 7\nevent: tick\nretry: 20\ndata: a\ndata: b\n\ndata: c\n\n") == [
        SseEvent(b"a\nb", "tick", "7", 20),
        SseEvent(b"c", None, "7", None),
    ]


def test_data_is_bytes_even_when_fed_from_a_bytearray() -> None:
    decoder = SseDecoder()
    for piece in (b"\n", b"data: a\n\n", b"data: b\ndata: c\n\n", b"data: ", b"d\n\n"):
        for event in decoder.feed(bytearray(piece)):
            assert type(event.data) is bytes


def test_an_event_is_out_as_soon_as_its_last_line_end_has_begun() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\r\n\r") == [SseEvent(b"a")]
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"data: b\n\n") == [SseEvent(b"b")]


def test_what_to_resume_with_follows_whole_events_only() -> None:
    decoder = SseDecoder()
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert decoder.last_event_id == "1"
    decoder.feed(b"\n")
    assert decoder.last_event_id == "2"


def test_a_lone_retry_holds_at_once_and_is_no_truncation() -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: a\n\nretry: 3000\n")
    assert decoder.retry == 3000
    assert not decoder.pending
    assert decoder.close() is None


# The end


def test_every_truncation_of_an_event_is_seen() -> None:
    whole = b"id: 7\nevent: e\ndata: a\n\n"
    for size in range(1, len(whole)):
        decoder = SseDecoder()
        decoder.feed(b"data: before\n\n" + whole[:size])
        assert decoder.pending, whole[:size]
        assert decoder.close() is not None, whole[:size]


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n\r\n", b":", b": ping", KEEPALIVE, KEEPALIVE * 3, b": ping\n\n"])
def test_a_clean_end(tail: bytes) -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: a\n\n" + tail)
    assert not decoder.pending
    assert decoder.close() is None


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_close_returns_what_was_cut_off(end: bytes) -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"event: e\ndata: a\ndata: [DONE]" + end) == []
    assert decoder.close() == SseEvent(b"a\n[DONE]", "e")


def test_nothing_goes_into_a_closed_decoder() -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: a\n\n")
    decoder.close()
    with pytest.raises(LocalError):
        decoder.feed(b"data: b\n\n")
    with pytest.raises(LocalError):
        decoder.close()


# The limit


def _until_error(pieces: list[bytes], limit: int) -> tuple[list[SseEvent], bool]:
    decoder, events = SseDecoder(max_event_bytes=limit), list[SseEvent]()
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        decoder.close()
    except SseEventTooLarge:
        return events, True
    return events, False


@given(streams, st.lists(st.integers(0, 1000), max_size=8), st.integers(1, 30))
def test_the_limit_falls_at_the_same_place_in_any_pieces(stream: bytes, places: list[int], limit: int) -> None:
    assert _until_error(cut(stream, places), limit) == _until_error([stream], limit)


@pytest.mark.parametrize("line", [b"data: 7890", b"data:67890", b"event: 890", b": 34567890", b"id: 567890"])
def test_an_event_may_be_as_large_as_the_limit_and_no_larger(line: bytes) -> None:
    good = line + b"\n\n"
    assert not _until_error([good * 3], 10)[1]
    for stream in (b"1" + good, line + b"1", line[:4] + b"1" + line[4:] + b"\n"):
        assert _until_error([stream], 9)[1]


def test_the_error_names_the_limit_and_is_final() -> None:
    decoder = SseDecoder(max_event_bytes=12)
    assert decoder.feed(b"data: a\n\ndata: much too long\n\ndata: b\n\n") == [SseEvent(b"a")]
    for call in (lambda: decoder.feed(b"data: c\n\n"), decoder.close, lambda: decoder.feed(b"")):
        with pytest.raises(SseEventTooLarge, match="12 bytes"):
            call()


def test_an_endless_event_of_small_lines_is_bounded() -> None:
    decoder = SseDecoder(max_event_bytes=1000)
    for _ in range(250):
        decoder.feed(b"data\n")
    with pytest.raises(SseEventTooLarge):
        decoder.feed(b"data\n")


def test_an_endless_silence_of_comments_is_not_an_event() -> None:
    decoder = SseDecoder(max_event_bytes=100)
    for _ in range(1000):
        assert decoder.feed(KEEPALIVE) == []
    assert decoder.feed(b"data: a\n\n") == [SseEvent(b"a")]


def test_a_large_event_byte_by_byte_is_linear() -> None:
    # Quadratic, this would copy 45 GB.
    payload = b"x" * 300_000
    decoder = SseDecoder()
    for byte in b"data: " + payload + b"\n":
        decoder.feed(bytes((byte,)))
    assert decoder.feed(b"\n") == [SseEvent(payload)]


# The encoder


def test_encodings() -> None:
    assert encode_event(b"{}") == b"data: {}\n\n"
    assert encode_event("é") == "data: é\n\n".encode()
    assert encode_event(b"{}", id="s.e.1") == b"id: s.e.1\ndata: {}\n\n"
    assert encode_event(b"{}", event="ping") == b"event: ping\ndata: {}\n\n"
    assert encode_event(b"{}", id="1", event="e", retry=9) == b"id: 1\nevent: e\nretry: 9\ndata: {}\n\n"
    assert encode_event(b"a\nb\r\nc\rd\n") == b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", "\n"])
def test_fields_cannot_be_forged(bad: str) -> None:
    with pytest.raises(LocalError, match="id"):
        encode_event(b"x", id=bad)
    with pytest.raises(LocalError, match="event"):
        encode_event(b"x", event=bad)


def test_no_negative_retry() -> None:
    with pytest.raises(LocalError, match="retry"):
        encode_event(b"x", retry=-1)


values = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"))
encodable = st.tuples(
    st.text(st.characters(codec="utf-8") | st.sampled_from("\r\n")),
    values,
    values,
    st.none() | st.integers(0, 10**6),
)


@given(st.lists(encodable), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_is_encoded_is_decoded(items: list[tuple[str, str, str, int | None]], places: list[int]) -> None:
    wire = KEEPALIVE.join(encode_event(data, id=id, event=event, retry=retry) for data, id, event, retry in items)
    decoder = SseDecoder()
    events = [event for piece in cut(wire, places) for event in decoder.feed(piece)]
    assert events == [
        SseEvent(re.sub("\r\n|\r", "\n", data).encode(), event or None, id, retry) for data, id, event, retry in items
    ]
    assert decoder.close() is None
