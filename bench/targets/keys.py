"""API keys of the load: known to everybody, and good for a gateway on loopback while a bench runs."""

import hashlib
import json
from pathlib import Path
from typing import Any

BENCH_KEY = "sgk_bec400000000_" + "b" * 43
ABUSER_KEY = "sgk_bad000000000_" + "a" * 43
"""Has fifty streams at once, and no more."""


def write_keys(path: Path) -> None:
    """Write the gateway's key file."""
    keys = [_entry("bench", BENCH_KEY), {**_entry("abuser", ABUSER_KEY), "quota": {"streams": 50}}]
    path.write_text(json.dumps({"keys": keys}))
    path.chmod(0o600)


def _entry(name: str, key: str) -> dict[str, Any]:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return {"id": key.split("_")[1], "name": name, "hash": digest, "created": 0}
