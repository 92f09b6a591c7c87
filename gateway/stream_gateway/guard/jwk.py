"""Keys that JWTs are signed with, and for which algorithms each may be used.

A key belongs to its algorithms, never the other way round: what a token's head says only chooses among them. So nobody
has an RSA key taken for the secret of an HMAC, and `none` is no algorithm of any key.
"""

from collections.abc import Iterable
from typing import Any, Final

import jwt
import msgspec

ALGORITHMS: Final = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA"}),
    "Ed448": frozenset({"EdDSA"}),
}
"""By key type, or by curve where the type has several. Symmetric keys have no place in a public set."""

HMAC: Final = frozenset({"HS256", "HS384", "HS512"})

MAX_KEYS: Final = 64
"""Of a set; the rest is left out. Providers have two to five."""

MIN_RSA_BITS: Final = 2048
"""RFC 7518 §3.3."""


class VerifyingKey(msgspec.Struct, frozen=True):
    """A key, its name if it has one, and its algorithms."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


class KeySet:
    """The keys that are good now."""

    def __init__(self, keys: Iterable[VerifyingKey] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def names(self) -> frozenset[str | None]:
        """What its keys are called."""
        return frozenset(key.kid for key in self._keys)

    def choose(self, algorithm: str, kid: str | None) -> VerifyingKey | None:
        """The key for a token with that head; None when there is none, or more than one might be meant."""
        able = [key for key in self._keys if algorithm in key.algorithms and kid in (None, key.kid)]
        return able[0] if len(able) == 1 else None


def read_set(data: bytes) -> KeySet:
    """A JWK set (RFC 7517 §5); keys that are of no use here are skipped.

    Raises:
        ValueError: it is none, or nothing in it is of use.
    """
    try:
        found = msgspec.json.decode(data, type=_Set).keys
    except msgspec.DecodeError as error:
        raise ValueError(f"it is no JWK set: {error}") from None
    keys = [key for key in (_read(member) for member in found[:MAX_KEYS]) if key is not None]
    if not keys:
        raise ValueError("it has no public key that can verify signatures")
    return KeySet(keys)


def shared(secret: str) -> VerifyingKey:
    """A secret that signs and verifies."""
    return VerifyingKey(None, HMAC, secret.encode())


def _read(member: dict[str, Any]) -> VerifyingKey | None:
    algorithms = ALGORITHMS.get(str(member.get("crv") or member.get("kty")), frozenset())
    if "alg" in member:
        algorithms &= {str(member["alg"])}
    if not algorithms or member.get("use", "sig") != "sig" or "verify" not in (member.get("key_ops") or ["verify"]):
        return None
    kid = member.get("kid")
    try:
        key = jwt.PyJWK(member, algorithm=min(algorithms)).key
    except (jwt.PyJWTError, TypeError, ValueError, KeyError):
        return None
    if member["kty"] == "RSA" and key.key_size < MIN_RSA_BITS:
        return None
    return VerifyingKey(kid if isinstance(kid, str) else None, algorithms, key)
