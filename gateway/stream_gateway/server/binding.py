"""Listening sockets: TCP, or a path on this machine."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator

import msgspec

from stream_gateway import systemd
from stream_gateway.config import ServerSettings


def bind(settings: ServerSettings, name: str = "http") -> socket.socket:
    """A listening socket: the one that systemd has handed over under this name, or one of our own.

    Raises:
        OSError: the address cannot be had.
    """
    handed = systemd.listening(name)
    if handed is not None:
        return handed
    sock = _open(settings)
    try:
        if settings.send_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_bytes)  # accepted ones inherit it
        sock.bind(settings.unix or (settings.host, settings.port))
        sock.listen(settings.backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def reserve(settings: ServerSettings) -> Iterator[tuple[str, int]]:
    """Keep an address for several processes, which share it with `reuse_port`; it is not listened on here.

    Raises:
        OSError: the address cannot be had.
    """
    sock = _open(msgspec.structs.replace(settings, reuse_port=True))
    with sock:
        sock.bind((settings.host, settings.port))
        yield settings.host, sock.getsockname()[1]


def _open(settings: ServerSettings) -> socket.socket:
    if settings.unix is not None:
        _clear_away(settings.unix)
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return sock


def _clear_away(path: str) -> None:
    """Remove a socket file that a process left which did not end well; never one that somebody answers on."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file of that name, which is no socket", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, "somebody listens there already", path)


def release(sock: socket.socket) -> None:
    """Close a listening socket; its file goes too, unless somebody has taken its place."""
    ours = sock.fileno() >= 0 and sock.family == socket.AF_UNIX and not isinstance(sock, systemd.HandedOver)
    name = sock.getsockname() if ours else ""
    sock.close()
    if name:
        with contextlib.suppress(OSError):
            os.unlink(name)
