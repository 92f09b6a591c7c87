"""Credentials as clients send them: in a header, in a WebSocket subprotocol, or, stream tokens only, in a URL."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from stream_protocols.errors import Unauthorized

SUBPROTOCOL: Final = "stream-gateway.token."
"""A page cannot set headers of a handshake, but it can offer `stream-gateway.token.BASE64URL` beside what it speaks."""

MAX_CREDENTIAL: Final = 8_192
"""Characters; JWTs with many claims have two or three thousand. Bounds what is hashed for a stranger."""

_HEADERS: Final = ("x-api-key", "x-goog-api-key")
"""Where Anthropic's and Google's SDKs put their key."""


class Expired(Unauthorized):
    """What is shown was good once: nobody has guessed it."""


def credential_of(headers: Mapping[str, str]) -> str | None:
    """What a request shows, None when it shows nothing.

    Args:
        headers: names in lower case.

    Raises:
        Unauthorized: it shows something that cannot be read, or several things that differ.
    """
    found = {headers[name].strip() for name in _HEADERS if name in headers}
    authorization = headers.get("authorization")
    if authorization is not None:
        found.add(_bearer(authorization))
    offered = headers.get("sec-websocket-protocol")
    if offered is not None and SUBPROTOCOL in offered:
        found |= {_decoded(name) for name in subprotocols(offered) if name.startswith(SUBPROTOCOL)}
    if not found:
        return None
    if len(found) > 1:
        raise Unauthorized("The request shows several credentials that differ; send one.")
    return checked(found.pop())


def checked(credential: str) -> str:
    """A credential that may be looked at.

    Raises:
        Unauthorized: it is too long, or no text of visible ASCII.
    """
    if not 0 < len(credential) <= MAX_CREDENTIAL or not credential.isascii() or not credential.isprintable():
        raise Unauthorized(f"A credential is visible ASCII of at most {MAX_CREDENTIAL} characters; this one is not.")
    return credential


def subprotocols(offered: str) -> list[str]:
    """The subprotocols of a `Sec-WebSocket-Protocol` header."""
    return [name.strip() for name in offered.split(",")]


def spoken(offered: str) -> list[str]:
    """Those that are no credentials; only of these one may be chosen, because the choice is echoed."""
    return [name for name in subprotocols(offered) if not name.startswith(SUBPROTOCOL)]


def _bearer(authorization: str) -> str:
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("Credentials are taken as `Authorization: Bearer …`; this is another scheme.")
    return credential.strip()


def _decoded(name: str) -> str:
    text = name.removeprefix(SUBPROTOCOL)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise Unauthorized(f"The subprotocol `{SUBPROTOCOL}…` does not end in base64url.") from None
