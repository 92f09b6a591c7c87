"""Hypothesis strategies for neutral events."""

import typing
from typing import Any

import msgspec
from hypothesis import strategies as st

from stream_protocols.events import Event, NativeEvent

texts = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.integers(-(2**70), 2**70)
values = st.none() | st.booleans() | numbers | texts | st.lists(texts, max_size=2)
objects = st.none() | st.dictionaries(texts, values, max_size=3)

_FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: numbers,
    bool: st.booleans(),
    str | None: st.none() | texts,
}


def event_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Events of one class, with anything in their fields."""
    fields = {field.name: _FIELDS.get(field.type, objects) for field in msgspec.structs.fields(kind)}
    if "choices" in fields:
        fields["choices"] = st.integers(1, 4)  # a request may ask for 128, and each is written out
    return st.builds(kind, **fields)


def native_events() -> st.SearchStrategy[Event]:
    """Events of all classes that a native client may meet."""
    return st.one_of(*map(event_of, typing.get_args(NativeEvent)))
