"""`stream-gateway keys`: API keys at a terminal."""

import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stream_gateway.config import ConfigError, QuotaSettings, load_config
from stream_gateway.guard.keys import ApiKey, changing, new_key, read_keys

keys = typer.Typer(no_args_is_help=True, help="API keys: make, list and revoke them.")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="The gateway's TOML file, whose `guard.keys_file` is meant.")
]
KeyFile = Annotated[Path | None, typer.Option("--file", "-f", help="The key file itself, instead of --config.")]
Amount = Annotated[int | None, typer.Option(min=1, help="Instead of the configuration's `guard.quota`.")]


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="Who will have it, for people.")],
    config: ConfigFile = None,
    file: KeyFile = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="It is good for everybody's streams and the admin API.")
    ] = False,
    requests_per_minute: Amount = None,
    tokens_per_minute: Amount = None,
    streams: Amount = None,
    sockets: Amount = None,
) -> None:
    """Make a key, and print it: this is the only time that anybody sees it."""
    quota = QuotaSettings(
        requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, streams=streams, sockets=sockets
    )
    text, entry = new_key(name, admin=admin, quota=quota)
    try:
        with changing(_path(config, file)) as entries:
            entries.append(entry)
    except ConfigError as error:
        _fail(str(error))
    typer.echo(text)
    typer.echo(f"The key {entry.id} of {name} is good once the gateway has read it: send it SIGHUP.", err=True)


@keys.command("list")
def show(config: ConfigFile = None, file: KeyFile = None) -> None:
    """List the keys that are good: id, name, date, and what differs from `guard.quota`."""
    try:
        entries = read_keys(_path(config, file))
    except ConfigError as error:
        _fail(str(error))
    for entry in entries:
        made = time.strftime("%Y-%m-%d", time.gmtime(entry.created))
        own = {name: getattr(entry.quota, name) for name in QuotaSettings.__struct_fields__}
        more = ["admin"] * entry.admin + [f"{name}={value}" for name, value in own.items() if value is not None]
        typer.echo("\t".join([entry.id, entry.name, made, " ".join(more)]).rstrip())


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The id of the key, as `list` shows it.")],
    config: ConfigFile = None,
    file: KeyFile = None,
) -> None:
    """Have a key be good no longer; what it has begun ends."""
    try:
        with changing(_path(config, file)) as entries:
            name = _remove(entries, key)
    except ConfigError as error:
        _fail(str(error))
    typer.echo(f"The key {key} of {name} is gone once the gateway has read that: send it SIGHUP.", err=True)


def _remove(entries: list[ApiKey], key: str) -> str:
    for entry in entries:
        if entry.id == key:
            entries.remove(entry)
            return entry.name
    raise ConfigError(f"there is no key {key[:64]!r}; `stream-gateway keys list` shows their ids.")


def _path(config: Path | None, file: Path | None) -> Path:
    if file is not None:
        return file
    settings = load_config(config).guard
    if settings.keys_file is None:
        raise ConfigError("no key file is named; set `guard.keys_file` and give --config, or give --file.")
    return Path(settings.keys_file)


def _fail(message: str) -> NoReturn:
    typer.echo(f"stream-gateway: {message}", err=True)
    raise typer.Exit(2)
