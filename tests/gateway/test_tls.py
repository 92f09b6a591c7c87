"""TLS without I/O: two ends back to back, and every way in which their bytes may be cut."""

import ssl

import pytest

from stream_gateway.tls import TlsFilter, client_end, server_end
from tests.gateway.certificates import HOST, client_context, server_context


def pass_on(source: TlsFilter, sink: TlsFilter, size: int = 100_000) -> None:
    """What one end has to send arrives at the other, in pieces."""
    data = source.outgoing()
    for at in range(0, len(data), size):
        sink.feed(data[at : at + size])


def connected(size: int = 100_000, *, newest: bool = True) -> tuple[TlsFilter, TlsFilter]:
    """A client and a server that have shaken hands, with bytes in pieces of `size`."""
    client, server = client_end(client_context(), HOST), server_end(server_context(newest=newest))
    done = [False, False]
    for _ in range(10):
        for number, (end, other) in enumerate([(client, server), (server, client)]):
            done[number] = done[number] or end.handshake()
            pass_on(end, other, size)
        if all(done):
            return client, server
    raise AssertionError("the handshake does not come to an end")


versions = pytest.mark.parametrize("newest", [True, False], ids=["1.3", "1.2"])


@versions
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_one_end_writes_the_other_reads(size: int, newest: bool) -> None:
    client, server = connected(size, newest=newest)
    for writer, reader in ((client, server), (server, client)):
        for text in (b"a", b"b" * 100_000, b"c"):
            writer.write(text)
            pass_on(writer, reader, size)
            assert reader.read() == text
            assert reader.read() is None


def test_a_record_that_is_not_whole_is_nothing_yet() -> None:
    client, server = connected()
    server.write(b"hello")
    record = server.outgoing()
    for byte in record[:-1]:
        client.feed(bytes((byte,)))
        assert client.read() is None
    client.feed(record[-1:])
    assert client.read() == b"hello"


@versions
def test_a_proper_end(newest: bool) -> None:
    client, server = connected(newest=newest)
    server.write(b"bye")
    server.close()
    pass_on(server, client)
    assert client.read() == b"bye"
    assert client.read() == b""


def test_an_end_without_a_goodbye() -> None:
    client, server = connected()
    server.write(b"bye")
    pass_on(server, client)
    client.feed(b"")
    assert client.read() == b"bye"
    assert client.read() == b""


def test_bytes_that_were_tampered_with() -> None:
    client, server = connected()
    server.write(b"hello")
    record = bytearray(server.outgoing())
    record[-1] ^= 1
    client.feed(bytes(record))
    with pytest.raises(ssl.SSLError):
        client.read()


def test_a_peer_that_speaks_no_tls() -> None:
    client = client_end(client_context(), HOST)
    assert not client.handshake()
    assert client.outgoing()
    client.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        client.handshake()


def test_a_peer_that_leaves_in_the_middle_of_the_handshake() -> None:
    client = client_end(client_context(), HOST)
    client.handshake()
    client.feed(b"")
    with pytest.raises(ssl.SSLError):
        client.handshake()
    client.close()


def test_a_certificate_for_somebody_else() -> None:
    client, server = client_end(client_context(), HOST), server_end(server_context("other.test"))
    client.handshake()
    pass_on(client, server)
    server.handshake()
    pass_on(server, client)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        client.handshake()
    assert client.outgoing()  # the alert that tells the server


def test_what_was_agreed_on() -> None:
    client, server = connected()
    assert client.protocol is server.protocol is None
    assert client.peer_certificate()
    assert server.peer_certificate() is None
