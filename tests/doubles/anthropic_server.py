"""A loopback server that speaks Anthropic's messages, faithfully, and fails on command."""

from __future__ import annotations

from typing import Any

from tests.doubles.anthropic_events import EventWriter, reply
from tests.doubles.http_requests import Request
from tests.doubles.openai_script import Refusal, Script
from tests.doubles.vendor_server import VendorServer

COUNTED = 42
"""The tokens of every request."""

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 500: "api_error"}


class AnthropicServer(VendorServer):
    """The server (see `VendorServer`). Like the vendor it insists on `anthropic-version` and `max_tokens`."""

    marks_refusals = False

    def authorized(self, request: Request, key: str) -> bool:
        return request.headers.get("x-api-key") == key

    def model_of(self, request: Request) -> str | None:
        if request.target != "/v1/messages" or "anthropic-version" not in request.headers:
            return None
        return request.json["model"] if "max_tokens" in request.json else None

    def wants_stream(self, request: Request) -> bool:
        return bool(request.json.get("stream"))

    def frames(self, script: Script, request: Request) -> EventWriter:
        return EventWriter(script, request.json)

    def whole(self, script: Script, request: Request) -> Any:
        return reply(script, request.json)

    def refusal(self, refusal: Refusal) -> Any:
        error = {"type": self.code_of(refusal), "message": refusal.message}
        return {"type": "error", "error": error, "request_id": "req_double"}

    def code_of(self, refusal: Refusal) -> str | None:
        return _TYPES.get(refusal.status, "invalid_request_error")

    def other(self, request: Request) -> Any:
        return {"input_tokens": COUNTED} if request.target == "/v1/messages/count_tokens" else None
