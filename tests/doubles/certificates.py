"""Certificates for tests, in files, and contexts that trust them."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import trustme


class Certificates:
    """A certificate authority and its files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.authority = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.authority))
        self.certificate, self.key = self.issue("server")

    def issue(self, name: str, *, expires: datetime.datetime | None = None) -> tuple[str, str]:
        """A certificate for localhost and its key, in two files."""
        issued = self.ca.issue_cert("localhost", "127.0.0.1", not_after=expires)
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)

    def spoil(self) -> None:
        """Make the key file one that cannot be used."""
        Path(self.key).write_text("no key")

    @property
    def section(self) -> dict[str, str]:
        """What the configuration's section `server` says."""
        return {"tls_certificate": self.certificate, "tls_key": self.key}

    def client(self, *protocols: str) -> ssl.SSLContext:
        """A client's context that offers these protocols."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context
