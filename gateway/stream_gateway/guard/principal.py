"""Principals: who asks, what they own, and how much they may have."""

import math
from typing import Final

import msgspec

from stream_gateway.config import QuotaSettings


class Grant(msgspec.Struct, frozen=True):
    """What a stream token is good for: one stream, to be read, and perhaps to be cancelled."""

    stream: str
    cancel: bool = False


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever asks for something, as the guard has recognised them.

    Attributes:
        id: what `Stream.owner` says of the streams that they have created.
        name: for people; no secret.
        admin: may see and cancel everybody's streams, and use the admin API.
        grant: they have only a stream token, and may nothing else.
        quota: how much they may have.
        account: whose quota it is, where that is not everybody's of the same `id`.
        expires: when what they have shown is no longer good, in Unix time.
    """

    id: str
    name: str
    admin: bool = False
    grant: Grant | None = None
    quota: QuotaSettings = QuotaSettings()
    account: str = ""
    expires: float = math.inf

    def may_read(self, stream: str, owner: str) -> bool:
        """Whether they may know of a stream of that id and owner."""
        if self.grant is not None:
            return self.grant.stream == stream
        return self.admin or (self.id == owner and owner != NOBODY.id)

    def may_cancel(self, stream: str, owner: str) -> bool:
        """Whether they may end it."""
        return self.may_read(stream, owner) and (self.grant is None or self.grant.cancel)


NOBODY: Final = Principal(id="", name="nobody")
"""Who has shown nothing yet. Owns nothing and may nothing."""

ANONYMOUS: Final = Principal(id="anonymous", name="anonymous")
"""Everybody, where no credentials are asked for."""

LOCAL: Final = Principal(id="local", name="local", admin=True)
"""The program that the gateway runs in."""
