"""Structured logs on standard error: for people on a terminal, one JSON object a line elsewhere."""

import logging
import sys
from typing import Any, Final

import msgspec
import structlog
from structlog.typing import EventDict

from stream_gateway.config import LogSettings
from stream_protocols.redaction import redact

_LEVELS: Final = {"exception": "error", "warn": "warning", "msg": "info"}
"""The levels of methods that are named otherwise."""

_threshold = logging.INFO


def configure_logging(settings: LogSettings) -> None:
    """Set up structlog for the whole process."""
    set_level(settings.level)
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    timestamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console)
    # The ids of the connection and the stream that a task works for stand on each of its lines.
    processors: list[Any] = [
        _important,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        timestamp,
    ]
    if console:
        # Not the formatter that shows local variables: there are credentials among them.
        processors.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    else:
        processors += [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    structlog.configure(
        processors=[*processors, _without_secrets],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def set_level(level: str) -> None:
    """Write what is at least so important, from now on."""
    global _threshold
    _threshold = getattr(logging, level.upper())


def _important(logger: Any, method: str, event: EventDict) -> EventDict:
    """Drop what is not. Loggers are made once and for all, so the level cannot be theirs."""
    if getattr(logging, _LEVELS.get(method, method).upper()) < _threshold:
        raise structlog.DropEvent
    return event


def _without_secrets(_: Any, __: str, line: Any) -> str:
    """The last processor: no line leaves with a credential in it, whoever has put it there."""
    return redact(str(line))


def _json(data: Any, **_: Any) -> str:
    return msgspec.json.encode(data, enc_hook=str).decode()
