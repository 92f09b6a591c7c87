"""Imports follow the direction of the design: what decides below never knows what is above it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import stream_gateway
import stream_protocols

GATEWAY = Path(stream_gateway.__file__).parent
PROTOCOLS = Path(stream_protocols.__file__).parent

ASSEMBLING = {"__main__", "cli", "api", "asgi", "gateway", "serving"}
"""Who may know everything."""

LEAVES = {"config", "tls", "systemd"}
"""What anybody may use; they use nothing of the gateway themselves."""

BELOW = {
    "server": {"channels", "streams", "engines", "upstream", "guard", "observe"},
    "control": {"channels", "streams", "engines", "upstream", "guard", "observe"},
    "channels": {"streams", "engines", "upstream", "guard", "observe"},
    "streams": {"engines", "upstream", "guard", "observe"},
    "engines": {"observe"},
    "upstream": {"observe"},
    "client": set(),
    "guard": set(),
    "observe": set(),
}
"""Each room, and the rooms that it may import."""

UPWARDS: dict[tuple[str, str], str] = {}
"""What goes against the direction, and why. Nothing may be added without an equally good reason."""

IO = {
    *("trio", "httpx", "h11", "h2", "wsproto", "trio_websocket", "anyio", "asyncio", "structlog", "stream_gateway"),
    *("socket", "ssl", "select", "selectors", "subprocess", "threading", "multiprocessing", "os", "pathlib", "io"),
    *("time", "datetime", "random", "secrets", "logging", "urllib", "http", "email"),
}
"""What has no place where bytes become events: sockets, clocks, files, chance, and everything of the gateway."""


class Import(NamedTuple):
    """One module imports another."""

    importer: str
    imported: str
    for_types: bool

    @property
    def rooms(self) -> tuple[str, str]:
        """The top-level parts of `stream_gateway` between which it goes."""
        return self.importer.split(".")[1], self.imported.split(".")[1]


@cache
def modules(root: Path) -> dict[str, ast.Module]:
    """All modules of a package by their names."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(root: Path) -> Iterator[Import]:
    """All imports of a package's modules, wherever in them they stand."""
    known = modules(root)
    for name, tree in known.items():
        guarded = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: relative imports hide their direction"
                module = node.module or ""
                # `from a import b` is an import of a.b where b is a module.
                targets = [full if (full := f"{module}.{alias.name}") in known else module for alias in node.names]
            else:
                continue
            for target in targets:
                yield Import(name, target, node in guarded)


@cache
def inside() -> list[Import]:
    """The imports between the gateway's rooms."""
    return [
        found
        for found in imports(GATEWAY)
        if found.imported.startswith("stream_gateway.") and "." in found.importer and len(set(found.rooms)) == 2
    ]


def test_the_test_sees_what_is_there() -> None:
    edges = {found.rooms for found in inside()}
    assert {("gateway", "server"), ("server", "streams"), ("streams", "config")} <= edges
    assert len(modules(GATEWAY)) > 40
    assert len(modules(PROTOCOLS)) > 15


def test_every_room_has_its_place() -> None:
    rooms = {found.importer.split(".")[1] for found in imports(GATEWAY) if "." in found.importer}
    assert rooms <= ASSEMBLING | LEAVES | BELOW.keys()


def test_imports_follow_the_direction() -> None:
    wrong = [
        f"{found.importer} imports {found.imported}"
        for found in inside()
        if found.rooms[0] not in ASSEMBLING
        and found.rooms[1] not in (LEAVES if found.rooms[0] not in LEAVES else set()) | BELOW.get(found.rooms[0], set())
        and found.rooms not in UPWARDS
    ]
    assert wrong == []


def test_nobody_imports_what_assembles_them() -> None:
    assert [found for found in inside() if found.rooms[1] in ASSEMBLING and found.rooms[0] not in ASSEMBLING] == []


@pytest.mark.parametrize("rooms", UPWARDS, ids=" imports ".join)
def test_what_goes_upwards_is_still_needed(rooms: tuple[str, str]) -> None:
    assert rooms in {found.rooms for found in inside()}


def test_no_module_imports_itself_by_a_detour() -> None:
    graph: dict[str, set[str]] = {}
    for root in (GATEWAY, PROTOCOLS):
        for found in imports(root):
            if not found.for_types:
                graph.setdefault(found.importer, set()).add(found.imported)
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join((*path, name))
        if name not in done:
            for target in graph.get(name, ()):
                if target != name:
                    visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_protocols_know_no_sockets_no_clocks_and_no_gateway() -> None:
    wrong = [
        f"{found.importer} imports {found.imported}"
        for found in imports(PROTOCOLS)
        if found.imported.split(".")[0] in IO
    ]
    assert wrong == []
