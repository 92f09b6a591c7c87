"""The gateway: everything put together. The one module, besides `cli` and `api`, that knows every part."""

import collections
import importlib.metadata
from typing import Final

import structlog
import trio

from stream_gateway.config import Changes, Config, ServerSettings, changes
from stream_gateway.engines.opening import open_engine
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.origins import OriginPolicy
from stream_gateway.guard.proxies import TrustedProxies
from stream_gateway.observe.catalogue import Scene
from stream_gateway.observe.meters import Meters
from stream_gateway.observe.statistics import ConnectionStatistics, PoolStatistics
from stream_gateway.observe.statistics import Statistics as Statistics
from stream_gateway.observe.tracing import Tracer
from stream_gateway.server.certificates import Certificates
from stream_gateway.server.compression import Compression, load_codecs
from stream_gateway.server.exchange import Exchange
from stream_gateway.server.http1 import Handler
from stream_gateway.server.keepalive import Keepalive, say_when_to_come_back
from stream_gateway.server.listener import Listener, bind
from stream_gateway.server.routes import Routes
from stream_gateway.server.sockets.service import COME_BACK_WITHIN, SocketService
from stream_gateway.server.table import demo_page, table
from stream_gateway.streams.budget import Budget
from stream_gateway.streams.chunkers import Chunkers, load_chunkers
from stream_gateway.streams.generations import Generations
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.storage import Storage
from stream_gateway.streams.turn import Turn
from stream_gateway.streams.vitals import story_of, survey
from stream_gateway.upstream import demo
from stream_gateway.upstream.demo import DemoProvider
from stream_gateway.upstream.keys import read_key
from stream_gateway.upstream.provider import Provider
from stream_gateway.upstream.pump import open_pump
from stream_gateway.upstream.routing.router import Router
from stream_gateway.upstream.vendor import VendorProvider

_log = structlog.get_logger()


TRACES_GRACE: Final = 3.0
"""Seconds in which the last traces may leave at the end."""

VERSION: Final = importlib.metadata.version("stream-gateway")


def guard_of(config: Config) -> Guard:
    """The guard of a gateway as `config` says.

    Raises:
        ConfigError: see `Guard`.
    """
    return Guard(config.guard, host=None if config.server.unix else config.server.host)


