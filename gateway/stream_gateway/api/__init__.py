"""The gateway inside an application: `StreamingGateway`, the streams it makes, and what can go wrong."""

from stream_gateway.api.body import Body as Body
from stream_gateway.api.chunk import Chunk as Chunk
from stream_gateway.api.errors import GatewayError as GatewayError
from stream_gateway.api.errors import GatewayStopped as GatewayStopped
from stream_gateway.api.errors import GenerationFailed as GenerationFailed
from stream_gateway.api.errors import ReaderLagged as ReaderLagged
from stream_gateway.api.errors import RequestRefused as RequestRefused
from stream_gateway.api.errors import WrongOption as WrongOption
from stream_gateway.api.gateway import StreamingGateway as StreamingGateway
from stream_gateway.api.stream import ChunkStream as ChunkStream
