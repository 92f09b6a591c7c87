"""The client: `async with Client(url) as client`, `async for event in client.stream(model=…, messages=…)`."""

from stream_gateway.client.client import Client as Client
from stream_gateway.client.connections import Statistics as Statistics
from stream_gateway.client.connections import Status as Status
from stream_gateway.client.errors import ClientError as ClientError
from stream_gateway.client.errors import CursorExpired as CursorExpired
from stream_gateway.client.errors import Incomplete as Incomplete
from stream_gateway.client.errors import NotAGateway as NotAGateway
from stream_gateway.client.errors import Refused as Refused
from stream_gateway.client.errors import StreamNotFound as StreamNotFound
from stream_gateway.client.errors import Unauthorized as Unauthorized
from stream_gateway.client.errors import Unreachable as Unreachable
from stream_gateway.client.errors import Untrusted as Untrusted
from stream_gateway.client.errors import WrongUrl as WrongUrl
from stream_gateway.client.settings import Settings as Settings
from stream_gateway.client.stream import EventStream as EventStream