def _storage_of(config: Config) -> Storage | None:
    engine = open_engine(config)
    if engine is None:
        return None
    return Storage(engine, strict=config.engine.sync == "strict", lease=config.engine.lease)


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
        meters: what has been counted.

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
        self._started = False
        self.meters = Meters(exemplars=config.control.exemplars)
        self._turn = Turn()
        self._pump = open_pump(self._turn)
        self._demo = DemoProvider()
        self._vendors = {
            name: VendorProvider(name, settings, self._pump) for name, settings in config.providers.items()
        }
        self._tended: dict[VendorProvider, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._budget = Budget(config.streams.budget_bytes)
        self._storage = _storage_of(config)
        self._registry = Registry(
            config.streams, self._budget, self._turn, load_chunkers(config), self._storage, self.meters
        )
        self._tracer = Tracer(VERSION) if config.tracing.enabled else None
        if self._tracer is not None:
            self.trace_with(self._tracer)
        self._keepalive = Keepalive(config.server.keepalive)
        self._router = Router(config, self._providers(), meters=self.meters)
        self.generations = Generations(self._registry, self._router, self.guard.quotas)
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
        self.host = ""
        self.port = 0
        self._listener = self._listen(server) if listening else None

    def _providers(self) -> dict[str, Provider]:
        return {demo.NAME: self._demo, **self._vendors}

    def _listen(self, server: ServerSettings) -> Listener:
        sock = bind(server)
        name = sock.getsockname()
        self.host, self.port = (name, 0) if isinstance(name, str) else name[:2]
        return Listener(
            sock,
            self.handle,
            server,
            self.config.limits,
            certificates=self._certificates,
            turn=self._turn,
            meters=self.meters,
        )

    @property
    def registry(self) -> Registry:
        """The streams that there are."""
        return self._registry

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started when it can serve; connections are refused or cut when it ends."""
        async with trio.open_nursery() as self._nursery:
            nursery = self._nursery
            nursery.start_soon(self._pump.run)
            nursery.start_soon(self._keepalive.run)
            nursery.start_soon(self.guard.run)
            nursery.start_soon(self._sockets.run)
            for provider in self._vendors.values():
                nursery.start_soon(self._tend, provider)
            await nursery.start(self._registry.run)
            if self._listener is not None:
                nursery.start_soon(self._listener.run)
                _log.info("listening", host=self.host, port=self.port)
            self._started = True
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                await self._let_traces_go()

    def trace_with(self, tracer: Tracer) -> None:
        """Have a tracer tell of all streams that are made from now on."""
        self._tracer = tracer
        self._registry.tell = lambda stream: tracer.tell(story_of(stream))

    async def _let_traces_go(self) -> None:
        if self._tracer is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + TRACES_GRACE):
                await trio.to_thread.run_sync(self._tracer.close, abandon_on_cancel=True)

    async def _tend(self, vendor: VendorProvider) -> None:
        """Look after a provider's connections until it is needed no more; requests under way go on."""
        with trio.CancelScope() as self._tended[vendor]:
            try:
                await vendor.transport.run()
            finally:
                vendor.transport.close()

    def reload(self, config: Config) -> Changes:
        """Serve as another configuration says, as far as that needs no restart; no connection is lost.

        Certificates and keys are read again. What is under way goes on as it began, but for what clients whose API keys
        were revoked have begun: that ends.

        Raises:
            ConfigError: something cannot be used; all stays as it is.
        """
        made = changes(self.config, config)
        config = made.config
        context = None if self._certificates is None else self._certificates.load()
        chunkers = load_chunkers(config)
        vendors, keys = {}, {}
        for name, settings in config.providers.items():
            vendor = self._vendors.get(name)
            if vendor is not None and vendor.settings == settings:
                keys[vendor] = read_key(name, settings)
            else:
                vendor = VendorProvider(name, settings, self._pump)
            vendors[name] = vendor
        self.guard.reload()
        # Nothing can go wrong any more.
        if self._certificates is not None and context is not None:
            self._certificates.context = context
        for vendor, key in keys.items():
            vendor.use_key(key)
        self._exchange_vendors(vendors)
        self._apply(config, chunkers)
        self._sockets.banish(self.guard.knows)
        self._registry.banish(self.guard.knows)
        return made

    def _exchange_vendors(self, vendors: dict[str, VendorProvider]) -> None:
        old, self._vendors = self._vendors, vendors
        for vendor in set(old.values()) - set(vendors.values()):
            if vendor in self._tended:
                self._tended.pop(vendor).cancel()
        if self._nursery is not None:
            for vendor in set(vendors.values()) - set(old.values()):
                self._nursery.start_soon(self._tend, vendor)

    def _apply(self, config: Config, chunkers: Chunkers) -> None:
        self.config = config
        self.meters.exemplars = config.control.exemplars
        self._router.configure(config, self._providers())
        self.routes.origins = OriginPolicy(config.cors.origins)
        self._sockets.reload(config.sockets)
        self._keepalive.interval = config.server.keepalive
        self._registry.chunkers = chunkers
        self._registry.settings = config.streams
        self._budget.limit = config.streams.budget_bytes
        if self._listener is not None:
            self._listener.reconfigure(config.server, config.limits)

    async def idle(self) -> None:
        """Wait until nobody follows a stream or waits for an answer, and nobody is connected with HTTP/2."""
        await self._sockets.gone()
        if self._listener is not None:
            await self._listener.idle()

    def drain(self) -> None:
        """Accept no more connections, and ask clients to go elsewhere; what runs may end."""
        self._draining = True
        say_when_to_come_back(self._registry.all())
        if self._listener is not None:
            self._listener.drain()
        self._sockets.drain()
        self._registry.disperse(COME_BACK_WITHIN)

    def shut_down(self) -> None:
        """End all answers that run, in words of their clients' dialects; these have to be given the time to read it."""
        self._registry.shut_down()

    def connected(self) -> list[ConnectionStatistics]:
        """The open connections, oldest first."""
        return [] if self._listener is None else list(self._listener.open.values())

    def unready(self) -> str | None:
        """Why it should be given no new work; None: it should."""
        if self._draining:
            return "draining"
        if not self._started:
            return "starting"
        return "streams cannot be stored" if self._storage is not None and self._storage.failing else None

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
            log_bytes=self._budget.used - self._registry.request_bytes,
            request_bytes=self._registry.request_bytes,
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
        return Scene(self.meters, self.statistics(), running, VERSION)
