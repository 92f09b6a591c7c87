"""Fields of a body that are for the gateway alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.errors import InvalidField
from stream_protocols.request import take_chunking

texts = st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | texts, lambda inner: st.dictionaries(texts, inner)
)


@given(st.dictionaries(texts.filter(lambda name: name != "chunking"), values), st.text(), st.data())
def test_the_field_is_taken_and_all_else_stays(members: dict[str, object], name: str, data: st.DataObject) -> None:
    items = list(members.items())
    items.insert(data.draw(st.integers(0, len(items))), ("chunking", name))
    body, taken = take_chunking(json.dumps(dict(items)).encode())
    assert taken == name
    assert list(json.loads(body).items()) == list(members.items())


@pytest.mark.parametrize(
    "body",
    [
        *(b"{}", b"", b"[]", b'"chunking"', b'["chunking"]', b'{"chunking":', b'{"a":{"chunking":"words"}}'),
        *(b'{"chunking"\xff', b'{"\\u0063hunking":"words"}', b'{"chunking":' + b"[" * 10_000),
    ],
)
def test_a_body_without_it_or_that_is_none_is_left_alone(body: bytes) -> None:
    assert take_chunking(body) == (body, None)


def test_null_is_no_wish_and_is_not_handed_on() -> None:
    assert take_chunking(b'{"a":1,"chunking":null}') == (b'{"a":1}', None)


@pytest.mark.parametrize("value", ["1", "true", "[]", '{"name":"words"}'])
def test_another_type(value: str) -> None:
    with pytest.raises(InvalidField, match=r"^Field `chunking` is wrong: expected `str \| null`") as caught:
        take_chunking(b'{"chunking":%b}' % value.encode())
    assert caught.value.param == "chunking"
