"""What the types of the settings cannot say."""

import difflib
import ipaddress
import re
import urllib.parse

from stream_gateway.config.settings import MAX_TOTAL, Config, ConfigError, RouteSettings, ServerSettings, route_timeouts


def _is_base_url(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and not re.search(r"\s", text)
    except ValueError:  # a port that is none, or brackets that do not match
        return False


def check(config: Config, where: str) -> None:
    """Raise ConfigError for what fits its type and still cannot be meant; `where` is how errors call the file."""
    _check_server(config.server, where)
    _check_workers(config, where)
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


def _check_workers(config: Config, where: str) -> None:
    if config.server.workers == 1:
        return
    if config.engine.kind == "memory":
        raise ConfigError(
            f"{where}: key `server.workers`: a client may come back to any worker, so they have to share their "
            "streams; "
            'set `engine.kind` to "sqlite" or "redis", or use one worker.'
        )
    if config.server.unix is not None:
        raise ConfigError(f"{where}: key `server.workers`: several processes cannot share `server.unix`; use a port.")


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
