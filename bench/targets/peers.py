"""The peers: what users would pick instead. Fastest documented settings, one worker each."""

import json
import shutil
import sys
from pathlib import Path

from bench.processes import ROOT, free_port
from bench.targets.install import NodeFolder, Venv, first_existing, installed_program
from bench.targets.target import Say, Site, Start, Target
from bench.watching import Command, FanOut, Way

_SOURCES = ROOT / "bench" / "peers"

_ASGI = Venv("asgi", "fastapi", "uvicorn[standard]", "hypercorn[trio]", "httpx", "trio", "uvloop")
_AIOHTTP = Venv("aiohttp", "aiohttp[speedups]", "uvloop")
_LITELLM = Venv("litellm", "litellm[proxy]")
# The embedded HTTP gateway is announced to go away in later versions.
_TENSORZERO = Venv("tensorzero", "tensorzero<=2026.6.0", "openai")
# Its last version fails each streamed request on later versions of the server library that it allows.
_PORTKEY = NodeFolder("@portkey-ai/gateway", "1.15.2", {"@hono/node-server": "1.13.8"})


_SOCKETIO = NodeFolder("socket.io", "^4.8.0")


def _base(site: Site) -> str:
    return f"http://127.0.0.1:{site.upstream}/v1"


def _env(site: Site) -> dict[str, str]:
    return {"UPSTREAM": _base(site), "PORT": str(site.port), "PYTHONPATH": str(_SOURCES)}


def _uvicorn(site: Site) -> Start:
    quick = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    listen = ["--host", "127.0.0.1", "--port", str(site.port), "--workers", "1", "--backlog", "4096"]
    return Start([_ASGI.bin("uvicorn"), "fastapi_httpx:app", *listen, *quick], _env(site))


def _hypercorn(site: Site) -> Start:
    options = ["--worker-class", "trio", "--workers", "0", "--bind", f"127.0.0.1:{site.port}", "--backlog", "4096"]
    return Start([_ASGI.bin("hypercorn"), "fastapi_httpx:app", *options], _env(site))


def _aiohttp(site: Site) -> Start:
    return Start([_AIOHTTP.bin("python"), str(_SOURCES / "aiohttp_relay.py")], _env(site))


