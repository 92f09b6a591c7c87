"""One frozen `Config`, from a TOML file and the environment.

Any scalar can be set by the environment: `STREAM_GATEWAY_SERVER__PORT=9000` is `server.port = 9000`.
"""

import difflib
import ipaddress
import json
import os
import re
import tomllib
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

import msgspec

ENV_PREFIX: Final = "STREAM_GATEWAY_"

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Bytes = Annotated[int, msgspec.Meta(gt=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]

MAX_TOTAL: Final = 3600.0
"""Seconds of an answer whose route says nothing: one that trickles for ever has to end some time."""

LOCAL_ORIGINS: Final = ("http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*")


class ConfigError(Exception):
    """A configuration that cannot be used: one sentence that names file, key and what was expected."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ServerSettings(_Section, frozen=True):
    """The data plane. `port` 0 takes a free one; `send_buffer_bytes` 0 leaves the size to the kernel.

    `unix` is a path to listen on instead of `host` and `port`. `trusted_proxies` are networks (or `unix`) whose
    `X-Forwarded-For` is believed.
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
    tls_certificate: str | None = None
    tls_key: str | None = None
    proxy_protocol: bool = False
    trusted_proxies: tuple[str, ...] = ()


class LimitSettings(_Section, frozen=True):
    """What a client may ask of us. `idle_timeout` is for connections between two requests.

    `streams_per_connection` and `resets_per_second` are for HTTP/2.
    """

    connections: Annotated[int, msgspec.Meta(gt=0)] = 10_000
    header_bytes: Bytes = 16_384
    header_timeout: Seconds = 10.0
    body_bytes: Bytes = 20_971_520
    body_timeout: Seconds = 30.0
    idle_timeout: Seconds = 75.0
    streams_per_connection: Annotated[int, msgspec.Meta(gt=0)] = 256
    resets_per_second: Seconds = 50.0


class StreamSettings(_Section, frozen=True):
    """Logs: how much a running one holds, how long an ended one stays, what all together may take.

    `chunking`: of clients that ask for none, on routes that say nothing.
    """

    retain_bytes: Bytes = 4_194_304
    retain_for: Seconds = 600.0
    stall_timeout: Seconds = 10.0
    budget_bytes: Bytes = 536_870_912
    lease: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    chunking: str = "adaptive"


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


class CorsSettings(_Section, frozen=True):
    """Browser origins that may call us; `*` stands for any port, or alone for any origin."""

    origins: tuple[str, ...] = LOCAL_ORIGINS


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
    sockets: SocketSettings = SocketSettings()
    compression: CompressionSettings = CompressionSettings()
    cors: CorsSettings = CorsSettings()
    log: LogSettings = LogSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    providers: dict[str, ProviderSettings] = {}
    routes: dict[str, RouteSettings] = {}
    chunking: dict[str, ChunkerSettings] = {}


def load_config(path: Path | None, environ: Mapping[str, str] | None = None) -> Config:
    """Read a configuration file (or none) and the environment.

    Raises:
        ConfigError: the file cannot be read or does not say what it should.
    """
    if path is None:
        return config_from_toml("", environ=environ)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text.") from None
    return config_from_toml(text, where=str(path), environ=environ)


def config_from_toml(text: str, *, where: str = "config", environ: Mapping[str, str] | None = None) -> Config:
    """Read a configuration from TOML text; `where` is how errors call it.

    Raises:
        ConfigError: as `load_config`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}.") from None
    _merge_environment(data, os.environ if environ is None else environ)
    # Named tables one by one, because the error of a whole one would not name the entry.
    tables = {
        "providers": _table(data.pop("providers", {}), ProviderSettings, "providers", where),
        "routes": _table(data.pop("routes", {}), RouteSettings, "routes", where),
        "chunking": _chunkers(_table(data.pop("chunking", {}), dict[str, Any], "chunking", where), where),
    }
    config: Config = msgspec.structs.replace(_convert(data, Config, "", where), **tables)
    _check(config, where)
    return config


def _merge_environment(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    sections = get_type_hints(Config)
    for name, value in environ.items():
        section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if name.startswith(ENV_PREFIX) and key:
            if section not in sections or not hasattr(sections[section], "__struct_fields__"):
                known = ", ".join(kind for kind, hint in sections.items() if hasattr(hint, "__struct_fields__"))
                raise ConfigError(f"environment variable {name}: there is no section `{section}`; known: {known}.")
            try:
                parsed = json.loads(value)
            except ValueError:
                parsed = value
            table = data.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = parsed


def _table(data: Any, kind: type[Any], key: str, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: key `{key}`: expected a table.")
    return {name: _convert(entry, kind, f'{key}."{name}"', where) for name, entry in data.items()}


def _chunkers(entries: dict[str, dict[str, Any]], where: str) -> dict[str, ChunkerSettings]:
    """Whatever else stands beside `class` is for the class to know."""
    found = {}
    for name, entry in entries.items():
        options = {key: value for key, value in entry.items() if key != "class"}
        plain = {"class": entry["class"]} if "class" in entry else {}
        key = f'chunking."{name}"'
        found[name] = _convert({**plain, "options": options}, ChunkerSettings, key, where)
    return found


def _convert(data: Any, kind: type[Any], key: str, where: str) -> Any:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), kind, key, where)) from None


def _explain(text: str, kind: type[Any], key: str, where: str) -> str:
    """msgspec's sentence, with file, full key, and the nearest key that would have been right."""
    what, _, path = text.partition(" - at `$")
    full = (key + path.removesuffix("`")).removeprefix(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.+)`", what)
    if unknown is None:
        if what.startswith("Invalid enum value"):
            what += f"; expected {_choices(kind, path.removesuffix('`'))}"
        return f"{where}: key `{full}`: {what[:1].lower()}{what[1:]}."
    allowed = _keys(kind, path.removesuffix("`"))
    close = difflib.get_close_matches(unknown[1], allowed, 1)
    hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(allowed)}."
    return f"{where}: key `{full + '.' if full else ''}{unknown[1]}` is not known; {hint}"


