"""Links that are dead without saying so: a cable pulled, a network changed, a proxy that forgot us.

Nothing tells a reader; it can only know how long a living link is silent at most. On HTTP the gateway sends
keepalives, whose rhythm is learned (`Rhythm`, `Silence`). On a WebSocket, where pings are answered below us, we ask
(`Probe`).
"""

import enum
from typing import Final

UNTAUGHT: Final = 45.0
"""Seconds of silence before a link is dead when no keepalive was seen yet: three of the gateway's default intervals."""

FACTOR: Final = 2.0
SLACK: Final = 1.0
"""A link is dead after two intervals and a second: one keepalive may be late, two are not."""

MAX_INTERVAL: Final = 120.0
"""Seconds: longer between two keepalives is not a rhythm but a machine that slept."""

_FORGET: Final = 0.9  # of what was learned, with each keepalive that came sooner


class Rhythm:
    """How long a server is silent at most, as its keepalives teach; one for all links to it.

    Attributes:
        interval: seconds between keepalives, None until one was seen.
    """

    def __init__(self, untaught: float = UNTAUGHT) -> None:
        self.interval: float | None = None
        self._untaught = untaught

    @property
    def allowed(self) -> float:
        """Seconds of silence after which a link is dead."""
        return self._untaught if self.interval is None else FACTOR * self.interval + SLACK

    def learn(self, silence: float) -> None:
        """A keepalive came after so many seconds of silence.

        The longest counts, and fades: keepalives that were held up come in bunches, and those are no rhythm either.
        """
        if 0.0 <= silence <= MAX_INTERVAL:
            known = self.interval
            self.interval = silence if known is None else max(silence, known * _FORGET)


class Silence:
    """Listens to one link, from `now` on."""

    def __init__(self, rhythm: Rhythm, now: float) -> None:
        self._rhythm = rhythm
        self._heard = now

    def heard(self, now: float, *, keepalive: bool = False) -> None:
        """Bytes came; `keepalive`: nothing but one of those."""
        if keepalive:
            self._rhythm.learn(now - self._heard)
        self._heard = now

    def left(self, now: float) -> float:
        """Seconds of silence until the link is dead; 0 when it is."""
        self._heard = min(self._heard, now)  # a clock that was set back must not grant a link hours
        return max(self._heard + self._rhythm.allowed - now, 0.0)


class Look(enum.Enum):
    """What `Probe.look` found."""

    WAIT = "all is well"
    ASK = "send a ping"
    DEAD = "the ping was not answered"


class Probe:
    """Asks a link that has been silent whether it lives.

    Args:
        after: seconds of silence before it is asked, and then again until it is dead.
    """

    def __init__(self, after: float, now: float) -> None:
        self._after = after
        self._heard = now
        self._asked: float | None = None

    def heard(self, now: float) -> None:
        """Anything came."""
        self._heard = now
        self._asked = None

    def due(self) -> float:
        """When to look."""
        return (self._heard if self._asked is None else self._asked) + self._after

    def look(self, now: float) -> Look:
        """Whether to wait, to ask, or to give the link up. After a jump of the clock it is asked first, like any."""
        self._heard = min(self._heard, now)
        if self._asked is None:
            if now < self.due():
                return Look.WAIT
            self._asked = now
            return Look.ASK
        self._asked = min(self._asked, now)
        return Look.WAIT if now < self.due() else Look.DEAD
