"""Which engine a configuration asks for."""

from stream_gateway.config import Config, ConfigError
from stream_gateway.engines.engine import Engine, EngineUnavailable
from stream_gateway.engines.sqlite.engine import SqliteEngine


def open_engine(config: Config) -> Engine | None:
    """The engine; None: logs live in memory alone.

    Raises:
        ConfigError: it cannot be used as it is configured.
    """
    settings = config.engine
    if settings.kind == "sqlite":
        try:
            return SqliteEngine(
                settings.path,
                lease=settings.lease,
                retain_for=config.streams.retain_for,
                fsync=settings.fsync,
                shared=config.server.reuse_port,
            )
        except EngineUnavailable as error:
            raise ConfigError(f"key `engine.path`: {error.message}.") from None
    if settings.kind == "redis":
        from stream_gateway.engines.redis.engine import RedisEngine  # costs half a second, for whom it does not concern

        try:
            return RedisEngine(
                settings.url, prefix=settings.prefix, lease=settings.lease, retain_for=config.streams.retain_for
            )
        except EngineUnavailable as error:
            raise ConfigError(f"key `engine.url`: {error.message}.") from None
    return None
