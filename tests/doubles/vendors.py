"""The doubles of all vendors, by their dialects."""

from __future__ import annotations

from typing import Final

from tests.doubles.anthropic_server import AnthropicServer
from tests.doubles.gemini_server import GeminiServer
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.responses_server import ResponsesServer
from tests.doubles.vendor_server import VendorServer

VENDORS: Final[dict[str, type[VendorServer]]] = {
    "openai_chat": OpenAIServer,
    "openai_responses": ResponsesServer,
    "anthropic": AnthropicServer,
    "gemini": GeminiServer,
}
