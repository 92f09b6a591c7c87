"""Records as bytes: everything comes back, and nothing that a vendor sends stops the committer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.engines.codec import Damaged, decode, encode
from stream_gateway.engines.engine import Batch
from stream_protocols.events import Notice, Opaque, Record, StreamFailed, StreamStarted, TextDelta, ToolCallDelta, Usage

json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
events = st.one_of(
    st.builds(TextDelta, st.text(), st.integers(0, 3)),
    st.builds(ToolCallDelta, st.integers(0, 3), st.text(), st.text(), st.text()),
    st.builds(Usage, st.integers(0, 99), st.integers(0, 99), st.none() | st.dictionaries(st.text(), json)),
    st.builds(Notice, st.text(), st.text()),
    st.builds(StreamStarted, st.text()),
    st.just(Opaque()),
)


def batch(records: list[Record]) -> Batch:
    return Batch("e", 1, len(records), encode(records))


@given(st.lists(st.tuples(events, st.none() | st.binary())))
def test_records_come_back_as_they_were(records: list[Record]) -> None:
    assert decode(batch(records)) == records
    assert decode(batch(records), 3) == records[3:]


@pytest.mark.parametrize("value", [10**30, {"deep": [-(10**30)]}])
def test_what_has_no_words_is_left_out_and_the_rest_is_kept(value: Any) -> None:
    records: list[Record] = [
        (TextDelta("a"), b"raw"),
        (Usage(1, 2, {"strange": value}), None),
        (StreamFailed("code", "message", error={"strange": value}), None),
    ]
    assert decode(batch(records)) == [records[0], (Usage(1, 2), None), (StreamFailed("code", "message"), None)]


@given(st.binary())
def test_what_is_damaged_is_said_to_be(data: bytes) -> None:
    with pytest.raises(Damaged):
        decode(Batch("e", 1, 300, data))


def test_half_a_character_costs_that_character_alone() -> None:
    data = encode([(TextDelta("whole"), None), (TextDelta("a\ud800b"), b"raw")])
    assert decode(Batch("e", 1, 2, data)) == [(TextDelta("whole"), None), (TextDelta("a?b"), b"raw")]
