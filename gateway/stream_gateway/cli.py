"""The command `stream-gateway`."""

import gc
import signal
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog
import trio
import typer

from stream_gateway.config import Config, ConfigError, load_config
from stream_gateway.gateway import Gateway
from stream_gateway.observe.logging import configure_logging
from stream_gateway.upstream.openai import read_key

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
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for a free one [default: 8080].")] = None,
) -> None:
    """Serve until interrupted."""
    try:
        settings = _override(load_config(config), host, port)
        configure_logging(settings.log)
        gateway = Gateway(settings)
    except ConfigError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"cannot listen on {settings.server.host}:{settings.server.port}: {error.strerror or error}.")
    _say_what_to_try(gateway)
    trio.run(_serve, gateway)


@app.command()
def check(config: Annotated[Path, typer.Argument(help="The TOML file to check.")]) -> None:
    """Validate a configuration file, and say what is wrong with it."""
    try:
        settings = load_config(config)
        for name, provider in settings.providers.items():
            read_key(name, provider)
    except ConfigError as error:
        _fail(str(error))
    typer.echo(f"{config}: good; {len(settings.providers)} providers, {len(settings.routes)} routes.")


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
    """Run the gateway until SIGINT or SIGTERM."""
    # Logs are many small objects that live for minutes; a collector that walks them all every few thousand
    # allocations costs a third of the CPU under churn, and pauses of milliseconds. There are few cycles here.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await nursery.start(gateway.run)
            async for number in signals:
                structlog.get_logger().info("stopping", signal=signal.Signals(number).name)
                break
            nursery.cancel_scope.cancel()


def _say_what_to_try(gateway: Gateway) -> None:
    """One line for people, on standard output; the log is on standard error."""
    body = """'{"model":"demo","stream":true,"messages":[{"role":"user","content":"Hi"}]}'"""
    typer.echo(f"Try:  curl -N http://{gateway.host}:{gateway.port}/v1/chat/completions -d {body}")


def _fail(message: str) -> None:
    typer.echo(f"stream-gateway: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    main()
