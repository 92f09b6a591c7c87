"""The control plane on its socket: hypercorn, with its Trio worker, around the application."""

import os
import socket
from functools import partial
from typing import Any, Final

import structlog
import trio
from hypercorn.config import Config as Hypercorn
from hypercorn.trio import serve

from stream_gateway.config import ControlSettings
from stream_gateway.control.access import Access, read_token
from stream_gateway.control.app import make_app
from stream_gateway.control.subject import Subject
from stream_gateway.guard.addresses import is_loopback

_log = structlog.get_logger()

WRITE_TIMEOUT: Final = 10_000
"""Milliseconds for which a client may take nothing before the kernel gives its connection up."""

IDLE: Final = 30
"""Seconds for which a connection may say nothing: between two scrapes there may be fifteen."""


class ControlPlane:
    """Serves one gateway's control plane.

    Args:
        sock: bound; the plane owns it from now on.

    Raises:
        ConfigError: the admin's token cannot be read.
    """

    def __init__(self, sock: socket.socket, subject: Subject, settings: ControlSettings) -> None:
        recognise, closed = partial(subject.guard.recognise, final=True), not is_loopback(settings.host)
        self._access = Access(settings.hosts, read_token(settings), recognise, closed=closed)
        self._app = make_app(subject, self._access)
        self._sock = sock
        name = sock.getsockname()
        self.host: str = name if isinstance(name, str) else name[0]
        self.port: int = 0 if isinstance(name, str) else name[1]
        if sock.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            # Accepted connections inherit it. Hypercorn writes without a deadline, and shielded from cancellation.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, WRITE_TIMEOUT)

    def reconfigure(self, hosts: tuple[str, ...], token: str | None) -> None:
        """From now on other names and another token count (see `Access`)."""
        self._access.change(hosts, token)

    async def run(self) -> None:
        """Serve until cancelled. What goes wrong here ends the control plane, and is logged, but nothing else."""
        config = Hypercorn()
        config.bind = [f"fd://{os.dup(self._sock.fileno())}"]
        config.accesslog = config.errorlog = None
        config.include_server_header = False
        config.keep_alive_timeout = config.read_timeout = IDLE
        config.alpn_protocols = ["http/1.1"]
        _log.info("control_plane", host=self.host, port=self.port)
        try:
            app: Any = self._app  # the types of Starlette and hypercorn describe one protocol in two ways
            await serve(app, config, mode="asgi", shutdown_trigger=trio.sleep_forever)
        except Exception:
            _log.exception("control_plane_failed")
        finally:
            self._sock.close()
