"""A gateway with keys and JWTs, and people who have them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream_gateway.config import QuotaSettings
from stream_gateway.guard.keys import changing, new_key
from stream_gateway.guard.principal import Grant
from stream_gateway.guard.tokens import StreamTokens
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES, STREAMS
from tests.doubles.issuer import AUDIENCE, ISSUER, jwk_set
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.secrets import secret
from tests.doubles.served_gateway import Serve, ServedGateway

SIGNING = secret("signing-secret-of-the-stream-tokens-of-tests")
MODEL = "quick"
HELD = "held"
"""A model that begins an answer, and does not end it."""


def add_key(path: Path, name: str, *, admin: bool = False, **quota: int) -> str:
    """Put a key into a key file."""
    text, entry = new_key(name, admin=admin, quota=QuotaSettings(**quota))
    with changing(path) as keys:
        keys.append(entry)
    return secret(text)


def remove_key(path: Path, name: str) -> None:
    """Take a key out of a key file."""
    with changing(path) as keys:
        keys[:] = [key for key in keys if key.name != name]


def bearer(credential: str) -> dict[str, str]:
    """The header that shows it."""
    return {"Authorization": f"Bearer {credential}"}


def subprotocol(credential: str) -> str:
    """The subprotocol that shows it."""
    return "stream-gateway.token." + base64.urlsafe_b64encode(credential.encode()).decode().rstrip("=")


def stream_token(stream: str, expires: int = 4_000_000_000, *, cancel: bool = False) -> str:
    """A token as the gateway would sign it."""
    return secret(StreamTokens([SIGNING.encode()]).sign(Grant(stream, cancel), expires))


class Keyed:
    """A gateway that lets in whoever has a key in `path`, or a JWT of the issuer of the tests."""

    def __init__(self, serve: Serve, upstream: OpenAIServer, folder: Path) -> None:
        upstream.scripts[MODEL] = Script(deltas=words(3))
        upstream.scripts[HELD] = Script(deltas=words(50), gate=Gate(3))
        self.path = folder / "keys.json"
        self._serve = serve
        self._folder = folder
        self.gateway: ServedGateway
        self.ann = add_key(self.path, "ann")
        self.bob = add_key(self.path, "bob")

    async def start(self, *, guard: Mapping[str, Any] | None = None, **sections: Any) -> ServedGateway:
        """Start the gateway."""
        jwks, signing = self._folder / "jwks.json", self._folder / "signing.secret"
        jwks.write_text(jwk_set())
        signing.write_text(SIGNING)
        self.gateway = await self._serve(
            guard={
                "keys_file": str(self.path),
                "secret_file": str(signing),
                "jwt": {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(jwks)},
                **(guard or {}),
            },
            **sections,
        )
        return self.gateway

    async def create(self, credential: str, model: str = MODEL, **fields: Any) -> str:
        """Create a stream; its id."""
        payload = {"model": model, "messages": MESSAGES, "lease": "finish", **fields}
        response = await self.gateway.request("POST", STREAMS, payload=payload, headers=bearer(credential))
        body = await response.read()
        assert response.status == 201, body
        return str(json.loads(body)["id"])
