"""What the types of the settings cannot say."""

import difflib
import ipaddress
import re
import urllib.parse
from collections.abc import Iterator

from stream_gateway.config.settings import (
    MAX_TOTAL,
    Config,
    ConfigError,
    EngineSettings,
    GuardSettings,
    RouteSettings,
    ServerSettings,
    route_timeouts,
)


def _is_base_url(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and not re.search(r"\s", text)
    except ValueError:  # a port that is none, or brackets that do not match
        return False


def check(config: Config, where: str) -> None:
    """Raise ConfigError for what fits its type and still cannot be meant; `where` is how sentences call the file."""
    problems = list(_problems(config, where))
    if problems:
        raise ConfigError(*problems)


def _problems(config: Config, where: str) -> Iterator[str]:
    yield from _of_server(config.server, where)
    yield from _of_guard(config.guard, where)
    yield from _of_control(config, where)
    yield from _of_workers(config, where)
    yield from _of_engine(config.engine, where)
    for name, provider in config.providers.items():
        if not _is_base_url(provider.base_url):
            yield (
                f'{where}: key `providers."{name}".base_url`: expected an http:// or https:// URL, '
                f"got `{provider.base_url}`."
            )
        elif "?" in provider.base_url or "#" in provider.base_url:
            yield (
                f'{where}: key `providers."{name}".base_url`: expected a URL without query or fragment; '
                "paths are appended to it."
            )
        if provider.api_key_env and provider.api_key_file:
            yield (f'{where}: key `providers."{name}"`: give api_key_env or api_key_file, not both.')
    for name, route in config.routes.items():
        yield from _of_route(config, name, route, where)


def _of_route(config: Config, name: str, route: RouteSettings, where: str) -> Iterator[str]:
    """What would make a route do something else than whoever wrote it expects."""
    key = f'{where}: key `routes."{name}"'
    known = sorted({*config.providers, "demo"})
    names = [target.name for target in route.targets]
    for index, target in enumerate(route.targets):
        here = f"{key}.targets[{index}]"
        if target.provider not in known:
            close = difflib.get_close_matches(target.provider, known, 1)
            hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known)}."
            yield (f"{here}.provider`: there is no provider `{target.provider}`; {hint}")
        if target.name in names[:index]:
            yield (f"{here}`: `{target.name}` is there already; give it more `weight` instead.")
        if target.queue and target.concurrency is None:
            yield (f"{here}.queue`: nobody waits at a target without a limit; give it `concurrency`.")
    if not any(target.weight for target in route.targets):
        yield (f"{key}.targets`: all weights are 0, so none is ever chosen; give one a `weight` above 0.")
    if route.hedge is not None and len(route.targets) == 1:
        yield (f"{key}.hedge`: a hedge asks a second target; add one to `targets`.")
    if route.after_first_token == "continue" and not any("continue" in (t.capabilities or ()) for t in route.targets):
        yield (
            f"{key}.after_first_token`: no target declares that it can continue an answer; "
            'add "continue" to the `capabilities` of one that goes on from a trailing assistant message.'
        )
    timeouts = route_timeouts(config, route)
    if timeouts.first_token is not None and timeouts.first_token >= (timeouts.total or MAX_TOTAL):
        yield (f"{key}.timeouts.first_token`: must be less than `total`, or there is no time for an answer.")


def _of_engine(engine: EngineSettings, where: str) -> Iterator[str]:
    if engine.kind == "redis" and not _is_redis_url(engine.url):  # which may hold a password, and is not repeated
        yield (
            f"{where}: key `engine.url`: expected an address such as redis://USER:PASSWORD@HOST:6379/0, or rediss:// "
            "for TLS; in a password, characters such as / and # are written %2F and %23."
        )


def _is_redis_url(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        place = url.path if url.scheme == "unix" else url.hostname
        database = url.scheme == "unix" or re.fullmatch(r"(/[0-9]*)?", url.path)
        return (
            url.scheme in ("redis", "rediss", "unix")
            and bool(place and database)
            and url.port != 0
            and not url.fragment
        )
    except ValueError:
        return False


def _of_workers(config: Config, where: str) -> Iterator[str]:
    if config.server.workers == 1:
        return
    if config.engine.kind == "memory":
        yield (
            f"{where}: key `server.workers`: a client may come back to any worker, so they have to share their "
            'streams; set `engine.kind` to "sqlite" or "redis", or use one worker.'
        )
    if config.server.unix is not None:
        yield f"{where}: key `server.workers`: several processes cannot share `server.unix`; use a port."


def _of_server(server: ServerSettings, where: str) -> Iterator[str]:
    if server.tls_key is not None and server.tls_certificate is None:
        yield (f"{where}: key `server.tls_key`: a key is of no use without `server.tls_certificate`.")
    for index, network in enumerate(server.trusted_proxies):
        try:
            if network != "unix":
                ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield (
                f"{where}: key `server.trusted_proxies[{index}]`: expected a network like 10.0.0.0/8, an address, "
                f"or `unix`, got `{network}`."
            )


def _of_control(config: Config, where: str) -> Iterator[str]:
    control = config.control
    key = f"{where}: key `control"
    if control.token_env is not None and control.token_file is not None:
        yield (f"{key}`: give token_env or token_file, not both.")
    if control.gateway_url is not None and not _is_base_url(control.gateway_url):
        yield f"{key}.gateway_url`: expected an http:// or https:// URL, got `{control.gateway_url}`."
    nothing = control.token_env is None and control.token_file is None and config.guard.keys_file is None
    if control.enabled and nothing and not _is_loopback(control.host):
        yield (
            f"{key}.host`: {control.host} can be reached from elsewhere, and nothing says who is an admin; "
            "give it `token_env` or `token_file`, or set `guard.keys_file`, or use 127.0.0.1."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _of_guard(guard: GuardSettings, where: str) -> Iterator[str]:
    if guard.secret_env is not None and guard.secret_file is not None:
        yield f"{where}: key `guard`: give secret_env or secret_file, not both."
    jwt = guard.jwt
    if jwt is None:
        return
    if not jwt.issuer or not jwt.audience:
        yield f"{where}: key `guard.jwt`: `issuer` and `audience` say whose tokens are meant for us."
    if jwt.secret_env is not None and jwt.secret_file is not None:
        yield f"{where}: key `guard.jwt`: give secret_env or secret_file, not both."
    shared = {name for name in jwt.algorithms if name.startswith("HS")}
    if shared and not (jwt.secret_env or jwt.secret_file):
        names = ", ".join(sorted(shared))
        yield f"{where}: key `guard.jwt.algorithms`: {names} need a secret_env or secret_file."
    if set(jwt.algorithms) - shared and not (jwt.jwks_url or jwt.jwks_file):
        yield f"{where}: key `guard.jwt`: no keys; give jwks_url or jwks_file, or `algorithms` of HS… only."
    if jwt.jwks_url is not None and not _is_secure(jwt.jwks_url):
        yield (
            f"{where}: key `guard.jwt.jwks_url`: expected an https:// URL (http:// on this machine only), "
            f"got `{jwt.jwks_url}`."
        )


def _is_secure(text: str) -> bool:
    """Whether nobody on the way can change what is fetched from a URL."""
    if not _is_base_url(text):
        return False
    url = urllib.parse.urlsplit(text)
    return url.scheme == "https" or url.hostname in ("localhost", "127.0.0.1", "::1")
