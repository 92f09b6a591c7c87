"""How a gateway is made for an application."""

from collections.abc import Callable

from stream_gateway.api.errors import WrongOption
from stream_gateway.config import Config, ConfigError
from stream_gateway.gateway import Gateway
from stream_gateway.observe.embedding import lead_logs_out


def makes(config: Config) -> Callable[[], Gateway]:
    """What makes a gateway without a listener; it raises WrongOption when the configuration cannot be used."""

    def make() -> Gateway:
        lead_logs_out()
        try:
            return Gateway(config, listening=False)
        except ConfigError as error:
            raise WrongOption(str(error)) from None

    return make
