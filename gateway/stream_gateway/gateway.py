"""The gateway: everything put together. The one module, besides `cli` and `api`, that knows every part."""

import collections
import importlib.metadata
import socket
from typing import Final

import structlog
import trio

from stream_gateway.config import Config, ServerSettings
from stream_gateway.engines.opening import open_engine
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.origins import OriginPolicy
from stream_gateway.guard.proxies import TrustedProxies
from stream_gateway.observe.catalogue import Scene
from stream_gateway.observe.meters import Meters
from stream_gateway.observe.statistics import PoolStatistics
from stream_gateway.observe.statistics import Statistics as Statistics
from stream_gateway.server.certificates import Certificates
from stream_gateway.server.compression import Compression, load_codecs
from stream_gateway.server.exchange import Exchange
from stream_gateway.server.http1 import Handler
from stream_gateway.server.keepalive import Keepalive
from stream_gateway.server.listener import Listener, bind
from stream_gateway.server.routes import Routes
from stream_gateway.server.sockets.service import COME_BACK_WITHIN, SocketService
from stream_gateway.server.table import demo_page, table
from stream_gateway.streams.budget import Budget
from stream_gateway.streams.chunkers import load_chunkers
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.storage import Storage
from stream_gateway.streams.turn import Turn
from stream_gateway.streams.vitals import survey
from stream_gateway.upstream import demo
from stream_gateway.upstream.demo import DemoProvider
from stream_gateway.upstream.provider import Provider
from stream_gateway.upstream.pump import open_pump
from stream_gateway.upstream.routing.router import Router
from stream_gateway.upstream.vendor import VendorProvider

_log = structlog.get_logger()


VERSION: Final = importlib.metadata.version("stream-gateway")


def guard_of(config: Config) -> Guard:
    """The guard of a gateway as `config` says.

    Raises:
        ConfigError: see `Guard`.
    """
    return Guard(config.guard, host=None if config.server.unix else config.server.host)


def _behind(proxies: TrustedProxies, handle: Handler) -> Handler:
    """A handler that believes trusted proxies about who asks."""

    async def handle_for_client(exchange: Exchange) -> None:
        exchange.peer = proxies.client(exchange.peer, exchange.headers.get("x-forwarded-for"))
        await handle(exchange)

    return handle_for_client