def _keys(kind: type[Any], path: str) -> list[str]:
    """The keys that may stand at a path below a section."""
    return list(_at(kind, path).__struct_fields__)


def _choices(kind: type[Any], path: str) -> str:
    """The values that may stand at a path below a section, where only some may."""
    return " or ".join(f"`{choice}`" for choice in get_args(_at(kind, path)))


def _at(kind: Any, path: str) -> Any:
    """The type at a path as msgspec writes it: `.key` for a field, `[0]` or `[...]` for an item of a list."""
    for field in re.findall(r"\.(\w+)|\[[^]]*\]", path):
        kind = get_type_hints(kind)[field] if field else get_args(kind)[0]
        if type(None) in get_args(kind):
            kind = get_args(kind)[0]
    return kind


def _is_base_url(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and not re.search(r"\s", text)
    except ValueError:  # a port that is none, or brackets that do not match
        return False


def _check(config: Config, where: str) -> None:
    """What types cannot say."""
    _check_server(config.server, where)
    for name, provider in config.providers.items():
        if not _is_base_url(provider.base_url):
            raise ConfigError(
                f'{where}: key `providers."{name}".base_url`: expected an http:// or https:// URL, '
                f"got `{provider.base_url}`."
            )
        if "?" in provider.base_url or "#" in provider.base_url:
            raise ConfigError(
                f'{where}: key `providers."{name}".base_url`: expected a URL without query or fragment; '
                "paths are appended to it."
            )
        if provider.api_key_env and provider.api_key_file:
            raise ConfigError(f'{where}: key `providers."{name}"`: give api_key_env or api_key_file, not both.')
    for name, route in config.routes.items():
        _check_route(config, name, route, where)


def _check_route(config: Config, name: str, route: RouteSettings, where: str) -> None:
    """What would make a route do something else than whoever wrote it expects."""
    key = f'{where}: key `routes."{name}"'
    known = sorted({*config.providers, "demo"})
    names = [target.name for target in route.targets]
    for index, target in enumerate(route.targets):
        here = f"{key}.targets[{index}]"
        if target.provider not in known:
            close = difflib.get_close_matches(target.provider, known, 1)
            hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known)}."
            raise ConfigError(f"{here}.provider`: there is no provider `{target.provider}`; {hint}")
        if target.name in names[:index]:
            raise ConfigError(f"{here}`: `{target.name}` is there already; give it more `weight` instead.")
        if target.queue and target.concurrency is None:
            raise ConfigError(f"{here}.queue`: nobody waits at a target without a limit; give it `concurrency`.")
    if not any(target.weight for target in route.targets):
        raise ConfigError(f"{key}.targets`: all weights are 0, so none is ever chosen; give one a `weight` above 0.")
    if route.hedge is not None and len(route.targets) == 1:
        raise ConfigError(f"{key}.hedge`: a hedge asks a second target; add one to `targets`.")
    if route.after_first_token == "continue" and not any("continue" in (t.capabilities or ()) for t in route.targets):
        raise ConfigError(
            f"{key}.after_first_token`: no target declares that it can continue an answer; "
            'add "continue" to the `capabilities` of one that goes on from a trailing assistant message.'
        )
    timeouts = route_timeouts(config, route)
    if timeouts.first_token is not None and timeouts.first_token >= (timeouts.total or MAX_TOTAL):
        raise ConfigError(f"{key}.timeouts.first_token`: must be less than `total`, or there is no time for an answer.")


def route_timeouts(config: Config, route: RouteSettings) -> TimeoutSettings:
    """A route's timeouts: its own, where it has some, else those of the section `timeouts`."""
    own = {name: value for name, value in msgspec.structs.asdict(route.timeouts).items() if value is not None}
    return msgspec.structs.replace(config.timeouts, **{"total": config.timeouts.total or MAX_TOTAL, **own})


def _check_server(server: ServerSettings, where: str) -> None:
    if server.tls_key is not None and server.tls_certificate is None:
        raise ConfigError(f"{where}: key `server.tls_key`: a key is of no use without `server.tls_certificate`.")
    for index, network in enumerate(server.trusted_proxies):
        try:
            if network != "unix":
                ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigError(
                f"{where}: key `server.trusted_proxies[{index}]`: expected a network like 10.0.0.0/8, an address, "
                f"or `unix`, got `{network}`."
            ) from None
