"""Traces: a span a stream, and its attempts below it."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from stream_gateway.config import ConfigError, config_from_toml
from stream_gateway.gateway import Gateway
from stream_gateway.observe.tracing import Tracer
from tests.doubles.openai_script import BUSY, Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.routes import in_order, routed
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until

SECRET = "what nobody else may read"


class Spans:
    """Collects what a gateway traces."""

    def __init__(self, gateway: ServedGateway) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        gateway.gateway.trace_with(Tracer("1", provider))

    async def take(self, count: int) -> list[ReadableSpan]:
        """So many spans, those that began first before the others; a parent comes before its children."""
        await until(lambda: len(self._exporter.get_finished_spans()) >= count)
        spans = self._exporter.get_finished_spans()
        assert len(spans) == count
        return sorted(spans, key=lambda span: (span.start_time or 0, span.kind is not SpanKind.SERVER))


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_stream_and_its_attempts(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve(**routed(in_order("a", "b")))
    spans = Spans(gateway)
    upstream.scripts |= {"a": Script(refusal=BUSY), "b": Script(deltas=words(3))}
    messages = [{"role": "user", "content": SECRET}]
    response = await gateway.chat("r", messages=messages, stream_options={"include_usage": True})
    stream = response.head["stream-id"]
    await response.read()
    whole, first, second = await spans.take(3)
    assert (whole.name, whole.kind, whole.parent) == ("chat r", SpanKind.SERVER, None)
    said = attributes(whole)
    assert said.pop("gen_ai.response.time_to_first_chunk") > 0
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "r",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "stream_gateway.stream.id": stream,
        "stream_gateway.route": "r",
    }
    assert whole.status.status_code is StatusCode.UNSET
    for span, model, kind in ((first, "a", "first"), (second, "b", "retry")):
        assert (span.name, span.kind) == (f"chat {model}", SpanKind.CLIENT)
        assert span.parent is not None
        assert whole.context is not None
        assert span.parent.span_id == whole.context.span_id
        assert attributes(span)["stream_gateway.attempt.kind"] == kind
        assert attributes(span)["gen_ai.provider.name"] == "mock"
    assert first.status.status_code is StatusCode.ERROR
    assert attributes(first)["error.type"] == "http_503"
    assert "error.type" not in attributes(second)
    assert SECRET not in "".join(span.to_json() for span in (whole, first, second))


async def test_times_are_those_of_the_stream(gateway: ServedGateway) -> None:
    spans = Spans(gateway)
    await (await gateway.chat("demo-n3-first50-gap20")).read()
    whole, attempt = await spans.take(2)
    assert whole.start_time is not None
    assert whole.end_time is not None
    assert 50_000_000 + 2 * 20_000_000 <= whole.end_time - whole.start_time < 20_000_000_000
    assert 0.05 <= attributes(attempt)["gen_ai.response.time_to_first_chunk"] < 20


async def test_failures(gateway: ServedGateway) -> None:
    spans = Spans(gateway)
    await (await gateway.chat("demo-fail2")).read()
    whole, attempt = await spans.take(2)
    assert {span.status.status_code for span in (whole, attempt)} == {StatusCode.ERROR}
    assert attributes(whole)["error.type"] == "502"


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", None),  # its client does not sample
        ("nonsense", False),
        ("0" * 1000, False),
    ],
)
async def test_a_clients_span_is_the_parent(gateway: ServedGateway, header: str, known: bool | None) -> None:
    spans = Spans(gateway)
    connection = await gateway.connect()
    body = {"model": "demo-n2", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    await (
        await connection.request("POST", "/v1/chat/completions", payload=body, headers={"traceparent": header})
    ).read()
    # What the next request on the connection says, or does not say, is another matter.
    await (await connection.request("POST", "/v1/chat/completions", payload=body)).read()
    found = await spans.take(2 if known is None else 4)
    wholes = [span for span in found if span.kind is SpanKind.SERVER]
    parents = [None if span.parent is None else f"{span.parent.span_id:016x}" for span in wholes]
    assert parents == ([None] if known is None else ["b7ad6b7169203331" if known else None, None])


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"install `stream-gateway\[otel\]`"):
        Gateway(config_from_toml("[server]\nport = 0\n[tracing]\nenabled = true\n", environ={}))
