"""JWTs (RFC 7519) of one issuer: who somebody is, as another service has signed it."""

import os
import ssl
from collections.abc import Callable
from typing import Any, Final

import jwt

from stream_gateway.config import ConfigError, JwtSettings, QuotaSettings, read_named
from stream_gateway.guard.credentials import Expired
from stream_gateway.guard.jwk import HMAC, KeySet, VerifyingKey, read_set, shared
from stream_gateway.guard.jwks import RemoteKeys
from stream_gateway.guard.principal import Principal
from stream_protocols.errors import Unauthorized

MAX_SUBJECT: Final = 256
"""Characters of `sub`: it stays with each of its streams."""


class KeysPending(Exception):
    """The key that a token names is not known yet; it may be there when `settled` returns."""


class Jwts:
    """Verifies tokens of one issuer.

    Args:
        quota: of each subject.
        changed: see `RemoteKeys`.

    Raises:
        ConfigError: keys cannot be read.
    """

    def __init__(self, settings: JwtSettings, quota: QuotaSettings, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._quota = quota
        self._secret = _read_secret(settings)
        self._file = _read_file(settings)
        self._remote: RemoteKeys | None = None
        if settings.jwks_url is not None:
            self._remote = RemoteKeys(settings.jwks_url, settings, _context(settings), changed)

    async def run(self) -> None:
        """Keep keys fresh that are elsewhere."""
        if self._remote is not None:
            await self._remote.run()

    async def settled(self) -> None:
        """Wait until it is known whether a pending key exists."""
        if self._remote is not None:
            await self._remote.settled()

    def reload(self) -> None:
        """Read again what is in files.

        Raises:
            ConfigError: it cannot be read; the old one stays in use.
        """
        self._secret, self._file = _read_secret(self._settings), _read_file(self._settings)

    def verify(self, token: str, *, final: bool = False) -> Principal:
        """Whose token it is.

        Args:
            final: see `Guard.recognise`.

        Raises:
            Unauthorized: it is not signed as it must be, or is meant for others.
            Expired: it is good no longer.
            KeysPending: that is not known yet.
        """
        try:
            head = jwt.get_unverified_header(token)
            key = self._key(head.get("alg"), head.get("kid"), final)
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[head["alg"]],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Expired("The JWT has expired.") from None
        except jwt.PyJWTError as error:
            raise Unauthorized(_told(error)) from None
        except RecursionError:  # not every PyJWT takes a deeply nested head for a bad one
            raise Unauthorized("The JWT is not valid.") from None
        return self._principal(claims)

    def _key(self, algorithm: object, kid: object, final: bool) -> VerifyingKey:
        """The key for a token with that head."""
        if not isinstance(algorithm, str) or algorithm not in self._settings.algorithms:
            raise Unauthorized("The JWT is signed with an algorithm that is not taken here (guard.jwt.algorithms).")
        name = kid if isinstance(kid, str) else None
        sets = [self._file] if self._remote is None else [self._file, self._remote.keys]
        if self._secret is not None and algorithm in self._secret.algorithms:
            return self._secret
        for keys in sets:
            if (key := keys.choose(algorithm, name)) is not None:
                return key
        if self._remote is not None and not final and self._remote.may_bring(name):
            raise KeysPending
        raise Unauthorized("The JWT is signed with a key that is not known here.")

    def _principal(self, claims: dict[str, Any]) -> Principal:
        subject, scope = claims["sub"], claims.get("scope")
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
            raise Unauthorized(f"The JWT's `sub` must be printable text of 1 to {MAX_SUBJECT} characters.")
        scopes = scope.split() if isinstance(scope, str) else []
        return Principal(
            id=f"jwt:{subject}",
            name=subject,
            admin=self._settings.admin_scope is not None and self._settings.admin_scope in scopes,
            quota=self._quota,
            expires=float(claims["exp"]) + self._settings.leeway,
        )


def _told(error: jwt.PyJWTError) -> str:
    """What is wrong with a token, in words that repeat nothing of it."""
    match error:
        case jwt.InvalidAudienceError():
            return "The JWT is not meant for this gateway (`aud`)."
        case jwt.InvalidIssuerError():
            return "The JWT is of another issuer (`iss`)."
        case jwt.MissingRequiredClaimError():
            return f"The JWT has no `{error.claim}`."
        case jwt.ImmatureSignatureError():
            return "The JWT is not valid yet (`nbf`, `iat`)."
        case _:
            return "The JWT is not valid."


def _read_secret(settings: JwtSettings) -> VerifyingKey | None:
    if settings.secret_env is not None:
        key, text = "secret_env", os.environ.get(settings.secret_env, "").strip()
    elif settings.secret_file is not None:
        key, text = "secret_file", read_named(settings.secret_file, "guard.jwt.secret_file").strip()
    else:
        return None
    # As long as what it makes, or it is easier to guess than that (RFC 7518 §3.2).
    least = max(int(name[2:]) // 8 for name in ("HS256", *settings.algorithms) if name in HMAC)
    if len(text) < least:
        raise ConfigError(f"key `guard.jwt.{key}`: expected a secret of at least {least} characters.")
    return shared(text)


def _read_file(settings: JwtSettings) -> KeySet:
    if settings.jwks_file is None:
        return KeySet()
    try:
        return read_set(read_named(settings.jwks_file, "guard.jwt.jwks_file").encode())
    except ValueError as error:
        raise ConfigError(f"key `guard.jwt.jwks_file`: {settings.jwks_file}: {error}.") from None


def _context(settings: JwtSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
        if settings.ca_file is not None:
            context.load_verify_locations(settings.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"key `guard.jwt.ca_file`: {settings.ca_file} cannot be used: {error}.") from None
    return context
