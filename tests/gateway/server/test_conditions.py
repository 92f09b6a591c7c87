"""What the kernel tells of a connection, and a transport that sees a slow network before a buffer is full."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio

from stream_gateway.server.conditions import conditions, unsent
from stream_gateway.server.transport import GLANCE_BYTES, MAX_UNSENT, UNSENT_LOWAT, Transport
from stream_protocols.chunking import Conditions
from tests.doubles.waiting import until

BUFFER = 1_000_000
SMALL = b"x" * 100


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection: one end with a large send buffer, as the listener sets it up, and one that takes little."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        theirs.connect(server.getsockname())
        ours, _ = server.accept()
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LOWAT)
    for sock in (ours, theirs):
        sock.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def fill(transport: Transport) -> int:
    """Write small pieces until the client counts as slow; how many bytes that took."""
    written = 0
    while transport.clear():
        assert transport.write_now(SMALL)
        written += len(SMALL)
        assert written < BUFFER
    return written


def read(sock: socket.socket) -> int:
    try:
        return len(sock.recv(65_536))
    except BlockingIOError:
        return 0


async def test_who_reads_is_clear(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    transport = Transport(ours, 30.0)
    for _ in range(100):
        assert transport.write_now(SMALL)
        assert transport.clear()
        await until(lambda: read(theirs) > 0)
    assert unsent(ours) == 0
    assert conditions(ours).least_rtt > 0
    assert conditions(ours).window > 0
    assert conditions(ours).rate == 0, "that is our pace, and not what the network could carry"


async def test_who_does_not_read_is_slow_long_before_the_buffer_is_full(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    transport = Transport(ours, 30.0)
    written = fill(transport)
    waiting = unsent(ours)
    assert MAX_UNSENT < waiting <= MAX_UNSENT + GLANCE_BYTES + len(SMALL)
    assert conditions(ours).unsent == waiting
    assert conditions(ours).rate == 0
    assert transport.write_now(SMALL), "nothing is left over, so a reply could still be written"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.flush)
        received = 0

        def received_more() -> bool:
            nonlocal received
            received += read(theirs)
            return transport.clear()

        await until(received_more)
    assert unsent(ours) < UNSENT_LOWAT
    assert conditions(ours).rate > 0
    await until(lambda: received_more() and received == written + len(SMALL))


@pytest.mark.deadline(10_000)
async def test_who_takes_nothing_of_what_the_kernel_holds_is_given_up(
    ends: tuple[socket.socket, socket.socket], autojump_clock: trio.testing.MockClock
) -> None:
    transport = Transport(ends[0], 30.0)
    fill(transport)
    with pytest.raises(TimeoutError, match="nothing for 30 seconds"):
        await transport.flush()


def test_what_is_no_tcp_tells_nothing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert conditions(ours) == Conditions()
        transport = Transport(ours, 30.0)
        ours.setblocking(False)
        for _ in range(100):
            assert transport.write_now(SMALL)
        assert transport.clear()


def test_a_socket_that_is_closed_tells_nothing() -> None:
    sock = socket.socket()
    sock.close()
    assert conditions(sock) == Conditions()


def test_other_systems_have_other_fields(ends: tuple[socket.socket, socket.socket]) -> None:
    """FreeBSD's `TCP_INFO` has the same name and another layout; macOS has none."""
    code = (
        "import sys; sys.platform = 'freebsd14'; import socket; socket.TCP_INFO = 32;"
        "from stream_gateway.server import conditions as c; from stream_protocols.chunking import Conditions;"
        f"sock = socket.socket(fileno={ends[0].fileno()});"
        "assert c.conditions(sock) == Conditions() and c.unsent(sock) == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, pass_fds=[ends[0].fileno()], timeout=60)
