"""JWTs: signed by the issuer, with a key of its own, for us, and still good."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.config import ConfigError, GuardSettings, JwtSettings, QuotaSettings, config_from_toml
from stream_gateway.guard import jwks
from stream_gateway.guard.guard import Guard
from stream_gateway.guard.jwk import KeySet, read_set, shared
from stream_gateway.guard.jwts import Jwts, KeysPending
from stream_protocols.errors import Unauthorized
from tests.doubles import issuer
from tests.doubles.issuer import AUDIENCE, ISSUER, KeyServer, jwk, jwk_set, token

SECRET = "s" * 64
NOW = int(time.time())


def settings(**more: Any) -> JwtSettings:
    return JwtSettings(issuer=ISSUER, audience=AUDIENCE, **more)


@pytest.fixture
def jwts(tmp_path: Path) -> Jwts:
    path = tmp_path / "keys.json"
    path.write_text(jwk_set())
    return Jwts(settings(jwks_file=str(path), admin_scope="gateway.admin"), QuotaSettings(streams=3), lambda: None)


@pytest.mark.parametrize("algorithm", issuer.KEYS)
def test_a_good_token(jwts: Jwts, algorithm: str) -> None:
    principal = jwts.verify(token(algorithm, kid=algorithm, sub="ann"))
    assert (principal.id, principal.name, principal.admin) == ("jwt:ann", "ann", False)
    assert principal.quota.streams == 3
    assert principal.expires > time.time() + 200
    assert jwts.verify(token(algorithm, kid=None)).id == "jwt:ann"  # it has only one key of that kind


def test_an_admin(jwts: Jwts) -> None:
    assert jwts.verify(token(scope="other gateway.admin")).admin
    assert not jwts.verify(token(scope="gateway.administration")).admin
    assert not jwts.verify(token(scope=["gateway.admin"])).admin


FORGED = {
    "expired": token(exp=NOW - 120),
    "no expiry": token(exp=None),
    "not yet": token(nbf=NOW + 600),
    "another issuer": token(iss="https://evil.example"),
    "another audience": token(aud="other"),
    "no audience": token(aud=None),
    "no subject": token(sub=None),
    "an empty subject": token(sub=""),
    "an endless subject": token(sub="a" * 300),
    "none": issuer.without_signature(),
    "an RSA key as secret": issuer.confused(),
    "a stranger's key": token(key=issuer.STRANGER),
    "a key that is not known": token(kid="other"),
    "an algorithm that its key has not": token("ES256", kid="RS256"),
    "PS256 with a key for RS256": token("PS256", key=issuer.RSA_KEY),
    "another body": ".".join([token().split(".")[0], token(sub="root").split(".")[1], token().split(".")[2]]),
    "no signature": token().rpartition(".")[0] + ".",
    "rubbish": "a.b.c",
    "nothing": "..",
}


@pytest.mark.parametrize("why", FORGED)
def test_a_forged_token(jwts: Jwts, why: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        jwts.verify(FORGED[why])
    assert not any(len(part) > 3 and part in caught.value.message for part in FORGED[why].split("."))


@given(st.text(st.characters(max_codepoint=0x7E), max_size=60))
def test_any_head(text: str) -> None:
    """Whatever stands in a token's head, it is refused in words of ours."""
    head = issuer._encoded({"alg": text, "kid": text})
    verifier = Jwts(settings(secret_env=None), QuotaSettings(), lambda: None)
    for forged in (f"{head}.e30.", f"{text}.e30.x", f"{head}.{text}.x"):
        with pytest.raises(Unauthorized):
            verifier.verify(forged)


