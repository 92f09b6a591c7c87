"""What the parts of the gateway tell of themselves when somebody asks. They fill these in; observe reads them."""

import msgspec

from stream_gateway.observe.health import Health
from stream_gateway.observe.meters import TargetMeter


class PoolStatistics(msgspec.Struct, frozen=True):
    """What a provider's transport holds right now.

    Attributes:
        connections: those that are open or being made.
        idle: those that serve nothing.
        busy: the others.
        streams: requests under way on them.
        waiting: requests that wait for a connection.
    """

    connections: int = 0
    idle: int = 0
    busy: int = 0
    streams: int = 0
    waiting: int = 0

    def __add__(self, other: "PoolStatistics") -> "PoolStatistics":
        return PoolStatistics(
            *(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True))
        )


class TargetStatistics(msgspec.Struct, frozen=True):
    """What a target has done since the start, and does now. `failures` has at most a dozen keys.

    `latency` is the first-token time to expect, in seconds; `meter` has what the attempts were like.
    """

    route: str
    target: str
    provider: str
    model: str
    breaker: str
    in_flight: int
    waiting: int
    latency: float
    attempts: int
    retries: int
    hedges: int
    successes: int
    cancelled: int
    failures: dict[str, int]
    input_tokens: int
    output_tokens: int
    meter: TargetMeter


class ConnectionStatistics(msgspec.Struct):
    """An open connection of a client: its number, address, what it speaks, and since when (Unix time)."""

    id: int
    peer: str
    since: float
    protocol: str = ""


class StreamStatistics(msgspec.Struct, frozen=True):
    """A stream as operators see it. `age` in seconds; `events` and `bytes` of its log; `lag` of its last client."""

    id: str
    model: str
    status: str
    health: Health | None
    age: float
    events: int
    bytes: int
    subscribers: int
    lag: int
    target: str | None


class Laggard(msgspec.Struct, frozen=True):
    """A client that has not been given all there is: of which stream, by how many events, and for how many seconds its
    provider has waited for it."""

    stream: str
    model: str
    lag: int
    held_up: float


class Survey(msgspec.Struct, frozen=True):
    """All running streams at once.

    Attributes:
        health: how many are in which state; every state is there.
        live, lagging: subscriptions that are written through to, and those that drain the log.
        paused: streams whose provider waits.
        laggards: the worst, furthest behind first.
    """

    health: dict[str, int]
    live: int
    lagging: int
    paused: int
    laggards: tuple[Laggard, ...]

    @property
    def lag(self) -> int:
        """Events that the last of all clients has not been given."""
        return self.laggards[0].lag if self.laggards else 0


class Statistics(msgspec.Struct, frozen=True):
    """What the gateway holds right now."""

    connections: int
    streams: int
    running: int
    subscriptions: int
    sockets: int
    upstream_busy: int
    upstream_idle: int
    upstream_streams: int
    upstream_waiting: int
    log_bytes: int
    request_bytes: int
    log_budget_bytes: int
    compression_bytes: int
    compression_budget_bytes: int
    draining: bool
    protocols: dict[str, int]
    socket_states: dict[str, int]
    targets: tuple[TargetStatistics, ...]
    pools: dict[str, PoolStatistics]
