"""The command `stream-gateway`."""

import gc
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog
import trio
import typer

from stream_gateway.client import terminal
from stream_gateway.config import Config, ConfigError, load_config
from stream_gateway.gateway import Gateway, guard_of
from stream_gateway.guard.terminal import keys
from stream_gateway.observe.logging import configure_logging
from stream_gateway.server.certificates import Certificates
from stream_gateway.server.compression import load_codecs
from stream_gateway.server.workers import say_ready, supervise
from stream_gateway.streams.chunkers import load_chunkers
from stream_gateway.upstream.keys import read_key
from stream_gateway.upstream.transport import dialer_for

GC_THRESHOLDS: Final = (50_000, 20, 100)

app = typer.Typer(
    name="stream-gateway",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A gateway for real-time AI streams: numbered, resumable, over WebSocket, SSE and HTTP/2.",
)

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="TOML file; without one, the demo provider.")]


@app.command()
def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for a free one [default: 8080].")
    ] = None,
) -> None:
    """Serve until interrupted."""
    try:
        settings = _override(load_config(config), host, port)
        configure_logging(settings.log)
        if settings.server.workers > 1:
            raise typer.Exit(trio.run(supervise, config, settings.server))
        gateway = Gateway(settings)
    except ConfigError as error:
        _fail(str(error))
    except OSError as error:
        address = settings.server.unix or f"{settings.server.host}:{settings.server.port}"
        _fail(f"cannot listen on {address}: {error.strerror or error}.")
    _say_what_to_try(gateway)
    trio.run(_serve, gateway)


@app.command()
def check(config: Annotated[Path, typer.Argument(help="The TOML file to check.")]) -> None:
    """Validate a configuration file, and say what is wrong with it."""
    try:
        settings = load_config(config)
        for name, provider in settings.providers.items():
            read_key(name, provider)
            dialer_for(name, provider)
        if settings.server.tls_certificate is not None:
            Certificates(settings.server.tls_certificate, settings.server.tls_key)
        load_codecs(settings.compression)
        load_chunkers(settings)
        guard_of(settings)
    except ConfigError as error:
        _fail(str(error))
    typer.echo(f"{config}: good; {len(settings.providers)} providers, {len(settings.routes)} routes.")


app.add_typer(keys, name="keys")
app.command()(terminal.chat)
app.command()(terminal.tail)


def main() -> None:
    """The console script."""
    app()


def _override(config: Config, host: str | None, port: int | None) -> Config:
    server = config.server
    if host is not None:
        server = msgspec.structs.replace(server, host=host)
    if port is not None:
        server = msgspec.structs.replace(server, port=port)
    return msgspec.structs.replace(config, server=server)


async def _serve(gateway: Gateway) -> None:
    """Run the gateway until SIGINT or SIGTERM, then drain it; the second one ends it at once. SIGHUP: see `reload`."""
    # Logs are many small objects that live for minutes; a collector that walks them all every few thousand
    # allocations costs a third of the CPU under churn, and pauses of milliseconds. There are few cycles here.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            await nursery.start(gateway.run)
            say_ready()
            await _stopped(gateway, signals)
            gateway.drain()
            nursery.start_soon(_drained, gateway, nursery.cancel_scope)
            await _stopped(gateway, signals)
            nursery.cancel_scope.cancel()


async def _stopped(gateway: Gateway, signals: AsyncIterator[int]) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            structlog.get_logger().info("stopping", signal=signal.Signals(number).name)
            return
        _reload(gateway)


async def _drained(gateway: Gateway, scope: trio.CancelScope) -> None:
    with trio.move_on_after(gateway.config.server.drain_timeout):
        await gateway.idle()
    scope.cancel()


def _reload(gateway: Gateway) -> None:
    try:
        gateway.reload()
    except ConfigError as error:
        structlog.get_logger().error("reload_failed", error=str(error))
    else:
        structlog.get_logger().info("reloaded")


def _say_what_to_try(gateway: Gateway) -> None:
    """A line or two for people, on standard output; the log is on standard error."""
    body = """'{"model":"demo","stream":true,"messages":[{"role":"user","content":"Hi"}]}'"""
    server = gateway.config.server
    scheme = "https" if server.tls_certificate else "http"
    address = f"--unix-socket {server.unix} {scheme}://localhost" if server.unix else f"{scheme}://{gateway.host}"
    port = f":{gateway.port}" if gateway.port else ""
    typer.echo(f"Try:  curl -N {address}{port}/v1/chat/completions -d {body}")
    if server.demo_page and not server.unix:
        typer.echo(f"Or open  {address}{port}/demo")


def _fail(message: str) -> None:
    typer.echo(f"stream-gateway: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    main()
