"""h11, by which what we write is read, and what we read is checked."""

import contextlib

import h11


def read_chunked(wire: bytes) -> bytes:
    """The body of a chunked reply; raises `h11.RemoteProtocolError` where there is none."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    connection.next_event()  # the head
    return _rest(connection)


def read_requests(wire: bytes) -> list[tuple[h11.Request, bytes]]:
    """The whole requests that a connection brings, with their bodies, up to the last or the first that is none."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(wire)
    found: list[tuple[h11.Request, bytes]] = []
    with contextlib.suppress(h11.RemoteProtocolError):
        while isinstance(head := connection.next_event(), h11.Request):
            found.append((head, _rest(connection)))
            connection.send(h11.Response(status_code=204, headers=[]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                break
            connection.start_next_cycle()
    return found


def read_reply(wire: bytes) -> tuple[h11.Response, bytes]:
    """The reply that a whole connection brings, with its body; raises where there is none."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(wire)
    connection.receive_data(b"")
    while isinstance(head := connection.next_event(), h11.InformationalResponse):
        pass
    if not isinstance(head, h11.Response):
        raise h11.RemoteProtocolError("incomplete")
    return head, _rest(connection)


def _rest(connection: h11.Connection) -> bytes:
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise h11.RemoteProtocolError("incomplete")
        body += event.data
    return body
