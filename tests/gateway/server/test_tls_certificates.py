"""Certificates that cannot be used are found at start-up, and the message says which file and why."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest

from stream_gateway.config import ConfigError
from stream_gateway.server.certificates import Certificates
from tests.doubles import certificates as doubles


@pytest.fixture
def files(tmp_path: Path) -> doubles.Certificates:
    return doubles.Certificates(tmp_path)


def refusal(certificate: str, key: str | None) -> str:
    with pytest.raises(ConfigError) as caught:
        Certificates(certificate, key)
    return str(caught.value)


def test_good_files(files: doubles.Certificates) -> None:
    context = Certificates(files.certificate, files.key).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert all(name.startswith(("ECDHE", "TLS_")) for name in names)
    assert all("GCM" in name or "CHACHA20" in name for name in names)


def test_one_file_for_both(files: doubles.Certificates) -> None:
    both = files.folder / "both.pem"
    both.write_text(Path(files.key).read_text() + Path(files.certificate).read_text())
    assert Certificates(str(both), None).context


def test_a_missing_file(files: doubles.Certificates) -> None:
    assert refusal("/nowhere/a.crt", files.key) == (
        "/nowhere/a.crt: cannot be read: No such file or directory (server.tls_certificate)."
    )
    assert refusal(files.certificate, "/nowhere/a.key") == (
        "/nowhere/a.key: cannot be read: No such file or directory (server.tls_key)."
    )
    assert "Is a directory" in refusal(str(files.folder), files.key)


def test_a_file_of_another_kind(files: doubles.Certificates) -> None:
    assert "holds no certificate in PEM form" in refusal(files.key, files.key)
    assert "holds no private key in PEM form" in refusal(files.certificate, files.certificate)


def test_a_broken_file(files: doubles.Certificates) -> None:
    text = Path(files.certificate).read_text()
    Path(files.certificate).write_text(text[: len(text) // 2])
    assert "cannot be used" in refusal(files.certificate, files.key)


def test_a_key_of_another_certificate(files: doubles.Certificates) -> None:
    _, other = files.issue("other")
    message = refusal(files.certificate, other)
    assert message == f"{other}: the key does not belong to the certificate in {files.certificate} (server.tls_key)."


def test_an_expired_certificate(files: doubles.Certificates) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate, key = files.issue("old", expires=past)
    assert refusal(certificate, key) == f"{certificate}: certificate has expired (server.tls_certificate)."


def test_a_failed_reload_keeps_the_old(files: doubles.Certificates) -> None:
    certificates = Certificates(files.certificate, files.key)
    context = certificates.context
    Path(files.certificate).write_text("no certificate")
    with pytest.raises(ConfigError):
        certificates.load()
    assert certificates.context is context
