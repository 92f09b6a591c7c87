"""What is particular to files: crashes at any byte, a full disk, others who have the file open."""

from __future__ import annotations

import random
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from stream_gateway.engines import codec
from stream_gateway.engines.engine import EngineUnavailable, Entry, Outcome, Write
from stream_gateway.engines.sqlite.engine import SqliteEngine
from stream_gateway.engines.sqlite.file import Clock, File
from stream_gateway.engines.sqlite.tables import Tables
from stream_protocols.events import TextDelta

CUTS = 300


def entry(stream: str) -> Entry:
    return Entry(stream=stream, model="m", created=1)


def batch(stream: str, first: int, count: int) -> Write:
    records = [(TextDelta(f"{stream}-{number} "), None) for number in range(first, first + count)]
    return Write(stream, "e", 1, first, count, codec.encode(records), entry=entry(stream) if first == 1 else None)


def tables(path: Path, **settings: bool) -> tuple[File, Tables]:
    file = File(str(path), **settings)
    return file, Tables(file, "node", lease=10, retain_for=100, clock=Clock())


def check_whole(found: Tables, stream: str) -> int:
    """The head of a stream, all of whose records are what they were."""
    stored = found.find(stream)
    if stored is None:
        assert found.read(stream, 0, 10**9) == []
        return 0
    texts = [event.text for part in found.read(stream, 0, 10**9) for event, _ in codec.decode(part)]  # type: ignore[attr-defined]
    assert texts == [f"{stream}-{number} " for number in range(1, stored.head + 1)]
    return stored.head


def test_a_crash_at_any_byte_loses_nothing_that_was_committed_and_tears_nothing(tmp_path: Path) -> None:
    """A crash leaves a beginning of what was written to the log of writes; each cut is one."""
    chance = random.Random(7)
    path, wal = tmp_path / "live.db", tmp_path / "live.db-wal"
    file, live = tables(path)
    file.writer.execute("PRAGMA wal_autocheckpoint = 0")
    heads = dict.fromkeys("abcdef", 0)
    file.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    committed: list[tuple[int, dict[str, int]]] = [(0, dict(heads))]
    for _ in range(150):
        some = chance.sample(sorted(heads), chance.randint(1, 6))
        writes = [batch(name, heads[name] + 1, chance.randint(1, 5)) for name in some]
        assert live.commit(writes) == [Outcome.STORED] * len(writes)
        heads |= {write.stream: write.last for write in writes}
        committed.append((wal.stat().st_size, dict(heads)))
    whole = wal.read_bytes()
    for number in range(CUTS):
        cut = chance.randint(0, len(whole))
        crashed = tmp_path / f"crashed{number}.db"
        shutil.copy(path, crashed)
        Path(f"{crashed}-wal").write_bytes(whole[:cut] + (chance.randbytes(100) if number % 3 == 0 else b""))
        again, found = tables(crashed)
        promised = [then for size, then in committed if size <= cut][-1]
        for name, head in promised.items():
            assert check_whole(found, name) >= head
        assert found.commit([batch("new", 1, 1)]) == [Outcome.STORED]
        again.close()
        for leftover in tmp_path.glob(f"crashed{number}.db*"):
            leftover.unlink()
    file.close()


def test_what_fails_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    file, live = tables(tmp_path / "s.db")
    live.commit([batch("a", 1, 3)])
    file.writer.execute("CREATE TRIGGER fault BEFORE INSERT ON batches WHEN NEW.stream = 'b' "
                        "BEGIN SELECT RAISE(ABORT, 'the disk is on fire'); END")  # fmt: skip
    with pytest.raises(sqlite3.Error, match="on fire"):
        live.commit([batch("a", 4, 2), batch("b", 1, 1)])
    assert check_whole(live, "a") == 3
    file.writer.execute("DROP TRIGGER fault")
    assert live.commit([batch("a", 4, 2), batch("b", 1, 1)]) == [Outcome.STORED] * 2
    file.close()


