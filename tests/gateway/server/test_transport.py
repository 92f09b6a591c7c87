"""The transport: frames stay whole, two writers cannot interleave, and who takes nothing is given up."""

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stream_gateway.server.transport import Transport

pytestmark = pytest.mark.deadline(10_000)

TIMEOUT = 30.0
Clock = trio.testing.MockClock


class Client:
    """The other end of a transport."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def take(self, size: int = 1_000_000_000) -> bytes:
        """Up to `size` bytes of what has arrived."""
        parts = []
        while size > 0:
            try:
                data = self.sock.recv(min(size, 65_536))
            except BlockingIOError:
                break
            if not data:
                break
            parts.append(data)
            size -= len(data)
        return b"".join(parts)


@pytest.fixture
def ends() -> Iterator[tuple[Transport, Client]]:
    """A transport, and the client that it leads to; little fits in between."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
    for sock in (ours, theirs):
        sock.setblocking(False)
    yield Transport(ours, TIMEOUT), Client(theirs)
    ours.close()
    theirs.close()


@pytest.fixture
def transport(ends: tuple[Transport, Client]) -> Transport:
    return ends[0]


@pytest.fixture
def client(ends: tuple[Transport, Client]) -> Client:
    return ends[1]


BIG = bytes(range(256)) * 4000


# Writing


async def test_a_small_piece_leaves_at_once(transport: Transport, client: Client) -> None:
    assert transport.clear()
    assert transport.write_now(b"a")
    assert transport.write_now(b"b")
    assert transport.clear()
    assert client.take() == b"ab"


async def test_a_large_piece_leaves_a_rest(transport: Transport, client: Client) -> None:
    assert not transport.write_now(BIG)
    assert not transport.clear()
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.flush)
        while len(received) < len(BIG):
            await wait_all_tasks_blocked()
            received += client.take()
    assert received == BIG
    assert transport.clear()
    assert transport.write_now(b"next")
    assert client.take() == b"next"


async def test_nothing_is_written_while_a_rest_waits(transport: Transport, client: Client) -> None:
    transport.write_now(BIG)
    before = client.take()
    with pytest.raises(RuntimeError, match="not flushed"):
        transport.write_now(b"intruder")
    assert not transport.clear()
    assert b"intruder" not in before + client.take()


async def test_a_full_socket_takes_nothing_and_loses_nothing(transport: Transport, client: Client) -> None:
    while transport.write_now(b"x" * 1000):
        pass
    filled = client.take()
    await transport.flush()
    assert not (filled + client.take()).strip(b"x")


async def test_flushing_nothing_is_nothing(transport: Transport) -> None:
    await transport.flush()
    await transport.wait_send_all_might_not_block()
    assert transport.clear()


async def test_sending_all_waits_for_the_rest_before_it(transport: Transport, client: Client) -> None:
    transport.write_now(BIG)
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.send_all, b"-after-")
        nursery.start_soon(wait_all_tasks_blocked)
        while not received.endswith(b"-after-"):
            await wait_all_tasks_blocked()
            received += client.take()
    assert received == BIG + b"-after-"


async def test_sending_nothing_is_a_checkpoint(transport: Transport, client: Client) -> None:
    with trio.testing.assert_checkpoints():
        await transport.send_all(b"")
    with trio.testing.assert_checkpoints():
        await transport.send_all(bytearray(b"a"))
    assert client.take() == b"a"


async def test_a_write_that_is_cancelled_may_be_half_sent_and_blocks_the_next(
    transport: Transport, client: Client
) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.send_all, BIG)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert 0 < len(client.take()) < len(BIG)
    assert not transport.clear()
    with pytest.raises(RuntimeError):
        transport.write_now(b"x")


# A client that takes nothing


async def test_who_takes_nothing_is_given_up(transport: Transport, autojump_clock: Clock) -> None:
    transport.write_now(BIG)
    began = trio.current_time()
    with pytest.raises(TimeoutError, match="nothing for 30 seconds"):
        await transport.flush()
    assert trio.current_time() - began == pytest.approx(TIMEOUT)


async def test_who_takes_something_in_time_is_not(transport: Transport, client: Client, autojump_clock: Clock) -> None:
    transport.write_now(BIG)
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.flush)
        while len(received) < len(BIG):
            await trio.sleep(TIMEOUT - 1)
            received += client.take()
    assert received == BIG
    assert trio.current_time() > 5 * TIMEOUT


# A client that leaves


async def test_a_client_that_left_is_an_error(transport: Transport, client: Client) -> None:
    client.sock.close()
    with pytest.raises(OSError, match=r"[Bb]roken pipe|reset"):
        await transport.send_all(b"x")


async def test_a_client_that_leaves_while_a_rest_waits(transport: Transport, client: Client) -> None:
    transport.write_now(BIG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_all_tasks_blocked)
        client.sock.close()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await transport.flush()


# Reading


async def test_reading(transport: Transport, client: Client) -> None:
    client.sock.send(b"hello")
    assert await transport.receive_some(2) == b"he"
    assert await transport.receive_some() == b"llo"
    async with trio.open_nursery() as nursery:
        received: list[bytes] = []

        async def read() -> None:
            received.append(await transport.receive_some())

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert received == []
        client.sock.send(b"later")
    assert received == [b"later"]
    client.sock.shutdown(socket.SHUT_WR)
    assert await transport.receive_some() == b""
    assert await transport.receive_some() == b""


# Closing


async def test_closing_delivers_what_was_written(transport: Transport, client: Client) -> None:
    transport.write_now(b"bye")
    transport.close()
    transport.close()
    assert transport.closed
    assert client.take() == b"bye"
    with pytest.raises(OSError, match="Bad file descriptor"):
        transport.write_now(b"x")


async def test_closing_wakes_whoever_waits(transport: Transport) -> None:
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await transport.receive_some()

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        with trio.testing.assert_checkpoints():
            await transport.aclose()


async def test_saying_that_nothing_more_comes(transport: Transport, client: Client) -> None:
    transport.shut_down_writing()
    assert client.sock.recv(10) == b""
    client.sock.send(b"still here")
    assert await transport.receive_some() == b"still here"
    client.sock.close()
    transport.shut_down_writing()


async def test_aborting_resets_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    transport = Transport(ours, TIMEOUT)
    transport.abort()
    transport.abort()
    assert transport.closed
    with pytest.raises(ConnectionResetError):
        theirs.recv(10)
    theirs.close()
