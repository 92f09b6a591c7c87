"""A loopback server that speaks OpenAI's chat completions, faithfully, and fails on command."""

from __future__ import annotations

from typing import Any

from tests.doubles.http_requests import Request
from tests.doubles.openai_chunks import CREATED, ChunkWriter, reply
from tests.doubles.openai_script import Script
from tests.doubles.vendor_server import ScriptOrFactory, UpstreamExchange, VendorServer

__all__ = ["OpenAIServer", "ScriptOrFactory", "UpstreamExchange"]


CHAT = "/v1/chat/completions"
SPEECH = "/v1/audio/speech"
PLAIN = (
    SPEECH,
    *(f"/v1/{path}" for path in ("completions", "embeddings", "images/generations", "moderations", "rerank")),
)
"""What else is offered, never streamed."""
SOUND = b"ID3\x04\x00\xff\xfb\r\n\r\ndata: no event"
"""What speech sounds like."""


class OpenAIServer(VendorServer):
    """The server (see `VendorServer`)."""

    def authorized(self, request: Request, key: str) -> bool:
        return request.headers.get("authorization") == f"Bearer {key}"

    def model_of(self, request: Request) -> str | None:
        return request.json["model"] if request.target in (CHAT, *PLAIN) else None

    def wants_stream(self, request: Request) -> bool:
        return bool(request.json.get("stream"))

    def frames(self, script: Script, request: Request) -> ChunkWriter:
        return ChunkWriter(script, request.json)

    def whole(self, script: Script, request: Request) -> Any:
        if request.target == SPEECH:
            return SOUND
        if request.target in PLAIN:
            return {"object": "list", "model": request.json["model"], "data": [{"path": request.target}]}
        return reply(script, request.json)

    def other(self, request: Request) -> Any:
        if request.method == "GET" and request.target == "/v1/models":
            models = [
                {"id": name, "object": "model", "created": CREATED, "owned_by": "double"} for name in self.scripts
            ]
            return {"object": "list", "data": models}
        return None
