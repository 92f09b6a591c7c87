"""The guard: from what a client shows to who it is."""

import time
from pathlib import Path
from typing import Final

import msgspec
import structlog

from stream_gateway.config import ConfigError, GuardSettings, QuotaSettings
from stream_gateway.guard import keys, tokens
from stream_gateway.guard.addresses import is_loopback, network_of
from stream_gateway.guard.credentials import Expired
from stream_gateway.guard.failures import FailedLogins
from stream_gateway.guard.jwts import Jwts
from stream_gateway.guard.keys import KeyRing, read_keys
from stream_gateway.guard.principal import ANONYMOUS, LOCAL, Grant, Principal
from stream_gateway.guard.quotas import Quotas
from stream_gateway.guard.tokens import StreamTokens, read_secrets
from stream_gateway.guard.verified import Verified, digest_of
from stream_protocols.errors import InvalidField, Unauthorized

_log = structlog.get_logger()

HOW: Final = "send an API key, a JWT or a stream token as `Authorization: Bearer …`"


class Guard:
    """Recognises principals. All tables it keeps are bounded.

    Attributes:
        open: whoever shows nothing is let in, as `ANONYMOUS`.
        quotas: what principals have used.
        auth_timeout: seconds for the first message of a socket whose handshake has shown nothing.

    Args:
        host: what the server is bound to; None: something that no other machine can reach.

    Raises:
        ConfigError: keys or secrets cannot be read; or strangers would be let in, and nobody has said that they may.
    """

    def __init__(self, settings: GuardSettings, *, host: str | None = None) -> None:
        self.quotas = Quotas()
        self.auth_timeout = settings.auth_timeout
        self._settings = settings
        self._keys = _read(settings)
        self._tokens = StreamTokens(read_secrets(settings))
        self._failures = FailedLogins(settings.failed_logins)
        self._verified = Verified()
        self._jwts = None if settings.jwt is None else Jwts(settings.jwt, settings.quota, self._verified.expire)
        self._selective = settings.keys_file is not None or self._jwts is not None
        self.open = not self._selective if settings.anonymous is None else settings.anonymous
        _check(self.open, self._selective, settings, host)
        self._unlimited = settings.quota == QuotaSettings()
        self._anonymous = msgspec.structs.replace(ANONYMOUS, quota=settings.quota)

    async def run(self) -> None:
        """Keep fresh what comes from elsewhere."""
        if self._jwts is not None:
            await self._jwts.run()

    async def settled(self) -> None:
        """Wait until what was pending is known, some seconds at most."""
        if self._jwts is not None:
            await self._jwts.settled()

    # ---- who it is

    @property
    def local(self) -> Principal:
        """The program that the gateway runs in. Where strangers are let in, its streams are theirs as well."""
        return msgspec.structs.replace(LOCAL, id=ANONYMOUS.id) if self.open else LOCAL

    def stranger(self, address: str) -> Principal:
        """Who comes without credentials. Each network has a quota of its own.

        Raises:
            Unauthorized: nobody may.
        """
        if self.open:
            if self._unlimited:
                return self._anonymous
            return msgspec.structs.replace(self._anonymous, account=f"anonymous {network_of(address)}")
        raise Unauthorized(f"No credentials; {HOW}.")

    def recognise(self, credential: str, address: str, *, final: bool = False) -> Principal:
        """Whose credential it is. What was verified lately costs a hash and a look.

        Args:
            final: nothing is waited for any more: what is pending counts as not good.

        Raises:
            Unauthorized: it is not good, or not any more.
            TooManyRequests: too many from that address were not.
            KeysPending: ask again once `settled` has returned.
        """
        now = time.time()
        digest = digest_of(credential)
        principal = self._verified.get(digest, now)
        if principal is not None:
            return principal
        if not self._verified.had(digest):
            self._failures.check(address, time.monotonic())
        try:
            principal = self._verify(credential, address, now, final)
        except Unauthorized as error:
            self._verified.drop(digest)
            if not isinstance(error, Expired):  # pages come back with old tokens, and are no reason to keep others out
                self._failures.count(address, time.monotonic())
            _log.info("login_failed", peer=address, reason=error.message)
            raise
        if principal.id != ANONYMOUS.id:
            self._verified.put(digest, principal, now)
        return principal

    def _verify(self, credential: str, address: str, now: float, final: bool) -> Principal:
        if credential.startswith(tokens.PREFIX):
            return self._tokens.verify(credential, now)
        if not self._selective:
            return self.stranger(address)  # SDKs send a key whether one is needed or not
        if credential.startswith(keys.PREFIX):
            return self._keys.verify(credential)
        if self._jwts is not None and credential.count(".") == 2:
            return self._jwts.verify(credential, final=final)
        raise Unauthorized("The credential is not known here; it may have been meant for somebody else.")

    def knows(self, owner: str) -> bool:
        """Whether the principal of that id can still come; the ids of revoked keys are not known any more."""
        return not owner.startswith("key:") or owner in self._keys

    # ---- what is given away

    def grant(self, grant: Grant, lifetime: float | None) -> tuple[str, int]:
        """A token for a stream, and when it expires, in Unix time.

        Args:
            lifetime: seconds; None for the configured default.

        Raises:
            InvalidField: it is longer than may be.
        """
        longest = self._settings.max_token_lifetime
        seconds = min(self._settings.token_lifetime, longest) if lifetime is None else lifetime
        if not 1 <= seconds <= longest:
            message = f"Field `lifetime` must be from 1 to {longest:g} seconds, not {seconds:g}."
            raise InvalidField(message, param="lifetime")
        expires = int(time.time() + seconds)
        return self._tokens.sign(grant, expires), expires

    # ---- changes

    def reload(self) -> None:
        """Read keys and secrets again, and verify everybody anew.

        Raises:
            ConfigError: one cannot be read; all that were are still good.
        """
        ring, secrets = _read(self._settings), read_secrets(self._settings)
        if self._jwts is not None:
            self._jwts.reload()
        self._keys = ring
        if self._settings.secret_env is not None or self._settings.secret_file is not None:
            self._tokens = StreamTokens(secrets)
        self._verified.expire()


def _read(settings: GuardSettings) -> KeyRing:
    found = [] if settings.keys_file is None else read_keys(Path(settings.keys_file))
    return KeyRing(found, settings.quota)


def _check(lets_all_in: bool, selective: bool, settings: GuardSettings, host: str | None) -> None:
    if lets_all_in and settings.anonymous is None and host is not None and not is_loopback(host):
        raise ConfigError(
            f"key `guard`: other machines can connect to {host}, and nothing says who may; set `guard.keys_file` or "
            "`guard.jwt`, or `guard.anonymous = true` if anybody may."
        )
    if not lets_all_in and not selective:
        raise ConfigError(
            "key `guard.anonymous`: without it nobody could come in; set `guard.keys_file` or `guard.jwt`."
        )
