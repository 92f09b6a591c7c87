"""The server's certificate and key: read, tried, and replaced while connections go on."""

import ssl
from pathlib import Path
from typing import Final

from stream_gateway.config import ConfigError
from stream_gateway.tls import TlsFilter, client_end, server_end

ALPN: Final = ("h2", "http/1.1")
"""What is spoken over TLS, best first (RFC 7301)."""

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only, as RFC 9113 §9.2.2 wants it and TLS 1.3 has it."""

_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_NOT_YET: Final = 9  # X509_V_ERR_CERT_NOT_YET_VALID


class Certificates:
    """Holds the `context` for the next handshake.

    Args:
        certificate: path of a PEM file, the server's own certificate first.
        key: path of its private key; None: it is in the same file.

    Raises:
        ConfigError: they cannot be used; the message names file and reason.
    """

    def __init__(self, certificate: str, key: str | None) -> None:
        self._certificate = Path(certificate)
        self._key = Path(key or certificate)
        self.context = self.load()

    def load(self) -> ssl.SSLContext:
        """What the files hold now: to be put into `context`, for handshakes from then on.

        Raises:
            ConfigError: they cannot be used.
        """
        _check_file(self._certificate, "tls_certificate", "-----BEGIN CERTIFICATE-----", "certificate")
        _check_file(self._key, "tls_key", "PRIVATE KEY-----", "private key")
        context = new_context()
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            raise ConfigError(f"{self._key}: {_reason(error, self._certificate)} (server.tls_key).") from None
        except ValueError:
            raise ConfigError(f"{self._key}: the key is encrypted; give one without a passphrase.") from None
        _try(context, self._certificate)
        return context


def new_context() -> ssl.SSLContext:
    """A server's context, without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(list(ALPN))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _check_file(path: Path, key: str, mark: str, what: str) -> None:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror} (server.{key}).") from None
    if mark.encode() not in text:
        raise ConfigError(f"{path}: holds no {what} in PEM form (server.{key}).")


def _no_password() -> str:
    raise ValueError("encrypted")


def _reason(error: ssl.SSLError, certificate: Path) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key does not belong to the certificate in {certificate}"
    return f"cannot be used with {certificate}: {error.reason or error}"


def _try(context: ssl.SSLContext, path: Path) -> None:
    """Shake hands with ourselves: what is wrong with a certificate should be heard now, and not by every client."""
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    client = client_end(unverified, None)
    try:
        _shake(client, server_end(context))
        der = client.peer_certificate()
        verifying = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        verifying.check_hostname = False
        verifying.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever signed it: only its dates matter here
        verifying.load_verify_locations(cadata=der)
        _shake(client_end(verifying, None), server_end(context))
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (_EXPIRED, _NOT_YET):
            raise ConfigError(f"{path}: {error.verify_message} (server.tls_certificate).") from None
    except ssl.SSLError as error:
        raise ConfigError(f"{path}: cannot be used: {error.reason or error} (server.tls_certificate).") from None


def _shake(client: TlsFilter, server: TlsFilter) -> None:
    while True:
        done = client.handshake()
        server.feed(client.outgoing())
        done = server.handshake() and done
        client.feed(server.outgoing())
        if done:
            return
