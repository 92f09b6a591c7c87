"""Framings: what they add can be taken off again, by somebody else's parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.framing import LAST_CHUNK, chunked, identity
from tests.protocols.other_parser import read_chunked


@given(st.lists(st.binary(min_size=1, max_size=400), max_size=10))
def test_chunks_are_what_another_parser_takes_for_the_body(pieces: list[bytes]) -> None:
    assert read_chunked(b"".join(map(chunked, pieces)) + LAST_CHUNK) == b"".join(pieces)


@pytest.mark.parametrize(("size", "head"), [(1, b"1"), (10, b"a"), (255, b"ff"), (65_536, b"10000")])
def test_the_length_is_hexadecimal(size: int, head: bytes) -> None:
    assert chunked(b"x" * size) == head + b"\r\n" + b"x" * size + b"\r\n"


def test_identity_adds_nothing() -> None:
    assert identity(b"data: a\n\n") == b"data: a\n\n"
