"""Links that are dead without saying so: a cable pulled, a network changed, a proxy that forgot us.

Nothing tells a reader; it can only know how long a living link is silent at most. On HTTP the gateway sends
keepalives, whose rhythm it announces, and which is learned where it does not (`Rhythm`, `Silence`). On a WebSocket,
where pings are answered below us, we ask (`Probe`).
"""

import enum
import re
from typing import Final

UNTAUGHT: Final = 45.0
"""Seconds of silence before a link is dead when nothing is known yet: three of the gateway's default intervals."""

FACTOR: Final = 2.0
SLACK: Final = 1.0
"""A link is dead after two intervals and a second: one keepalive may be late, two are not."""

MAX_INTERVAL: Final = 120.0
"""Seconds: longer between two keepalives is not a rhythm but a machine that slept."""

MAX_ANNOUNCED: Final = 3600.0
"""Seconds: who announces more is believed to be silent that long and no longer; a dead link is found out some day."""

_FORGET: Final = 0.9  # of what was learned, with each keepalive that came sooner
_SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


class Rhythm:
    """How long a server is silent at most, as it announces and as its keepalives teach; one for all links to it."""

    def __init__(self, untaught: float = UNTAUGHT) -> None:
        self._untaught = untaught
        self._announced: float | None = None
        self._learned: float | None = None

    @property
    def interval(self) -> float | None:
        """Seconds between keepalives, None while nothing is known. What holds them up on the way counts, too."""
        return max((known for known in (self._announced, self._learned) if known is not None), default=None)

    @property
    def allowed(self) -> float:
        """Seconds of silence after which a link is dead."""
        interval = self.interval
        return self._untaught if interval is None else FACTOR * interval + SLACK

    def announce(self, text: str | None) -> None:
        """The header `Stream-Keepalive` of a response; one that is missing or no number of seconds says nothing."""
        if text is not None and _SECONDS.fullmatch(text) and float(text):
            self._announced = min(float(text), MAX_ANNOUNCED)

    def learn(self, silence: float) -> None:
        """A keepalive came after so many seconds of silence.

        The longest counts, and fades: keepalives that were held up come in bunches, and those are no rhythm either.
        """
        if 0.0 <= silence <= MAX_INTERVAL:
            known = self._learned
            self._learned = silence if known is None else max(silence, known * _FORGET)


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
