"""Formats: one renderer for all clients of a kind."""

import pytest

from stream_gateway.server.formats import NDJSON, SSE, check_dialect, renderer_for
from stream_protocols.dialects.openai_chat import parse_request
from stream_protocols.dialects.registry import DIALECTS
from stream_protocols.errors import InvalidField
from stream_protocols.events import Record, TextDelta, Usage
from tests.gateway.streams.conftest import make_rig, rig
from tests.gateway.streams.rig import Rig

__all__ = ["make_rig", "rig"]

WITH_USAGE = parse_request(
    b'{"model":"m","messages":[{"role":"user"}],"stream":true,"stream_options":{"include_usage":true}}'
)


async def test_clients_of_a_kind_share_one_renderer(rig: Rig) -> None:
    stream, other = rig.stream(), rig.stream()
    kinds = [("native", SSE), ("native", NDJSON), ("openai_chat", SSE)]
    renderers = [renderer_for(stream, dialect, container) for dialect, container in kinds]
    renderers.append(renderer_for(stream, "openai_chat", request=WITH_USAGE))
    assert len({id(renderer) for renderer in renderers}) == 4
    assert renderer_for(stream, "native") is renderers[0]
    assert renderer_for(stream, "openai_chat", SSE, request=WITH_USAGE) is renderers[3]
    assert renderer_for(other, "native") is not renderers[0]


async def test_the_container_is_what_the_client_asked_for(rig: Rig) -> None:
    stream = rig.stream()
    records: list[Record] = [(TextDelta("a"), None)]
    assert renderer_for(stream, "native").media_type == SSE
    assert renderer_for(stream, "native").render(2, records).startswith(b"id: ")
    assert renderer_for(stream, "native", NDJSON).media_type == NDJSON
    assert renderer_for(stream, "native", NDJSON).render(2, records).startswith(b'{"id":"')


async def test_the_vendors_bytes_are_for_the_vendors_clients_only(rig: Rig) -> None:
    stream = rig.stream(dialect="openai_chat")
    records: list[Record] = [(TextDelta("a"), b'{"theirs":1}')]
    assert b'{"theirs":1}' in renderer_for(stream, "openai_chat").render(2, records)
    assert b"theirs" not in renderer_for(stream, "native").render(2, records)
    assert b"theirs" not in renderer_for(rig.stream(), "openai_chat").render(2, records)


async def test_usage_is_for_who_asked_for_it(rig: Rig) -> None:
    records: list[Record] = [(Usage(1, 2), None)]
    stream = rig.stream()
    assert renderer_for(stream, "openai_chat").render(2, records) == b""
    assert b'"total_tokens":3' in renderer_for(stream, "openai_chat", request=WITH_USAGE).render(2, records)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(dialect: str) -> None:
    assert check_dialect(dialect) == dialect


@pytest.mark.parametrize("dialect", ["", "Native", "x" * 1000])
def test_no_dialects(dialect: str) -> None:
    with pytest.raises(InvalidField, match="native, openai_chat") as caught:
        check_dialect(dialect)
    assert caught.value.param == "dialect"
    assert len(caught.value.message) < 200
