"""Configuration: `settings` are what can be told, `loading` reads it, `checks` says what cannot be meant."""

from stream_gateway.config.loading import config_from_toml as config_from_toml
from stream_gateway.config.loading import load_config as load_config
from stream_gateway.config.settings import LOCAL_ORIGINS as LOCAL_ORIGINS
from stream_gateway.config.settings import MAX_TOTAL as MAX_TOTAL
from stream_gateway.config.settings import BreakerSettings as BreakerSettings
from stream_gateway.config.settings import Capability as Capability
from stream_gateway.config.settings import ChunkerSettings as ChunkerSettings
from stream_gateway.config.settings import CompressionSettings as CompressionSettings
from stream_gateway.config.settings import Config as Config
from stream_gateway.config.settings import ConfigError as ConfigError
from stream_gateway.config.settings import CorsSettings as CorsSettings
from stream_gateway.config.settings import EngineSettings as EngineSettings
from stream_gateway.config.settings import GuardSettings as GuardSettings
from stream_gateway.config.settings import HedgeSettings as HedgeSettings
from stream_gateway.config.settings import LimitSettings as LimitSettings
from stream_gateway.config.settings import LogSettings as LogSettings
from stream_gateway.config.settings import ProviderSettings as ProviderSettings
from stream_gateway.config.settings import QuotaSettings as QuotaSettings
from stream_gateway.config.settings import RetrySettings as RetrySettings
from stream_gateway.config.settings import RouteSettings as RouteSettings
from stream_gateway.config.settings import ServerSettings as ServerSettings
from stream_gateway.config.settings import SocketSettings as SocketSettings
from stream_gateway.config.settings import StreamSettings as StreamSettings
from stream_gateway.config.settings import TargetSettings as TargetSettings
from stream_gateway.config.settings import TimeoutSettings as TimeoutSettings
from stream_gateway.config.settings import route_timeouts as route_timeouts
