"""An issuer of JWTs, good and forged ones, and the loopback server that its keys are fetched from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import trio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.example"
AUDIENCE = "stream-gateway"
RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
STRANGER = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
KEYS: dict[str, Any] = {"RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}


def jwk(algorithm: str, kid: str, key: Any = None) -> dict[str, Any]:
    """A public key as an issuer publishes it."""
    public = (key or KEYS[algorithm]).public_key()
    make = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[algorithm]
    return {**make.to_jwk(public, as_dict=True), "kid": kid, "alg": algorithm, "use": "sig"}


def jwk_set(*keys: dict[str, Any]) -> str:
    """A JWK set; without keys, all three of `KEYS`, called as their algorithms."""
    return json.dumps({"keys": list(keys) or [jwk(name, name) for name in KEYS]})


def token(algorithm: str = "RS256", *, kid: str | None = "RS256", key: Any = None, **claims: Any) -> str:
    """A token that is good; `claims` replace its own, None removes one."""
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(said, key or KEYS[algorithm], algorithm=algorithm, headers=headers)


def without_signature(**claims: Any) -> str:
    """A token that says `alg: none`."""
    _, body, _ = token(**claims).split(".")
    return f"{_encoded({'alg': 'none', 'kid': 'RS256', 'typ': 'JWT'})}.{body}."


def confused(**claims: Any) -> str:
    """A token whose HMAC has the RSA public key as its secret, which everybody knows."""
    _, body, _ = token(**claims).split(".")
    text = f"{_encoded({'alg': 'HS256', 'kid': 'RS256', 'typ': 'JWT'})}.{body}"
    secret = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{text}.{_base64(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def _encoded(head: dict[str, str]) -> str:
    return _base64(json.dumps(head).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class KeyServer:
    """Answers every request with `answer`, or says nothing while `silent`."""

    def __init__(self) -> None:
        self.answer = jwk_set()
        self.status = 200
        self.silent = False
        self.asked = 0
        self.url = ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/keys"
        await trio.serve_listeners(self._serve, [listener], task_status=task_status)

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65_536)
            self.asked += 1
            if self.silent:
                await trio.sleep_forever()
            body = self.answer.encode()
            head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            await stream.send_all(head.encode() + body)