class Gateway:
    """A gateway as `config` says. It binds its address at once, and serves in `run`.

    Args:
        listening: False: it binds nothing, and serves whoever has it (`handle`, `generations`) in this process.

    Attributes:
        handle: answers an exchange, wherever it comes from.
        generations: what is asked for streams and replies.
        guard: knows who asks.

    Raises:
        ConfigError: a provider's key cannot be read, nobody has said who may come in, or the certificate, a content
            coding or a chunker cannot be used.
        OSError: the address cannot be bound.
    """

    def __init__(self, config: Config, *, listening: bool = True) -> None:
        self.config = config
        server = config.server
        self.guard = guard_of(config)
        self._certificates = Certificates(server.tls_certificate, server.tls_key) if server.tls_certificate else None
        self._draining = False
        self._meters = Meters()
        self._turn = Turn()
        self._pump = open_pump(self._turn)
        self._vendors = {
            name: VendorProvider(name, settings, self._pump) for name, settings in config.providers.items()
        }
        self._budget = Budget(config.streams.budget_bytes)
        self._storage: Storage | None = None
        chunkers = load_chunkers(config)
        self.host = ""
        self.port = 0
        sock = self._bind(server) if listening else None
        try:
            engine = open_engine(config)
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        if engine is not None:
            self._storage = Storage(engine, strict=config.engine.sync == "strict", lease=config.engine.lease)
        self._registry = Registry(config.streams, self._budget, self._turn, chunkers, self._meters, self._storage)
        self._keepalive = Keepalive(config.server.keepalive)
        providers: dict[str, Provider] = {demo.NAME: DemoProvider(), **self._vendors}
        self._router = Router(config, providers, meters=self._meters)
        self.generations = Generations(self._registry, self._router)
        if self._storage is not None:
            self._storage.revive = self.generations.revive
        self._sockets = SocketService(config.sockets, self._registry, self.generations, self.guard)
        paths = table(self._registry, self.generations, self._router, self._sockets, self._keepalive, self.guard)
        if server.demo_page:
            paths += demo_page()
        self.routes = routes = Routes(paths, OriginPolicy(config.cors.origins), self.guard)
        compression = config.compression
        self._compression = Compression(compression, load_codecs(compression), routes.handle)
        handle = self._compression.handle if compression.enabled else routes.handle
        self.handle = _behind(TrustedProxies(server.trusted_proxies), handle) if server.trusted_proxies else handle
        self._listener = None if sock is None else self._listen(sock, server)

    def _bind(self, server: ServerSettings) -> socket.socket:
        sock = bind(server)
        self.host = server.unix or sock.getsockname()[0]
        self.port = 0 if server.unix else sock.getsockname()[1]
        return sock

    def _listen(self, sock: socket.socket, server: ServerSettings) -> Listener:
        return Listener(
            sock,
            self.handle,
            server,
            self.config.limits,
            certificates=self._certificates,
            turn=self._turn,
            meters=self._meters,
        )

    @property
    def registry(self) -> Registry:
        """The streams that there are."""
        return self._registry

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started when it can serve; connections are refused or cut when it ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump.run)
            nursery.start_soon(self._keepalive.run)
            nursery.start_soon(self._sockets.run)
            for provider in self._vendors.values():
                nursery.start_soon(provider.transport.run)
            await nursery.start(self._registry.run)
            if self._listener is not None:
                nursery.start_soon(self._listener.run)
                _log.info("listening", host=self.host, port=self.port)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                for provider in self._vendors.values():
                    provider.transport.close()

    def reload(self) -> None:
        """Read certificate and API keys again. Connections go on, but for what revoked keys have begun: that ends.

        Raises:
            ConfigError: one cannot be used; the old one stays in use.
        """
        if self._certificates is not None:
            self._certificates.reload()
        self.guard.reload()
        self._sockets.banish(self.guard.knows)
        self._registry.banish(self.guard.knows)

    async def idle(self) -> None:
        """Wait until nobody follows a stream or waits for an answer, and nobody is connected with HTTP/2."""
        await self._sockets.gone()
        if self._listener is not None:
            await self._listener.idle()

    def drain(self) -> None:
        """Accept no more connections, and ask clients to go elsewhere; what runs may end."""
        self._draining = True
        if self._listener is not None:
            self._listener.drain()
        self._sockets.drain()
        self._registry.disperse(COME_BACK_WITHIN)

    def statistics(self) -> Statistics:
        """What it holds right now."""
        pools = {name: provider.transport.statistics() for name, provider in self._vendors.items()}
        upstream = sum(pools.values(), PoolStatistics())
        listener = self._listener
        connections = {} if listener is None else listener.open
        protocols = collections.Counter(seen.protocol or "opening" for seen in connections.values())
        return Statistics(
            connections=0 if listener is None else listener.connections,
            streams=self._registry.known,
            running=self._registry.running,
            subscriptions=self._registry.subscriptions,
            sockets=len(self._sockets.sockets),
            upstream_busy=upstream.busy,
            upstream_idle=upstream.idle,
            upstream_streams=upstream.streams,
            upstream_waiting=upstream.waiting,
            log_bytes=self._budget.used,
            log_budget_bytes=self._budget.limit,
            compression_bytes=self._compression.budget.used,
            compression_budget_bytes=self.config.compression.budget_bytes,
            draining=self._draining,
            protocols=dict(protocols),
            socket_states={str(state): count for state, count in self._sockets.states().items()},
            targets=self._router.statistics(trio.current_time()),
            pools=pools,
        )

    def scene(self) -> Scene:
        """All that metrics are read from, now."""
        running = survey(self._registry.all(), trio.current_time())
        return Scene(self._meters, self.statistics(), running, VERSION)