async def test_a_full_disk_is_one_clear_error_and_passes(tmp_path: Path) -> None:
    engine = SqliteEngine(str(tmp_path / "s.db"), fsync="off")
    await engine.commit([batch("a", 1, 1)])
    (pages,) = engine._file.writer.execute("PRAGMA page_count").fetchone()
    engine._file.writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(EngineUnavailable, match=r"s\.db cannot be used: database or disk is full"):
        for number in range(2, 500):
            await engine.commit([batch("a", number, 1)])
    stored = await engine.find("a")
    assert stored is not None
    head = check_whole(engine._tables, "a")
    engine._file.writer.execute("PRAGMA max_page_count = 1000000")
    assert await engine.commit([batch("a", head + 1, 1)]) == [Outcome.STORED]
    engine._file.close()


@pytest.mark.parametrize("path", ["/proc/streams.db", "{tmp}/nowhere/streams.db"])
def test_a_place_that_cannot_be_written(tmp_path: Path, path: str) -> None:
    with pytest.raises(EngineUnavailable, match=r"streams\.db cannot be used: .*No such file"):
        SqliteEngine(path.format(tmp=tmp_path))


def test_what_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(EngineUnavailable, match="file is not a database"):
        SqliteEngine(str(path))
    assert path.read_bytes().startswith(b"something else")


def test_a_file_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(EngineUnavailable, match="another version"):
        SqliteEngine(str(path))


def test_one_gateway_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    first, _ = tables(path)
    with pytest.raises(EngineUnavailable, match="another gateway has it open"):
        SqliteEngine(str(path))
    first.close()
    second, _ = tables(path)
    second.close()


def test_several_share_it_and_the_first_after_all_have_died_knows_that(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    files = [tables(path, shared=True) for _ in range(3)]
    for _, each in files:
        each.beat()
    files[0][1].commit([batch("a", 1, 1)])
    assert files[1][1].orphans(10) == []
    for file, _ in files[:2]:
        file.close()  # as a process that dies gives up its lock
    fourth, late = tables(path, shared=True)
    assert late.orphans(10) == []  # one is alive: leases count
    for file in (files[2][0], fourth):
        file.close()
    fifth, alone = tables(path, shared=True)
    assert alone.orphans(10) == ["a"]
    fifth.close()


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file, live = tables(tmp_path / "s.db")
    live.commit([batch("a", 1, 1)])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("s.db", "s.db-wal", "s.db-shm", "s.db-lock"), 0o600)
    file.close()


def test_a_node_that_has_died_leaves_no_rows(tmp_path: Path) -> None:
    file = File(str(tmp_path / "s.db"), shared=True)
    clock = Clock()
    dead, live = (Tables(file, node, lease=10, retain_for=100, clock=clock) for node in ("dead", "live"))
    dead.beat()
    dead.commit([batch("a", 1, 1)])
    began = clock.now()
    clock.now = lambda: began + 50
    live.beat()
    assert live.tell_all([("a", b"hello"), ("none", b"")]) == [True, False]
    live.purge()
    assert dead.receive() == [b"hello"]  # it was only asleep
    live.tell_all([("a", b"hello")])
    clock.now = lambda: began + 200
    live.beat()
    live.purge()
    assert file.reader.execute("SELECT node FROM nodes").fetchall() == [("live",)]
    assert file.reader.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    assert live.orphans(10) == ["a"]
    file.close()


async def test_expired_streams_leave_no_rows(tmp_path: Path) -> None:
    file = File(str(tmp_path / "s.db"))
    done = Tables(file, "node", lease=10, retain_for=-1, clock=Clock())
    for number in range(120):
        write = batch(f"s{number}", 1, 3)
        done.commit([Write(write.stream, "e", 1, 1, 3, write.data, 1, True, write.entry)])
    rounds = 1
    while done.purge():
        rounds += 1
    assert rounds == 3
    for table in ("streams", "batches", "claims"):
        assert file.reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    file.close()
