"""A loopback server that speaks Gemini's API, faithfully, and fails on command."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from tests.doubles.gemini_frames import FrameWriter, reply
from tests.doubles.http_requests import Request
from tests.doubles.openai_script import Refusal, Script
from tests.doubles.vendor_server import VendorServer

COUNTED = 42
"""The tokens of every request."""

_TARGET = re.compile(r"/v1(?:beta)?/models/([^/]+):(generateContent|streamGenerateContent\?alt=sse|countTokens)")
_NAMES = {401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}


class GeminiServer(VendorServer):
    """The server (see `VendorServer`). Like the vendor it refuses a model in the body that is not the path's."""

    root = "/v1beta"
    marks_refusals = False

    def authorized(self, request: Request, key: str) -> bool:
        return request.headers.get("x-goog-api-key") == key

    def model_of(self, request: Request) -> str | None:
        match = _TARGET.fullmatch(request.target)
        if match is None or "contents" not in request.json:
            return None
        model = unquote(match[1])
        return model if request.json.get("model", f"models/{model}") == f"models/{model}" else None

    def wants_stream(self, request: Request) -> bool:
        return ":stream" in request.target

    def frames(self, script: Script, request: Request) -> FrameWriter:
        return FrameWriter(script, self.model_of(request) or "", request.json)

    def whole(self, script: Script, request: Request) -> Any:
        return reply(script, self.model_of(request) or "", request.json)

    def refusal(self, refusal: Refusal) -> Any:
        name = _NAMES.get(refusal.status, "INVALID_ARGUMENT")
        details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": refusal.code}]
        return {
            "error": {"code": refusal.status, "message": refusal.message, "status": name, "details": details},
        }

    def code_of(self, refusal: Refusal) -> str | None:
        return _NAMES.get(refusal.status, "INVALID_ARGUMENT").lower()

    def other(self, request: Request) -> Any:
        match = _TARGET.fullmatch(request.target)
        return {"totalTokens": COUNTED} if match is not None and match[2] == "countTokens" else None
