"""The settings: one frozen `Config` of nested sections, with every default."""

from typing import Annotated, Any, Final, Literal

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Bytes = Annotated[int, msgspec.Meta(gt=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]

MAX_TOTAL: Final = 3600.0
"""Seconds of an answer whose route says nothing: one that trickles for ever has to end some time."""

LOCAL_ORIGINS: Final = ("http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*")


class ConfigError(Exception):
    """A configuration that cannot be used.

    Attributes:
        problems: what is wrong with it, each in one sentence that names file, key and what was expected.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ServerSettings(_Section, frozen=True):
    """The data plane. `port` 0 takes a free one; `send_buffer_bytes` 0 leaves the size to the kernel.

    `unix` is a path to listen on instead of `host` and `port`. `trusted_proxies` are networks (or `unix`) whose
    `X-Forwarded-For` is believed. `demo_page`: whether there is a chat page at `/demo`.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    backlog: Annotated[int, msgspec.Meta(gt=0)] = 1024
    keepalive: Seconds = 15.0
    write_timeout: Seconds = 30.0
    drain_timeout: Seconds = 30.0
    send_buffer_bytes: Annotated[int, msgspec.Meta(ge=0)] = 131_072
    unix: str | None = None
    reuse_port: bool = False
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    tls_certificate: str | None = None
    tls_key: str | None = None
    proxy_protocol: bool = False
    trusted_proxies: tuple[str, ...] = ()
    demo_page: bool = True


class LimitSettings(_Section, frozen=True):
    """What a client may ask of us. `idle_timeout` is for connections between two requests.

    `streams_per_connection` and `resets_per_second` are for HTTP/2.
    """

    connections: Annotated[int, msgspec.Meta(gt=0)] = 10_000
    connections_per_address: Annotated[int, msgspec.Meta(gt=0)] = 4096
    header_bytes: Bytes = 16_384
    header_timeout: Seconds = 10.0
    body_bytes: Bytes = 20_971_520
    body_timeout: Seconds = 30.0
    idle_timeout: Seconds = 75.0
    streams_per_connection: Annotated[int, msgspec.Meta(gt=0)] = 256
    resets_per_second: Seconds = 50.0


class StreamSettings(_Section, frozen=True):
    """Logs: how much a running one holds, how long an ended one stays, what all together may take, and what was asked.

    `chunking`: of clients that ask for none, on routes that say nothing.
    """

    retain_bytes: Bytes = 4_194_304
    retain_for: Seconds = 600.0
    stall_timeout: Seconds = 10.0
    budget_bytes: Bytes = 536_870_912
    lease: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    chunking: str = "adaptive"


class EngineSettings(_Section, frozen=True):
    """Where logs live. `memory`: nowhere else. `sqlite`: in a file, too; `redis`: in Redis or Valkey, too.

    `sync`: `behind` shows events to clients at once, `strict` only when they are stored. `lease`: seconds after which a
    gateway that is not heard of any more has lost its streams. `fsync`: of SQLite; `commit` survives a power cut.
    `prefix`: of all keys in Redis.
    """

    kind: Literal["memory", "sqlite", "redis"] = "memory"
    path: str = "streams.db"
    url: str = "redis://127.0.0.1:6379/0"
    prefix: str = "stream-gateway"
    sync: Literal["behind", "strict"] = "behind"
    fsync: Literal["commit", "checkpoint", "off"] = "checkpoint"
    lease: Seconds = 10.0


class SocketSettings(_Section, frozen=True):
    """WebSocket. `compression`: `context` saves most, `shared` costs least with many sockets on one stream."""

    ping_interval: Seconds = 20.0
    pong_timeout: Seconds = 20.0
    close_timeout: Seconds = 5.0
    message_bytes: Bytes = 1_048_576
    commands_per_second: Seconds = 100.0
    streams: Annotated[int, msgspec.Meta(gt=0)] = 256
    per_address: Annotated[int, msgspec.Meta(gt=0)] = 4096
    compression: Literal["context", "shared", "off"] = "context"


class CompressionSettings(_Section, frozen=True):
    """Of HTTP responses. `codings` are names, or `package.module:Class`, best first: the client's weights come before.

    `window_bits`: of gzip, deflate and zstd, as a power of two. `minimum_bytes`: of replies that are not streamed.
    `budget_bytes`: what all compressors together may take.
    """

    enabled: bool = True
    codings: tuple[str, ...] = ("dcz", "gzip", "zstd", "br", "deflate")
    window_bits: Annotated[int, msgspec.Meta(ge=10, le=15)] = 10
    gzip_level: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    br_level: Annotated[int, msgspec.Meta(ge=2, le=8)] = 3
    minimum_bytes: Bytes = 1024
    budget_bytes: Bytes = 134_217_728


class ControlSettings(_Section, frozen=True):
    """The control plane. The admin's token is in an environment variable or a file, and needed off loopback.

    `hosts`: names by which it is called, besides addresses and localhost. `gateway_url`: where browsers find the data
    plane, if that is not where it listens. `exemplars`: see docs/metrics.md.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 9090
    token_env: str | None = None
    token_file: str | None = None
    hosts: tuple[str, ...] = ()
    gateway_url: str | None = None
    exemplars: bool = False


class TracingSettings(_Section, frozen=True):
    """OpenTelemetry's traces; everything else about them is said in its own environment variables."""

    enabled: bool = False


class CorsSettings(_Section, frozen=True):
    """Browser origins that may call us; `*` stands for any port, or alone for any origin."""

    origins: tuple[str, ...] = LOCAL_ORIGINS


Rsa = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
Algorithm = Literal[Rsa, "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"]


class QuotaSettings(_Section, frozen=True):
    """How much one principal may have; None: as much as there is. `streams` and `sockets` are at once."""

    requests_per_minute: Annotated[int, msgspec.Meta(gt=0)] | None = None
    tokens_per_minute: Annotated[int, msgspec.Meta(gt=0)] | None = None
    streams: Annotated[int, msgspec.Meta(gt=0)] | None = None
    sockets: Annotated[int, msgspec.Meta(gt=0)] | None = None


class JwtSettings(_Section, frozen=True):
    """Whose JWTs are taken: of `issuer`, for `audience`, signed with a key of `jwks_url` or `jwks_file`, or (HS…) with
    the secret in `secret_env` or `secret_file`.

    `refresh`: seconds after which keys are fetched again. `leeway`: by how much clocks may differ. Who has
    `admin_scope` among the words of the claim `scope` is an admin. `ca_file`: as a provider's.
    """

    issuer: str
    audience: str
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
    jwks_url: str | None = None
    jwks_file: str | None = None
    secret_env: str | None = None
    secret_file: str | None = None
    ca_file: str | None = None
    refresh: Seconds = 300.0
    fetch_timeout: Seconds = 5.0
    leeway: Annotated[float, msgspec.Meta(ge=0, le=600)] = 30.0
    admin_scope: str | None = None


class GuardSettings(_Section, frozen=True):
    """Who is let in. `anonymous` None: whoever asks, if there are no keys and only this machine can connect.

    `secret_env` or `secret_file` name what signs stream tokens, for several gateways that take each other's.
    `token_lifetime` is that of stream tokens that ask for none, `max_token_lifetime` the longest. `auth_timeout`: for
    the first message of a socket whose handshake showed nothing. `failed_logins`: a minute, of an address. `quota`:
    of each principal whose key has none of its own.
    """

    keys_file: str | None = None
    jwt: JwtSettings | None = None
    anonymous: bool | None = None
    secret_env: str | None = None
    secret_file: str | None = None
    token_lifetime: Seconds = 300.0
    max_token_lifetime: Seconds = 3600.0
    auth_timeout: Seconds = 5.0
    failed_logins: Annotated[int, msgspec.Meta(gt=0)] = 10
    quota: QuotaSettings = QuotaSettings()


class LogSettings(_Section, frozen=True):
    """`auto`: for people on a terminal, JSON lines elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class ProviderSettings(_Section, frozen=True):
    """An upstream endpoint. Its key comes from an environment variable or a file, never from here.

    `silence_timeout`: the longest pause in an answer, its beginning included. `proxy`: a URL, or `none`; without it
    the environment's counts.
    """

    dialect: Literal["openai_chat", "openai_responses", "anthropic", "gemini"]
    base_url: str
    api_key_env: str | None = None
    api_key_file: str | None = None
    connect_timeout: Seconds = 10.0
    silence_timeout: Seconds = 120.0
    write_timeout: Seconds = 30.0
    idle_timeout: Seconds = 60.0
    max_lifetime: Seconds = 3600.0
    max_connections: Annotated[int, msgspec.Meta(gt=0)] = 1000
    prewarm: Annotated[int, msgspec.Meta(ge=0)] = 0
    http2: Literal["auto", "off", "prior-knowledge"] = "auto"
    ca_file: str | None = None
    proxy: str | None = None
    max_reply_bytes: Bytes = 33_554_432


Capability = Literal["tools", "images", "reasoning", "continue"]


class TargetSettings(_Section, frozen=True):
    """Where a route leads: a provider, and its own name for the model (`*`: the name as the client wrote it).

    `capabilities`: what it can do; None for anything but `continue`, which has to be declared. `concurrency`: how
    many attempts it serves at once, `queue`: how many wait for that. `cost` is a price in any unit: of targets
    that are equally good, the cheaper is taken.
    """

    provider: str
    model: str
    weight: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    priority: Annotated[int, msgspec.Meta(ge=0)] = 0
    cost: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    capabilities: tuple[Capability, ...] | None = None
    concurrency: Annotated[int, msgspec.Meta(gt=0)] | None = None
    queue: Annotated[int, msgspec.Meta(ge=0)] = 0

    @property
    def name(self) -> str:
        """How statistics and errors call it."""
        return f"{self.provider}/{self.model}"


class TimeoutSettings(_Section, frozen=True):
    """`first_token`: of each attempt. `between_tokens`: silence after that. None: the provider's `silence_timeout`.

    `total`: the whole answer, waiting, retries and all; None: an hour.
    """

    first_token: Seconds | None = None
    between_tokens: Seconds | None = None
    total: Seconds | None = None


class RetrySettings(_Section, frozen=True):
    """`attempts`: at most, the first one included. `budget`: retries as a share of requests.

    `backoff` and `max_backoff` bound the random pause before the same target is asked again; `max_wait` bounds what a
    `Retry-After` may make of it: who asks for more is not asked again.
    """

    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    budget: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    backoff: Seconds = 0.2
    max_backoff: Seconds = 2.0
    max_wait: Seconds = 5.0


class HedgeSettings(_Section, frozen=True):
    """A second target is asked when the first token takes longer than `quantile` of them do; `budget`: at most for
    this share of requests."""

    quantile: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95
    budget: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05


class BreakerSettings(_Section, frozen=True):
    """After `failures` failures a target is left alone for `open_for` seconds, and longer each time a trial fails."""

    failures: Annotated[int, msgspec.Meta(ge=1)] = 5
    open_for: Seconds = 5.0


class RouteSettings(_Section, frozen=True):
    """A public model name: its targets, and how one of them is chosen for each attempt.

    `sticky`: a conversation stays at its target. `queue_timeout`: the longest wait for a place at a target.
    `after_first_token`: what becomes of an answer that breaks off when a client has seen its beginning. `chunking`: of
    clients that ask for none.
    """

    targets: Annotated[tuple[TargetSettings, ...], msgspec.Meta(min_length=1)]
    strategy: Literal["weighted", "least-in-flight", "latency"] = "weighted"
    sticky: bool = False
    queue_timeout: Seconds = 5.0
    after_first_token: Literal["fail", "continue"] = "fail"
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: RetrySettings = RetrySettings()
    hedge: HedgeSettings | None = None
    breaker: BreakerSettings = BreakerSettings()
    chunking: str | None = None


class ChunkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A chunking strategy of somebody's own: a class, as `package.module:Class`, and what it is made with."""

    class_: str = msgspec.field(name="class")
    options: dict[str, Any] = {}


class Config(_Section, frozen=True):
    """Everything the gateway can be told."""

    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    streams: StreamSettings = StreamSettings()
    engine: EngineSettings = EngineSettings()
    sockets: SocketSettings = SocketSettings()
    compression: CompressionSettings = CompressionSettings()
    cors: CorsSettings = CorsSettings()
    guard: GuardSettings = GuardSettings()
    control: ControlSettings = ControlSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    providers: dict[str, ProviderSettings] = {}
    routes: dict[str, RouteSettings] = {}
    chunking: dict[str, ChunkerSettings] = {}


def route_timeouts(config: Config, route: RouteSettings) -> TimeoutSettings:
    """A route's timeouts: its own, where it has some, else those of the section `timeouts`."""
    own = {name: value for name, value in msgspec.structs.asdict(route.timeouts).items() if value is not None}
    return msgspec.structs.replace(config.timeouts, **{"total": config.timeouts.total or MAX_TOTAL, **own})
