"""API keys: a file of their hashes, and the ring in which a key that a client shows is found.

A key is `sgk_ID_SECRET` with 256 random bits, so a plain SHA-256 of it is as good as a slow hash: there is nothing to
guess. The id finds the entry, and the hashes are compared in constant time.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from stream_gateway.config import ConfigError, QuotaSettings
from stream_gateway.guard.principal import Principal
from stream_protocols.errors import Unauthorized

PREFIX: Final = "sgk_"

MAX_FILE: Final = 16_777_216
"""Bytes of a key file: some 50,000 keys. What is larger is no key file."""

_NO_HASH: Final = "0" * 64


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One entry: who has the key, and the hash by which it is recognised.

    `quota` has what differs from `guard.quota`.
    """

    id: str
    name: str
    hash: str
    created: int
    admin: bool = False
    quota: QuotaSettings = QuotaSettings()

    def principal(self, default: QuotaSettings) -> Principal:
        """Whoever shows it."""
        own = {name: value for name, value in msgspec.structs.asdict(self.quota).items() if value is not None}
        quota = msgspec.structs.replace(default, **own)
        return Principal(id=f"key:{self.id}", name=self.name, admin=self.admin, quota=quota)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[ApiKey]


def new_key(name: str, *, admin: bool = False, quota: QuotaSettings | None = None) -> tuple[str, ApiKey]:
    """A new key, which is shown once and kept nowhere, and its entry."""
    number = secrets.token_hex(6)
    text = f"{PREFIX}{number}_{secrets.token_urlsafe(32)}"
    entry = ApiKey(
        id=number, name=name, hash=_hash(text), created=int(time.time()), admin=admin, quota=quota or QuotaSettings()
    )
    return text, entry


class KeyRing:
    """All keys that are good."""

    def __init__(self, keys: list[ApiKey], default: QuotaSettings) -> None:
        self._keys = {key.id: key for key in keys}
        self._principals = {key.id: key.principal(default) for key in keys}
        self._owners = {principal.id for principal in self._principals.values()}

    def verify(self, text: str) -> Principal:
        """Whose key it is.

        Raises:
            Unauthorized: nobody's, or nobody's any more.
        """
        number = text.removeprefix(PREFIX).partition("_")[0]
        key = self._keys.get(number)
        # An id that is not known costs the same time as a secret that is wrong.
        if not hmac.compare_digest(_hash(text), _NO_HASH if key is None else key.hash) or key is None:
            raise Unauthorized("The API key is not known here; it may have been revoked.")
        return self._principals[number]

    def __contains__(self, owner: str) -> bool:
        """Whether a principal of that id has a key."""
        return owner in self._owners


def read_keys(path: Path) -> list[ApiKey]:
    """The entries of a key file.

    Raises:
        ConfigError: it cannot be read, is none, or could be written by others.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o022:
                raise ConfigError(f"{path}: others can write this key file; make it yours alone: chmod 600 {path}.")
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no key file; make one with `stream-gateway keys add NAME --file {path}`."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"{path}: is too large for a key file (more than {MAX_FILE} bytes).")
    try:
        keys = msgspec.json.decode(data, type=_File).keys
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: is no key file: {error}.") from None
    if len({key.id for key in keys}) != len(keys):
        raise ConfigError(f"{path}: two keys have the same id.")
    return keys


@contextlib.contextmanager
def changing(path: Path) -> Iterator[list[ApiKey]]:
    """The entries of a key file, which is replaced by what has become of them when the context ends without an error.

    Nobody else can change it meanwhile; who reads it finds the old one or the new one, whole.

    Raises:
        ConfigError: it cannot be read or written.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}.") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = read_keys(path) if path.exists() else []
        yield keys
        _replace(path, msgspec.json.format(msgspec.json.encode(_File(keys)), indent=2) + b"\n")
        os.fsync(folder)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}.") from None
    finally:
        os.close(folder)


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
