"""Frames apart from their texts: what is around a text is kept to the byte, or nothing is touched."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.chunking.frames import shell
from stream_protocols.events import COVERED


@given(st.text(), st.text(), st.booleans(), st.booleans())
def test_another_text_in_the_same_frame(text: str, other: str, ascii_only: bool, spaces: bool) -> None:
    frame = {"id": 7, "delta": {"content": text}, "more": [1, 2]}
    separators = (", ", ": ") if spaces else (",", ":")
    found = shell(text, json.dumps(frame, ensure_ascii=ascii_only, separators=separators).encode())
    if text in ("id", "delta", "content", "more"):
        assert found is None
    else:
        assert found is not None
        assert msgspec.json.decode(found.around(other)) == {**frame, "delta": {"content": other}}


@pytest.mark.parametrize(
    "frame", [None, COVERED, b"{}", b'{"a":"b"}', b'{"text":"text"}', b'{"a":"text","b":"text"}', b'{"a":"te\\u0078t"}']
)
def test_a_text_that_cannot_be_told_apart(frame: bytes | None) -> None:
    assert shell("text", frame) is None


def test_what_says_nothing() -> None:
    one = shell("a", b'{"created":1700000000,"p":"abcd","c":"a","obfuscation":"zz"}')
    two = shell("bc", b'{"created":1700000001,"p":"a","c":"bc","obfuscation":"z"}')
    other = shell("a", b'{"created":1700000000,"p":"abcd","c":"a","obfuscation":"zz","flagged":true}')
    assert one is not None
    assert two is not None
    assert other is not None
    assert one.said == two.said != other.said
