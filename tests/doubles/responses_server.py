"""A loopback server that speaks OpenAI's Responses, faithfully, and fails on command."""

from __future__ import annotations

from typing import Any

from tests.doubles.http_requests import Request
from tests.doubles.openai_script import Script
from tests.doubles.responses_events import ResponseWriter, reply
from tests.doubles.vendor_server import VendorServer


class ResponsesServer(VendorServer):
    """The server (see `VendorServer`)."""

    takes_stop = False

    def authorized(self, request: Request, key: str) -> bool:
        return request.headers.get("authorization") == f"Bearer {key}"

    def model_of(self, request: Request) -> str | None:
        return request.json["model"] if request.target == "/v1/responses" else None

    def wants_stream(self, request: Request) -> bool:
        return bool(request.json.get("stream"))

    def frames(self, script: Script, request: Request) -> ResponseWriter:
        return ResponseWriter(script, request.json)

    def whole(self, script: Script, request: Request) -> Any:
        return reply(script, request.json)