def test_heads_that_say_more() -> None:
    """A nested one has no end; one that is critical (RFC 7515 §4.1.11) says what nobody here knows."""
    key = shared(SECRET)
    verifier = Jwts(settings(), QuotaSettings(), lambda: None)
    verifier._file = KeySet([key])
    nested = base64.urlsafe_b64encode(b"[" * 6000).rstrip(b"=").decode()
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": int(time.time()) + 60}
    more = {"crit": ["x"], "x": 1}
    verifier._settings = settings(algorithms=("HS256",))
    for forged in (f"{nested}.e30.AA", jwt.encode(claims, SECRET, "HS256", headers=more)):
        with pytest.raises(Unauthorized):
            verifier.verify(forged)
    for harmless in ({"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}, {"jwk": jwk("RS256", "own")}):
        assert verifier.verify(jwt.encode(claims, SECRET, "HS256", headers=harmless)).id == "jwt:ann"


def test_a_shared_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    path = tmp_path / "keys.json"
    path.write_text(jwk_set())
    both = settings(secret_env="JWT_SECRET", jwks_file=str(path), algorithms=("HS256", "RS256"))
    verifier = Jwts(both, QuotaSettings(), lambda: None)
    assert verifier.verify(token("HS256", key=SECRET.encode())).id == "jwt:ann"
    assert verifier.verify(token()).id == "jwt:ann"
    for forged in (issuer.confused(), token("HS512", key=SECRET.encode()), token("HS256", key=b"x" * 64)):
        with pytest.raises(Unauthorized):
            verifier.verify(forged)
    for text, needing in (("short", both), ("s" * 63, settings(secret_env="JWT_SECRET", algorithms=("HS512",)))):
        monkeypatch.setenv("JWT_SECRET", text)
        with pytest.raises(ConfigError) as caught:
            Jwts(needing, QuotaSettings(), lambda: None)
        assert text not in str(caught.value)


def test_keys_of_no_use_are_skipped() -> None:
    small = rsa.generate_private_key(public_exponent=65_537, key_size=1024)
    odd: list[dict[str, Any]] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        {**jwk("RS256", "enc"), "use": "enc"},
        {**jwk("RS256", "hs"), "alg": "HS256"},
        {**jwk("RS256", "none"), "alg": "none"},
        {**jwk("RS256", "ops"), "key_ops": ["encrypt"]},
        {**jwk("ES256", "crv"), "crv": ["P-256"]},
        {"kty": "RSA", "kid": "empty"},
        {"kid": "nothing"},
        jwk("RS256", "small", small),
    ]
    assert read_set(jwk_set(*odd, jwk("ES256", "good")).encode()).names == {"good"}
    for nothing in (jwk_set(*odd), "{}", "[]", "", json.dumps({"keys": [1]})):
        with pytest.raises(ValueError, match=r"no JWK set|no public key"):
            read_set(nothing.encode())


# Keys that are fetched


@pytest.fixture
async def server(nursery: trio.Nursery) -> KeyServer:
    server = KeyServer()
    await nursery.start(server.run)
    return server


async def recognised(guard: Guard, credential: str) -> str:
    """As the server does it: once more when keys were pending."""
    try:
        return guard.recognise(credential, "p").id
    except KeysPending:
        await guard.settled()
        return guard.recognise(credential, "p", final=True).id


async def test_keys_are_fetched_and_rotate(
    nursery: trio.Nursery, server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(GuardSettings(jwt=settings(jwks_url=server.url)))
    nursery.start_soon(guard.run)
    old = token()
    assert await recognised(guard, old) == "jwt:ann"  # the first one waits for the first fetch
    assert server.asked == 1
    server.answer = jwk_set(jwk("RS256", "new", issuer.STRANGER))
    new = token(kid="new", key=issuer.STRANGER)
    with pytest.raises(Unauthorized):  # too soon after the last one: strangers cannot make us ask all the time
        await recognised(guard, new)
    assert server.asked == 1
    monkeypatch.setattr(jwks, "MIN_INTERVAL", 0.0)
    assert await recognised(guard, new) == "jwt:ann"
    assert server.asked == 2
    with pytest.raises(Unauthorized):  # its key is gone, although it was verified a moment ago
        await recognised(guard, old)


async def test_a_provider_that_fails(nursery: trio.Nursery, server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "MIN_INTERVAL", 0.0)
    guard = Guard(GuardSettings(jwt=settings(jwks_url=server.url, fetch_timeout=0.2)))
    server.silent = True
    nursery.start_soon(guard.run)
    with pytest.raises(Unauthorized):
        await recognised(guard, token())
    server.silent = False
    assert await recognised(guard, token()) == "jwt:ann"
    for server.answer, server.status in ((jwk_set(), 500), ("<html>", 200), ("x" * (jwks.MAX_BYTES + 1), 200)):
        with pytest.raises(Unauthorized):
            await recognised(guard, token(kid="unknown"))
        assert await recognised(guard, token()) == "jwt:ann"  # what was good stays good


async def test_a_provider_that_is_gone_for_long(
    nursery: trio.Nursery, server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "MIN_INTERVAL", 0.0)
    guard = Guard(GuardSettings(jwt=settings(jwks_url=server.url)))
    nursery.start_soon(guard.run)
    assert await recognised(guard, token()) == "jwt:ann"
    monkeypatch.setattr(jwks, "MAX_STALE", 0.0)
    server.status = 500
    with pytest.raises(Unauthorized):
        await recognised(guard, token(kid="unknown"))
    with pytest.raises(Unauthorized):
        await recognised(guard, token())


# What cannot be meant

JWT = f'[guard.jwt]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no keys; give jwks_url or jwks_file"),
        ('algorithms = ["HS256"]', "HS256 need a secret_env or secret_file"),
        ('algorithms = ["none"]', "guard.jwt.algorithms"),
        ('jwks_url = "http://keys.example/"', "expected an https:// URL"),
        ('jwks_url = "keys"', "expected an https:// URL"),
        ('jwks_file = "x"\nsecret_env = "A"\nsecret_file = "b"', "not both"),
    ],
)
def test_configurations_that_cannot_be_meant(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config_from_toml(JWT + text, environ={})
