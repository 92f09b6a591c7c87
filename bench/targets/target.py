"""What can stand between clients and the upstream, as plain data: adding one is ten lines in a table."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.watching import FanOut

Say = Callable[[str], None]
"""Tells the user what takes so long."""


class Unavailable(Exception):
    """A target cannot be had on this machine; the message says why in one sentence."""


@dataclasses.dataclass(frozen=True)
class Site:
    """Where a target is to run."""

    port: int
    upstream: int
    """The port of the upstream; its base URL is http://127.0.0.1:PORT/v1."""
    folder: Path
    """For its configuration files."""
    host: str = "127.0.0.1"
    """The address on which it listens."""


@dataclasses.dataclass(frozen=True)
class Start:
    """How a target is started."""

    command: list[str]
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    port_file: Path | None = None
    """Where a target that picks its port itself tells it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    name: str
    about: str
    """What it is, in one line for the report."""
    install: Callable[[Say], str]
    """Makes it ready and returns its version; raises `Unavailable`."""
    start: Callable[[Site], Start] | None
    """None: there is no process, the upstream is asked directly."""
    kind: str = "peer"
    """Or "reference" (direct, floor), "gateway", "faulty"."""
    can: frozenset[str] = frozenset({"chat"})
    """Also "resume": a watcher that comes back with Last-Event-ID gets what it missed; and "multiplex": a WebSocket
    that speaks the gateway's subprotocol, and so creates streams and carries many."""
    path: str = "/v1/chat/completions"
    model: str = "bench"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of every request; `{upstream}` stands for the upstream's port."""
    fan_out: FanOut | None = None
    """How it spreads one generation to many, if it does."""
    tls: bool = False
    """Its port speaks TLS, with a certificate that nobody need trust."""
    patience: float = 30.0
    """Seconds it may take to start."""
