"""Where tests keep what they install for themselves: outside the repository, and kept from run to run."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """A folder of that name in the user's cache; made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "stream-gateway-tests" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
