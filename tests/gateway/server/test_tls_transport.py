"""TLS on a transport: what TLS itself has to say while a client does not read."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest
import trio

from stream_gateway.server import tls
from stream_gateway.server.tls import MAX_ANSWERS, TlsTransport
from stream_gateway.server.transport import Transport


class Rekeying:
    """A TLS end whose peer asks for new keys with every byte, which Python's `ssl` cannot do. Each is answered."""

    ANSWER = b"k" * 27

    def __init__(self, context: ssl.SSLContext) -> None:
        self._answers = b""
        self._unread = 0

    @property
    def pending(self) -> int:
        return len(self._answers)

    def feed(self, data: bytes) -> None:
        self._unread += len(data)

    def read(self) -> bytes | None:
        self._answers += self.ANSWER * self._unread
        self._unread = 0
        return None

    def write(self, data: bytes) -> None:
        self._answers += data

    def outgoing(self) -> bytes:
        answers, self._answers = self._answers, b""
        return answers


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TlsTransport, socket.socket]]:
    """A transport that has shaken hands, and its client."""
    monkeypatch.setattr(tls, "server_end", Rekeying)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for sock in (ours, theirs):
            sock.setblocking(False)
        yield TlsTransport(Transport(ours, 30), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)), theirs


async def test_an_answer_leaves_at_once(ends: tuple[TlsTransport, socket.socket]) -> None:
    transport, client = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.receive_some)
        client.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        await trio.lowlevel.wait_readable(client)
        assert client.recv(1_000) == Rekeying.ANSWER
        nursery.cancel_scope.cancel()


async def test_answers_do_not_pile_up_for_who_does_not_read(ends: tuple[TlsTransport, socket.socket]) -> None:
    transport, client = ends
    transport.write_now(b"x" * 10_000_000)
    assert not transport.clear()
    client.send(b"x" * (MAX_ANSWERS // len(Rekeying.ANSWER)))
    client.send(b"x" * 10)
    with pytest.raises(ConnectionAbortedError, match="does not read"):
        await transport.receive_some()
