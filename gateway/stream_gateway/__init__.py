"""Stream Gateway: numbered, resumable AI streams over WebSocket, SSE and HTTP/2."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_gateway.api import Body as Body
    from stream_gateway.api import Chunk as Chunk
    from stream_gateway.api import ChunkStream as ChunkStream
    from stream_gateway.api import GatewayError as GatewayError
    from stream_gateway.api import GatewayStopped as GatewayStopped
    from stream_gateway.api import GenerationFailed as GenerationFailed
    from stream_gateway.api import ReaderLagged as ReaderLagged
    from stream_gateway.api import RequestRefused as RequestRefused
    from stream_gateway.api import StreamingGateway as StreamingGateway
    from stream_gateway.api import WrongOption as WrongOption

__all__ = [
    "Body",
    "Chunk",
    "ChunkStream",
    "GatewayError",
    "GatewayStopped",
    "GenerationFailed",
    "ReaderLagged",
    "RequestRefused",
    "StreamingGateway",
    "WrongOption",
]


def __getattr__(name: str) -> Any:
    """The names above, on first use: whoever imports the client alone should not wait for the whole gateway."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("stream_gateway.api"), name)
