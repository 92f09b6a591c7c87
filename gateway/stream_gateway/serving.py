"""Serving: the life of a gateway's process, from its first socket to its last signal."""

import gc
import signal
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
import trio

from stream_gateway import systemd
from stream_gateway.config import Changes, Config, ConfigError, ServerSettings
from stream_gateway.control.access import read_token
from stream_gateway.control.plane import ControlPlane
from stream_gateway.gateway import Gateway
from stream_gateway.guard.guard import Guard
from stream_gateway.observe.catalogue import Scene
from stream_gateway.observe.logging import set_level
from stream_gateway.observe.statistics import ConnectionStatistics
from stream_gateway.server.listener import bind
from stream_gateway.server.workers import say_ready
from stream_gateway.streams.registry import Registry

_log = structlog.get_logger()

GC_THRESHOLDS: Final = (50_000, 20, 100)

GRACE: Final = 2.0
"""Seconds in which clients may read that their answers were ended."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CannotListen(Exception):
    """An address cannot be had; the message is one sentence."""


class Process:
    """A gateway and its control plane, as `config` says, under the process' signals.

    SIGINT and SIGTERM drain, and the second one ends at once; SIGHUP reads the configuration again.

    Args:
        load: reads the configuration again.

    Attributes:
        control: the control plane; None when it is off.

    Raises:
        ConfigError: as `Gateway` and `ControlPlane`.
        CannotListen: why not.
    """

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self._load = load
        server, control = config.server, config.control
        try:
            self.gateway = Gateway(config)
        except OSError as error:
            address = server.unix or f"{server.host}:{server.port}"
            raise CannotListen(f"cannot listen on {address}: {error.strerror or error}.") from None
        self.stopping = trio.Event()
        self.control: ControlPlane | None = None
        if control.enabled:
            try:
                sock = bind(ServerSettings(host=control.host, port=control.port, send_buffer_bytes=0), "control")
            except OSError as error:
                raise CannotListen(
                    f"cannot listen on {control.host}:{control.port} for the control plane: {error.strerror or error}; "
                    "choose another port with --control-port (0: a free one)."
                ) from None
            self.control = ControlPlane(sock, self, control)

    # ---- what the control plane sees and does

    @property
    def registry(self) -> Registry:
        """Its streams."""
        return self.gateway.registry

    @property
    def guard(self) -> Guard:
        """Who knows its clients."""
        return self.gateway.guard

    @property
    def data_plane(self) -> str | None:
        """Where clients find it, as a URL; None: on a Unix socket, and nobody has said where else."""
        gateway, config = self.gateway, self.gateway.config
        if config.control.gateway_url is not None or not gateway.port:
            return config.control.gateway_url
        host = f"[{gateway.host}]" if ":" in gateway.host else gateway.host
        return f"{'https' if config.server.tls_certificate else 'http'}://{host}:{gateway.port}"

    def scene(self) -> Scene:
        """All that metrics are read from, now."""
        return self.gateway.scene()

    def connected(self) -> list[ConnectionStatistics]:
        """The open connections, oldest first."""
        return self.gateway.connected()

    def unready(self) -> str | None:
        """Why it should be given no new work; None: it should."""
        return self.gateway.unready()

    def stop(self) -> None:
        """End as after SIGTERM."""
        self.stopping.set()

    # ---- life

    async def run(self) -> None:
        """Serve until told to stop, and then until clients have had their time to leave."""
        # Logs are many small objects that live for minutes; a collector that walks them all every few thousand
        # allocations costs a third of the CPU under churn, and pauses of milliseconds. There are few cycles here.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(*SIGNALS) as signals:
                await nursery.start(self.gateway.run)
                if self.control is not None:
                    nursery.start_soon(self.control.run)
                nursery.start_soon(self._keep_watchdog_quiet)
                systemd.notify(READY=1, STATUS="serving")
                say_ready()
                await self._until_stopped(nursery, signals)
                systemd.notify(STOPPING=1, STATUS="letting running answers end")
                self.gateway.drain()
                nursery.start_soon(self._drain, nursery.cancel_scope)
                await _stop_signal(signals, self._on_hangup)
                nursery.cancel_scope.cancel()

    async def _until_stopped(self, nursery: trio.Nursery, signals: AsyncIterator[int]) -> None:
        """Wait for a signal, or for an admin's word."""
        async with trio.open_nursery() as either:

            async def stopped() -> None:
                await self.stopping.wait()
                either.cancel_scope.cancel()

            either.start_soon(stopped)
            await _stop_signal(signals, self._on_hangup)
            either.cancel_scope.cancel()

    async def _drain(self, scope: trio.CancelScope) -> None:
        """Let running answers end, for `drain_timeout`; then end them, and give clients a moment to read that."""
        with trio.move_on_after(self.gateway.config.server.drain_timeout):
            await self.gateway.idle()
        running = self.registry.running
        self.gateway.shut_down()
        with trio.move_on_after(GRACE):
            await self.gateway.idle()
        _log.info("stopped", cancelled=running, unread=self.registry.subscriptions)
        scope.cancel()

    async def _keep_watchdog_quiet(self) -> None:
        """Tell systemd that this loop turns, twice as often as it wants to hear it."""
        seconds = systemd.watchdog()
        while seconds is not None:
            systemd.notify(WATCHDOG=1)
            await trio.sleep(seconds / 2)

    def _on_hangup(self) -> None:
        systemd.notify_reloading()
        try:
            self.reload()
        except ConfigError:
            pass  # it is logged, and what was read before stays in use
        finally:
            systemd.notify(READY=1)

    def reload(self) -> Changes:
        """Read the configuration again.

        Raises:
            ConfigError: it cannot be used; all stays as it is.
        """
        try:
            config = self._load()
            token = read_token(config.control)
            made = self.gateway.reload(config)
        except ConfigError as error:
            self.gateway.meters.reloads["failed"] += 1
            _log.error("reload_failed", error=str(error))
            raise
        if self.control is not None:
            self.control.reconfigure(config.control.hosts, token)
        self.gateway.meters.reloads["good"] += 1
        _log.info("reloaded", applied=made.applied, needs_restart=made.not_live)
        set_level(config.log.level)
        return made


async def _stop_signal(signals: AsyncIterator[int], on_hangup: Callable[[], None]) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            _log.info("stopping", signal=signal.Signals(number).name)
            return
        on_hangup()
