"""Structured logs on standard error: for people on a terminal, one JSON object a line elsewhere."""

import logging
import sys
import traceback
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, ExcInfo

from stream_gateway.config import LogSettings
from stream_protocols.redaction import redact


def configure_logging(settings: LogSettings) -> None:
    """Set up structlog for the whole process."""
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    timestamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console)
    # The ids of the connection and the stream that a task works for stand on each of its lines.
    processors: list[Any] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, timestamp]
    if console:
        processors.append(redacted)
        # Not the formatter that shows local variables: there are credentials among them.
        processors.append(structlog.dev.ConsoleRenderer(exception_formatter=_plain_traceback))
    else:
        processors += [
            structlog.processors.format_exc_info,
            redacted,
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def redacted(_: Any, __: str, event: EventDict) -> EventDict:
    """A structlog processor: no text of an entry leaves with a credential in it."""
    return {name: redact(value) if isinstance(value, str) else value for name, value in event.items()}


def _plain_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    out.write("\n" + redact("".join(traceback.format_exception(*exc_info))))


def _json(data: Any, **_: Any) -> str:
    return msgspec.json.encode(data, enc_hook=_text).decode()


def _text(value: object) -> str:
    return redact(str(value))