def _litellm(site: Site) -> Start:
    config = site.folder / "litellm.yaml"
    parameters = {"model": "openai/bench", "api_base": _base(site), "api_key": "none"}
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "bench", "litellm_params": parameters}],
                "litellm_settings": {"callbacks": [], "num_retries": 0, "request_timeout": 600, "telemetry": False},
                "general_settings": {"disable_spend_logs": True, "disable_error_logs": True},
            }
        )
    )
    command = [_LITELLM.bin("litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(site.port)]
    env = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # No key to check, as none of the others checks one.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    return Start([*command, "--num_workers", "1"], {**env, "PATH": _LITELLM.bin("") + ":/usr/bin:/bin"})


def _tensorzero(site: Site) -> Start:
    config = site.folder / "tensorzero.toml"
    config.write_text(
        f"""\
[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true

[models.bench]
routing = ["mock"]

[models.bench.providers.mock]
type = "openai"
model_name = "bench"
api_base = "{_base(site)}/"
api_key_location = "none"
"""
    )
    port_file = site.folder / "tensorzero.port"
    port_file.unlink(missing_ok=True)
    script = str(_SOURCES / "tensorzero_embedded.py")
    return Start([_TENSORZERO.bin("python"), script, str(config), str(port_file)], port_file=port_file)


def _portkey(site: Site) -> Start:
    server = _PORTKEY.file("@portkey-ai/gateway/build/start-server.js")
    return Start(["node", server, f"--port={site.port}", "--headless"], {"NODE_ENV": "production"})


def _socketio(site: Site) -> Start:
    env = {**_env(site), "NODE_PATH": _SOCKETIO.file(""), "NODE_ENV": "production"}
    return Start(["node", str(_SOURCES / "socketio.js")], env)


def _nginx_version(say: Say) -> str:
    return installed_program("nginx", "-v").removeprefix("nginx version: nginx/")


def _nginx(site: Site) -> Start:
    config = site.folder / "nginx.conf"
    config.write_text((_SOURCES / "nginx.conf").read_text() % {"port": site.port, "upstream": site.upstream})
    return Start([shutil.which("nginx") or "nginx", "-p", str(site.folder), "-c", str(config), "-e", "stderr"])


def _nchan_module() -> str:
    nginx = Path(shutil.which("nginx") or "/usr/sbin/nginx").resolve()
    name = "ngx_nchan_module.so"
    folders = [nginx.parent.parent / "lib/nginx/modules", Path("/usr/lib/nginx/modules"), Path("/etc/nginx/modules")]
    return first_existing([str(folder / name) for folder in folders], "nginx's nchan module")


def _nchan_version(say: Say) -> str:
    nginx = _nginx_version(say)
    _nchan_module()
    return f"nginx {nginx}"


def _nchan(site: Site) -> Start:
    publisher = free_port()
    values = {"port": site.port, "publisher": publisher, "upstream": site.upstream, "module": _nchan_module()}
    config = site.folder / "nchan.conf"
    config.write_text((_SOURCES / "nchan.conf").read_text() % values)
    nginx = [shutil.which("nginx") or "nginx", "-p", str(site.folder), "-c", str(config), "-e", "stderr"]
    ports = ["--port", str(publisher), "--nchan", str(site.port), "--upstream", str(site.upstream)]
    return Start([sys.executable, "-m", "bench.relays.nchan", *ports, "--", *nginx])


TARGETS = [
    Target(
        name="nginx",
        about="nginx as a reverse proxy without buffering, one worker (C): no AI gateway, for scale",
        install=_nginx_version,
        start=_nginx,
    ),
    Target(
        name="aiohttp",
        about="a hand-written relay: aiohttp on both sides, on uvloop",
        install=_AIOHTTP.with_("aiohttp", "uvloop"),
        start=_aiohttp,
    ),
    Target(
        name="fastapi-uvicorn",
        about="a hand-written proxy: FastAPI and httpx, on uvicorn with uvloop and httptools",
        install=_ASGI.with_("fastapi", "httpx", "uvicorn", "uvloop"),
        start=_uvicorn,
    ),
    Target(
        name="fastapi-hypercorn",
        about="the same proxy on hypercorn's Trio worker",
        install=_ASGI.with_("fastapi", "httpx", "hypercorn", "trio"),
        start=_hypercorn,
    ),
    Target(
        name="litellm",
        about="LiteLLM proxy, one worker, no database, no callbacks",
        install=_LITELLM.with_("litellm"),
        start=_litellm,
        patience=120.0,
    ),
    Target(
        name="tensorzero",
        about="TensorZero's embedded HTTP gateway (Rust), without observability",
        install=_TENSORZERO.with_("tensorzero"),
        start=_tensorzero,
        path="/openai/v1/chat/completions",
        model="tensorzero::model_name::bench",
    ),
    Target(
        name="portkey",
        about="Portkey's AI gateway (Node)",
        install=_PORTKEY.install,
        start=_portkey,
        headers={
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": "http://127.0.0.1:{upstream}/v1",
            "authorization": "Bearer none",
        },
    ),
    Target(
        name="nchan",
        about="nginx with nchan, a publisher beside it: fan-out only",
        install=_nchan_version,
        start=_nchan,
        can=frozenset({"resume"}),
        fan_out=FanOut(
            "/v1/streams",
            {"sse": Way("/v1/streams/{id}/events"), "websocket": Way("/v1/streams/{id}/events", "websocket")},
        ),
    ),
    Target(
        name="socket.io",
        about="Socket.IO, a room for each generation (Node): fan-out only",
        install=_SOCKETIO.install,
        start=_socketio,
        can=frozenset(),
        fan_out=FanOut(
            "/v1/streams",
            {
                "websocket": Way(
                    "/socket.io/?EIO=4&transport=websocket",
                    "websocket",
                    says=("40", "", '42["watch","{id}"]'),
                )
            },
            {
                "subscribe": (
                    Command('42{ref}["watch","{id}"]', "43{ref}["),
                    Command('42{ref}["leave","{id}"]', "43{ref}["),
                )
            },
        ),
    ),
]
