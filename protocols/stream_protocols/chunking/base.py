"""What a chunker is."""

from typing import ClassVar, Final

import msgspec

from stream_protocols.errors import LocalError


class BadCut(LocalError):
    """A chunker asked for what is not there; its client goes on without it."""

    code = "bad_cut"


class Waiting(msgspec.Struct, frozen=True):
    """What waits for a client: text of one kind, none of which it has seen.

    Attributes:
        text: never empty.
        waited: seconds since the beginning of the text came.
        since: seconds since the client was sent text; infinite before its first chunk.
        final: nothing more will join this text: what follows in the stream is of another kind, or its end.
    """

    text: str
    waited: float = 0.0
    since: float = float("inf")
    final: bool = False


class Conditions(msgspec.Struct, frozen=True):
    """What the network to a client shows; 0 where it is not known.

    Attributes:
        rtt: smoothed round-trip time in seconds.
        least_rtt: the shortest of the last minutes: what the network takes when nothing waits in it.
        rate: bytes a second that the network delivered when it was last given as much as it takes.
        window: packets that may be on their way at once, however small they are (TCP's congestion window).
        unsent: bytes that the kernel holds and has not sent yet.
    """

    rtt: float = 0.0
    least_rtt: float = 0.0
    rate: float = 0.0
    window: int = 0
    unsent: int = 0


MAX_PATIENCE: Final = 5.0
"""Seconds for which any text may be held, whatever a chunker says: after that a client looks broken."""


class Chunker:
    """Decides for one client; a subclass needs nothing but `cut`.

    It may keep state: one is made for each client, which sees each character once, in order. A client that resumes
    begins with a new one.
    """

    immediate: ClassVar[bool] = False
    """A client that keeps up gets each event at once, as it is; `cut` is asked only about one that lags."""

    pace: float = 0.0
    """Seconds that lie between two chunks of an `immediate` chunker; what comes sooner is shown to `cut`."""

    patience: float = 0.5
    """Seconds for which text may be held; then it leaves all the same, whole. At most `MAX_PATIENCE` count."""

    def cut(self, waiting: Waiting) -> int:
        """How many characters of `waiting.text` leave now as one chunk; 0: none, until more comes or patience ends.

        Called again for the rest. When `waiting.final`, 0 means all of it. It must not wait, and what it raises
        ends its use: the client is then served as by `passthrough`, from its last good cursor.
        """
        raise NotImplementedError

    def hold(self, waited: float, since: float) -> float:
        """Seconds after which what is held leaves at the latest; `waited` and `since` as in `Waiting`."""
        return self.patience - waited

    def observe(self, conditions: Conditions) -> None:
        """Hear what the network shows: now and then, and before `cut` is asked about a client that lags."""
