"""Traces for OpenTelemetry (the extra `otel`): a span a stream, with its attempts at providers as children.

Spans are made when a stream has been produced, of times that were taken anyway: nothing happens for them while chunks
pass. A stream is the child of the span that its client names (`traceparent`). Where spans go, and which of them, is
said in OpenTelemetry's own environment variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER` …).
"""

from __future__ import annotations

import contextvars
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_gateway.config import ConfigError
from stream_protocols.events import Usage

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_parent: Final[contextvars.ContextVar[str | None]] = contextvars.ContextVar("traceparent", default=None)

MAX_PARENT: Final = 128
"""Characters: the header has 55, and what is longer is of no version that we understand."""

OPERATION: Final = "chat"


def remember_parent(traceparent: str | None) -> None:
    """What the client of the request at hand says of its span (W3C Trace Context); see `parent`."""
    _parent.set(None if traceparent is None or len(traceparent) > MAX_PARENT else traceparent)


def parent() -> str | None:
    """What was remembered in this task, or in the one that has started it."""
    return _parent.get()


class Try(msgspec.Struct, frozen=True):
    """An attempt at a provider. `began` is Unix time, durations are seconds; `error` is empty when it went well."""

    provider: str
    model: str
    kind: str
    began: float
    duration: float
    first_token: float | None
    error: str


class Story(msgspec.Struct, frozen=True):
    """A stream from its beginning to its end; as `Try`."""

    stream: str
    model: str
    route: str
    began: float
    duration: float
    first_token: float | None
    error: str
    reason: str | None
    usage: Usage | None
    parent: str | None
    tries: Sequence[Try]


class Tracer:
    """Tells stories as spans.

    Args:
        version: the gateway's.
        provider: where spans go; None: as the environment says.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """

    def __init__(self, version: str, provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            self._provider = provider or _from_environment(version)
        except ImportError as error:
            raise ConfigError(
                f"key `tracing.enabled`: {error.name} is not installed; install `stream-gateway[otel]`."
            ) from None
        self._api = trace
        self._contexts = TraceContextTextMapPropagator()
        self._tracer = self._provider.get_tracer("stream_gateway", version)

    def tell(self, story: Story) -> None:
        """Make the spans of a stream."""
        parent = self._contexts.extract({"traceparent": story.parent}) if story.parent else None
        span = self._tracer.start_span(
            f"{OPERATION} {story.route}",
            context=parent,
            kind=self._api.SpanKind.SERVER,
            start_time=_nanoseconds(story.began),
            attributes=_of_story(story),
        )
        if span.is_recording():
            below = self._api.set_span_in_context(span)
            for attempt in story.tries:
                self._tell_try(attempt, below)
        self._end(span, story.error, story.began + story.duration)

    def _tell_try(self, attempt: Try, below: Any) -> None:
        span = self._tracer.start_span(
            f"{OPERATION} {attempt.model}",
            context=below,
            kind=self._api.SpanKind.CLIENT,
            start_time=_nanoseconds(attempt.began),
            attributes=_of_try(attempt),
        )
        self._end(span, attempt.error, attempt.began + attempt.duration)

    def _end(self, span: Any, error: str, at: float) -> None:
        if error:
            span.set_attribute("error.type", error)
            span.set_status(self._api.StatusCode.ERROR)
        span.end(_nanoseconds(at))

    def close(self) -> None:
        """Let go what is still held, which may take a while: call it in a thread of its own."""
        self._provider.shutdown()


def _from_environment(version: str) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    attributes = {"service.version": version}
    if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        attributes["service.name"] = "stream-gateway"
    provider = TracerProvider(resource=Resource.create(attributes))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _of_story(story: Story) -> dict[str, Any]:
    found = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.request.model": story.model,
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": story.first_token,
        "gen_ai.response.finish_reasons": None if story.reason is None else (story.reason,),
        "gen_ai.usage.input_tokens": None if story.usage is None else story.usage.input_tokens,
        "gen_ai.usage.output_tokens": None if story.usage is None else story.usage.output_tokens,
        "stream_gateway.stream.id": story.stream,
        "stream_gateway.route": story.route,
    }
    return {name: value for name, value in found.items() if value is not None}


def _of_try(attempt: Try) -> dict[str, Any]:
    found = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": attempt.provider,
        "gen_ai.request.model": attempt.model,
        "gen_ai.response.time_to_first_chunk": attempt.first_token,
        "stream_gateway.attempt.kind": attempt.kind,
    }
    return {name: value for name, value in found.items() if value is not None}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
