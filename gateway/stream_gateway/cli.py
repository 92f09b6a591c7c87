"""The command `stream-gateway`."""

from collections.abc import Callable, Iterator, Sized
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import trio
import typer

from stream_gateway.client import terminal
from stream_gateway.config import Config, ConfigError, load_config
from stream_gateway.control.access import read_token
from stream_gateway.gateway import guard_of
from stream_gateway.guard.terminal import keys
from stream_gateway.observe.logging import configure_logging
from stream_gateway.server.certificates import Certificates
from stream_gateway.server.compression import load_codecs
from stream_gateway.server.workers import supervise
from stream_gateway.serving import CannotListen, Process
from stream_gateway.streams.chunkers import load_chunkers
from stream_gateway.upstream.keys import read_key
from stream_gateway.upstream.transport import dialer_for

app = typer.Typer(
    name="stream-gateway",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Flag = Annotated[bool, typer.Option("--version", help="Say which version this is.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="TOML file; without one, the demo provider.")]


@app.callback(invoke_without_command=True)
def root(version: Flag = False) -> None:
    """A gateway for real-time AI streams: numbered, resumable, over WebSocket, SSE and HTTP/2."""
    if version:
        typer.echo(f"stream-gateway {metadata.version('stream-gateway')}")
        raise typer.Exit


@app.command()
def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for a free one [default: 8080].")
    ] = None,
    control_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port of the control plane; 0 for a free one [default: 9090].")
    ] = None,
) -> None:
    """Serve until interrupted."""
    load = partial(_load, config, host, port, control_port)
    try:
        settings = load()
        configure_logging(settings.log)
        if settings.server.workers > 1:
            raise typer.Exit(trio.run(supervise, config, settings.server))
        process = Process(settings, load)
    except ConfigError as error:
        _fail(*error.problems)
    except CannotListen as error:
        _fail(str(error))
    _say_what_to_try(process)
    trio.run(process.run)


@app.command()
def check(config: Annotated[Path, typer.Argument(help="The TOML file to check.")]) -> None:
    """Validate a configuration file, and say all that is wrong with it."""
    try:
        settings = load_config(config)
    except ConfigError as error:
        _fail(*error.problems)
    found = [_with_file(problem, config) for use in _uses(settings) for problem in _problems_of(use)]
    if found:
        _fail(*found)
    typer.echo(f"{config}: good; {_count(settings.providers, 'provider')}, {_count(settings.routes, 'route')}.")


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _uses(settings: Config) -> Iterator[Callable[[], object]]:
    """What a gateway does with its configuration before it serves, each on its own."""
    for name, provider in settings.providers.items():
        yield partial(read_key, name, provider)
        yield partial(dialer_for, name, provider)
    if settings.server.tls_certificate is not None:
        yield partial(Certificates, settings.server.tls_certificate, settings.server.tls_key)
    yield partial(read_token, settings.control)
    yield partial(load_codecs, settings.compression)
    yield partial(load_chunkers, settings)
    yield partial(guard_of, settings)


def _problems_of(use: Callable[[], object]) -> tuple[str, ...]:
    try:
        use()
    except ConfigError as error:
        return error.problems
    return ()


def _with_file(problem: str, config: Path) -> str:
    """A sentence with the file's name, if it does not have one yet."""
    return f"{config}: {problem}" if problem.startswith("key ") else problem


app.add_typer(keys, name="keys")
app.command()(terminal.chat)
app.command()(terminal.tail)


def _load(path: Path | None, host: str | None, port: int | None, control_port: int | None) -> Config:
    """The configuration, and what the command line says otherwise."""
    config = load_config(path)
    server, control = config.server, config.control
    if host is not None:
        server = msgspec.structs.replace(server, host=host)
    if port is not None:
        server = msgspec.structs.replace(server, port=port)
    if control_port is not None:
        control = msgspec.structs.replace(control, port=control_port)
    return msgspec.structs.replace(config, server=server, control=control)


def _say_what_to_try(process: Process) -> None:
    """A line or two for people, on standard output; the log is on standard error."""
    gateway = process.gateway
    body = """'{"model":"demo","stream":true,"messages":[{"role":"user","content":"Hi"}]}'"""
    server = gateway.config.server
    scheme = "https" if server.tls_certificate else "http"
    address = f"--unix-socket {server.unix} {scheme}://localhost" if server.unix else f"{scheme}://{gateway.host}"
    port = f":{gateway.port}" if gateway.port else ""
    typer.echo(f"Try:  curl -N {address}{port}/v1/chat/completions -d {body}")
    if server.demo_page and not server.unix:
        typer.echo(f"Or open  {address}{port}/demo")
    if process.control is not None and process.control.port:
        control = f"[{process.control.host}]" if ":" in process.control.host else process.control.host
        typer.echo(f"Watch it at  http://{control}:{process.control.port}/console")


def _fail(*problems: str) -> NoReturn:
    for problem in problems:
        typer.echo(f"stream-gateway: {problem}", err=True)
    raise typer.Exit(2)
