"""Logs of a gateway inside somebody else's application: the application's business."""

import logging
from typing import Final

import structlog

NAME: Final = "stream_gateway"
"""The standard library's logger that gets them."""


def lead_logs_out() -> None:
    """Have logs go to the standard library's logging, unless the application has told structlog where they go."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=lambda *_: logging.getLogger(NAME),
        )
