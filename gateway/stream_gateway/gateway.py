"""The gateway: everything put together. The one module, besides `cli` and `api`, that knows every part."""

import msgspec
import structlog
import trio

from stream_gateway.config import Config
from stream_gateway.engines.memory import MemoryEngine
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.origins import OriginPolicy
from stream_gateway.guard.proxies import TrustedProxies
from stream_gateway.server.certificates import Certificates
from stream_gateway.server.compression import Compression, load_codecs
from stream_gateway.server.exchange import Exchange
from stream_gateway.server.http1 import Handler
from stream_gateway.server.keepalive import Keepalive
from stream_gateway.server.listener import Listener, bind
from stream_gateway.server.routes import Routes
from stream_gateway.server.sockets.service import SocketService
from stream_gateway.server.table import table
from stream_gateway.streams.chunkers import load_chunkers
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.turn import Turn
from stream_gateway.upstream import demo
from stream_gateway.upstream.demo import DemoProvider
from stream_gateway.upstream.provider import Provider
from stream_gateway.upstream.pump import open_pump
from stream_gateway.upstream.routing.router import Router
from stream_gateway.upstream.routing.target import TargetStatistics
from stream_gateway.upstream.transport import PoolStatistics
from stream_gateway.upstream.vendor import VendorProvider

_log = structlog.get_logger()


class Statistics(msgspec.Struct, frozen=True):
    """What the gateway holds right now."""

    connections: int
    streams: int
    running: int
    subscriptions: int
    sockets: int
    upstream_busy: int
    upstream_idle: int
    upstream_streams: int
    upstream_waiting: int
    log_bytes: int
    compression_bytes: int
    targets: tuple[TargetStatistics, ...]


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

    Raises:
        ConfigError: a provider's key cannot be read, nobody has said who may come in, or the certificate, a content
            coding or a chunker cannot be used.
        OSError: the address cannot be bound.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        server = config.server
        self._guard = guard_of(config)
        self._certificates = Certificates(server.tls_certificate, server.tls_key) if server.tls_certificate else None
        self._turn = Turn()
        self._pump = open_pump(self._turn)
        self._vendors = {
            name: VendorProvider(name, settings, self._pump) for name, settings in config.providers.items()
        }
        self._engine = MemoryEngine(config.streams.budget_bytes)
        self._registry = Registry(config.streams, self._engine, self._turn, load_chunkers(config))
        self._keepalive = Keepalive(config.server.keepalive)
        providers: dict[str, Provider] = {demo.NAME: DemoProvider(), **self._vendors}
        self._router = Router(config, providers)
        generations = Generations(self._registry, self._router, self._guard.quotas)
        self._sockets = SocketService(config.sockets, self._registry, generations, self._guard)
        paths = table(self._registry, generations, self._router, self._sockets, self._keepalive, self._guard)
        self.routes = routes = Routes(paths, OriginPolicy(config.cors.origins), self._guard)
        compression = config.compression
        self._compression = Compression(compression, load_codecs(compression), routes.handle)
        handle = self._compression.handle if compression.enabled else routes.handle
        sock = bind(server)
        self.host: str = server.unix or sock.getsockname()[0]
        self.port: int = 0 if server.unix else sock.getsockname()[1]
        self._listener = Listener(
            sock,
            _behind(TrustedProxies(server.trusted_proxies), handle) if server.trusted_proxies else handle,
            server,
            config.limits,
            certificates=self._certificates,
            turn=self._turn,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started when it listens; connections are refused or cut when it ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump.run)
            nursery.start_soon(self._keepalive.run)
            nursery.start_soon(self._guard.run)
            nursery.start_soon(self._sockets.run)
            for provider in self._vendors.values():
                nursery.start_soon(provider.transport.run)
            await nursery.start(self._registry.run)
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
        self._guard.reload()
        self._sockets.banish(self._guard.knows)
        self._registry.banish(self._guard.knows)

    async def idle(self) -> None:
        """Wait until nobody follows a stream or waits for an answer, and nobody is connected with HTTP/2."""
        await self._sockets.gone()
        await self._listener.idle()

    def drain(self) -> None:
        """Accept no more connections, and ask clients to go elsewhere; what runs may end."""
        self._listener.drain()
        self._sockets.drain()

    def statistics(self) -> Statistics:
        """What it holds right now."""
        upstream = sum((provider.transport.statistics() for provider in self._vendors.values()), PoolStatistics())
        return Statistics(
            connections=self._listener.connections,
            streams=self._registry.known,
            running=self._registry.running,
            subscriptions=self._registry.subscriptions,
            sockets=len(self._sockets.sockets),
            upstream_busy=upstream.busy,
            upstream_idle=upstream.idle,
            upstream_streams=upstream.streams,
            upstream_waiting=upstream.waiting,
            log_bytes=self._engine.used,
            compression_bytes=self._compression.budget.used,
            targets=self._router.statistics(trio.current_time()),
        )
