"""h2, set up as we need it, and corrected where the standard wants another error code."""

import re
from collections.abc import Iterable
from typing import Final

import h2.connection
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import Decoder, HeaderTuple, HPACKError, OversizedHeaderListError

from stream_gateway.config import LimitSettings
from stream_gateway.server.http2 import limits as bounds

NO_RFC7540_PRIORITIES: Final = 0x9
"""The setting that says: PRIORITY frames are ignored here, the `priority` header is not (RFC 9218 §2.1)."""

_SIZE_UPDATES: Final = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*[\x00-\x7f]){3}")
"""More changes of the table's size at the head of a block than there is a use for (RFC 7541 §4.2): a block may consist
of nothing else, at a microsecond a byte."""

_UNBOUNDED: Final = 2**31 - 1


class CompressionError(ProtocolError):
    """A header block cannot be decompressed: nothing that follows can be either (RFC 9113 §4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class Protocol(h2.connection.H2Connection):
    """One connection's state."""

    MAX_CLOSED_STREAMS = bounds.CLOSED_STREAMS


class _Decoder(Decoder):
    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """Decode a header block. h2 would call what is broken in it a PROTOCOL_ERROR."""
        if _SIZE_UPDATES.match(data):
            raise CompressionError("a header block that changes the table's size over and over")
        try:
            return super().decode(data, raw)
        except OversizedHeaderListError:
            raise
        except HPACKError as error:
            raise CompressionError(str(error)) from error


def open_protocol(limits: LimitSettings) -> Protocol:
    """A server's end of a new connection, which has its first frames to send."""
    protocol = Protocol(H2Configuration(client_side=False, header_encoding=None))
    protocol.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams_per_connection,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_bytes,
            SettingCodes.INITIAL_WINDOW_SIZE: bounds.STREAM_WINDOW,
            SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
        },
    )
    protocol.local_settings[NO_RFC7540_PRIORITIES] = 1
    protocol.local_settings.acknowledge()
    protocol.decoder = _Decoder()
    protocol.decoder.max_header_list_size = limits.header_bytes * bounds.HEADER_SLACK
    protocol.decoder.max_allowed_table_size = protocol.local_settings.header_table_size
    protocol.initiate_connection()
    # h2 would end the connection over one stream too many; we refuse the stream (RFC 9113 §5.1.2).
    protocol.local_settings.max_concurrent_streams = _UNBOUNDED
    protocol.local_settings.acknowledge()
    protocol.increment_flow_control_window(bounds.CONNECTION_WINDOW - 65_535)
    return protocol
