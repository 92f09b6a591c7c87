"""Certificates for loopback servers, made for each run of the tests."""

import ssl
from functools import cache

import trustme

HOST = "provider.test"


@cache
def authority() -> trustme.CA:
    """The one that the tests trust."""
    return trustme.CA()


@cache
def server_context(
    host: str = HOST, *, trusted: bool = True, newest: bool = True, protocol: str | None = None
) -> ssl.SSLContext:
    """A server with a certificate for a name or an address. `protocol`: what it offers by ALPN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (authority() if trusted else trustme.CA()).issue_cert(host).configure_cert(context)
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    return context


def client_context() -> ssl.SSLContext:
    """A client that trusts the tests' authority and no other."""
    context = ssl.create_default_context(cafile=None)
    authority().configure_trust(context)
    return context
