"""What is done to the tables, in plain calls that belong into a worker thread."""

import time
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from stream_gateway.engines.engine import CLAIM_SECONDS, Batch, Claim, Entry, Outcome, Stored, Write
from stream_gateway.engines.sqlite.file import Clock, File, transaction

PURGED: Final = 50
"""Streams that are dropped in one transaction: it holds up everybody's writes."""

FREED: Final = 256
"""Pages that are given back to the file system with it."""

ASLEEP: Final = 9
"""Leases that a node may oversleep before what it was told is dropped; it can come back all the same."""

NEWS: Final = 500
"""Batches that are looked at in one go."""

_ENTRY: Final = msgspec.msgpack.Decoder(Entry)
_LIVES: Final = msgspec.msgpack.Decoder(dict[str, int])
_COLUMNS: Final = "entry, node, fence, epoch, lives, head, oldest, sealed, gone_at"
_OURS: Final = "name = ? AND (gone_at IS NULL OR gone_at > ?)"


class Tables:
    """One node's work on a file. Whatever fails raises sqlite3.Error, and has changed nothing."""

    def __init__(self, file: File, node: str, *, lease: float, retain_for: float, clock: Clock) -> None:
        self._file = file
        self._node = node
        self._lease = lease
        self._retain_for = retain_for
        self._clock = clock

    # ---- for the thread that writes

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        with transaction(self._file.writer):
            return [self._write(write) for write in writes]

    def _write(self, write: Write) -> Outcome:
        execute = self._file.writer.execute
        query = "SELECT fence, head, sealed FROM streams WHERE name = ?"
        row = execute(query, (write.stream,)).fetchone()
        if row is None:
            if write.entry is None:
                return Outcome.MISSING
            self._create(write, write.entry)
            row = (write.fence, write.first - 1, False)
        fence, head, sealed = row
        if fence != write.fence:
            return Outcome.FENCED
        if write.entry is not None:
            entry = (msgspec.msgpack.encode(write.entry), write.entry.alias, write.stream)
            execute("UPDATE streams SET entry = ?, alias = ? WHERE name = ?", entry)
        if not write.count or write.last <= head:
            return Outcome.STORED
        if sealed or write.first <= head:
            return Outcome.FENCED
        self._append(write, head)
        return Outcome.STORED

    def _create(self, write: Write, entry: Entry) -> None:
        execute = self._file.writer.execute
        execute(
            "INSERT INTO streams (name, entry, alias, key, node, fence, epoch, lives, head, oldest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(write.stream, msgspec.msgpack.encode(entry), entry.alias, entry.key, self._node, write.fence),
                *(write.epoch, msgspec.msgpack.encode({}), write.first - 1, write.first),
            ),
        )
        if entry.key is not None:
            execute("REPLACE INTO claims VALUES (?, ?, ?, NULL)", (entry.key, write.stream, entry.asked))

    def _append(self, write: Write, head: int) -> None:
        execute = self._file.writer.execute
        if write.first > head + 1:
            execute("DELETE FROM batches WHERE stream = ?", (write.stream,))
        batch = (write.stream, write.epoch, write.first, write.last, write.data)
        execute("INSERT INTO batches (stream, epoch, first, last, data) VALUES (?, ?, ?, ?, ?)", batch)
        if write.oldest > 1:
            execute("DELETE FROM batches WHERE stream = ? AND last < ?", (write.stream, write.oldest))
        oldest = "(SELECT min(first) FROM batches WHERE stream = name)" if write.oldest > 1 else "oldest"
        gone_at = time.time() + self._retain_for if write.sealed else None
        execute(
            f"UPDATE streams SET head = ?, oldest = {oldest}, sealed = ?, gone_at = ? WHERE name = ?",
            (write.last, write.sealed, gone_at, write.stream),
        )

    def claim(self, key: str, claim: Claim) -> Claim | None:
        now = time.time()
        with transaction(self._file.writer) as write:
            query = (
                "SELECT stream, asked FROM claims WHERE key = ? AND (until IS NULL OR until > ?)"
                " AND NOT EXISTS (SELECT 1 FROM streams WHERE name = stream AND gone_at <= ?)"
            )
            row = write.execute(query, (key, now, now)).fetchone()
            if row is not None:
                return Claim(*row)
            until = now + CLAIM_SECONDS
            write.execute("REPLACE INTO claims VALUES (?, ?, ?, ?)", (key, claim.stream, claim.asked, until))
        return None

    def release(self, key: str, stream: str) -> None:
        with transaction(self._file.writer) as write:
            write.execute("DELETE FROM claims WHERE key = ? AND stream = ? AND until IS NOT NULL", (key, stream))

    def forget(self, stream: str) -> None:
        with transaction(self._file.writer) as write:
            if write.execute("SELECT 1 FROM streams WHERE name = ? AND sealed", (stream,)).fetchone():
                self._drop(stream)

    def _drop(self, stream: str) -> None:
        for table, column in (("batches", "stream"), ("claims", "stream"), ("streams", "name")):
            self._file.writer.execute(f"DELETE FROM {table} WHERE {column} = ?", (stream,))

    def purge(self) -> bool:
        """Drop what is over; whether there may be more of it."""
        now = time.time()
        with transaction(self._file.writer) as write:
            over = write.execute("SELECT name FROM streams WHERE gone_at <= ? LIMIT ?", (now, PURGED)).fetchall()
            for (name,) in over:
                self._drop(name)
            write.execute("DELETE FROM claims WHERE until <= ?", (now,))
            asleep = (self._clock.boot, self._clock.now() - ASLEEP * self._lease)
            write.execute("DELETE FROM nodes WHERE boot != ? OR until <= ?", asleep)
            write.execute("DELETE FROM messages WHERE node NOT IN (SELECT node FROM nodes)")
        if over:
            self._file.writer.execute(f"PRAGMA incremental_vacuum({FREED})").fetchall()
        return len(over) == PURGED

    def beat(self) -> None:
        node = (self._node, self._clock.boot, self._clock.now() + self._lease)
        with transaction(self._file.writer) as write:
            write.execute("REPLACE INTO nodes VALUES (?, ?, ?)", node)

    def leave(self) -> None:
        with transaction(self._file.writer) as write:
            write.execute("DELETE FROM nodes WHERE node = ?", (self._node,))

    def take(self, stream: str, epoch: str) -> Stored | None:
        with transaction(self._file.writer) as write:
            query = f"SELECT {_COLUMNS} FROM streams WHERE name = ?"
            row = write.execute(query, (stream,)).fetchone()
            if row is None:
                return None
            stored = self._stored(write, row)
            if (stored.node, stored.epoch) == (self._node, epoch):
                return stored
            if stored.sealed or stored.alive:
                return None
            lives = {**{name: min(last, stored.head) for name, last in stored.lives.items()}, stored.epoch: stored.head}
            taken = msgspec.structs.replace(
                stored, node=self._node, fence=stored.fence + 1, epoch=epoch, lives=lives, alive=True
            )
            write.execute(
                "UPDATE streams SET node = ?, fence = ?, epoch = ?, lives = ? WHERE name = ?",
                (self._node, taken.fence, epoch, msgspec.msgpack.encode(lives), stream),
            )
        return taken

    def tell_all(self, messages: Sequence[tuple[str, bytes]]) -> list[bool]:
        told: list[bool] = []
        with transaction(self._file.writer) as write:
            for stream, message in messages:
                row = write.execute("SELECT node FROM streams WHERE name = ? AND NOT sealed", (stream,)).fetchone()
                if row is not None:
                    write.execute("INSERT INTO messages (node, body) VALUES (?, ?)", (row[0], message))
                told.append(row is not None)
        return told

    def receive(self) -> list[bytes]:
        """Take what was told this node."""
        query = "SELECT id, body FROM messages WHERE node = ? ORDER BY id LIMIT ?"
        found = self._file.writer.execute(query, (self._node, NEWS)).fetchall()
        if found:
            with transaction(self._file.writer) as write:
                write.execute("DELETE FROM messages WHERE node = ? AND id <= ?", (self._node, found[-1][0]))
        return [body for _, body in found]

    # ---- for the thread that reads

    def find(self, stream: str) -> Stored | None:
        query = f"SELECT {_COLUMNS} FROM streams WHERE {_OURS}"
        row = self._file.reader.execute(query, (stream, time.time())).fetchone()
        return None if row is None else self._stored(self._file.reader, row)

    def _stored(self, connection: Any, row: tuple[Any, ...]) -> Stored:
        entry, node, fence, epoch, lives, head, oldest, sealed, gone_at = row
        return Stored(
            entry=_ENTRY.decode(entry),
            node=node,
            fence=fence,
            alive=self._is_alive(connection, node),
            epoch=epoch,
            head=head,
            oldest=oldest,
            sealed=bool(sealed),
            lives=_LIVES.decode(lives),
            kept=0.0 if gone_at is None else max(0.0, gone_at - time.time()),
        )

    def _is_alive(self, connection: Any, node: str) -> bool:
        query = "SELECT 1 FROM nodes WHERE node = ? AND boot = ? AND until > ?"
        return connection.execute(query, (node, self._clock.boot, self._clock.now())).fetchone() is not None

    def named(self, alias: str) -> str | None:
        query = "SELECT name FROM streams WHERE alias = ? ORDER BY rowid DESC LIMIT 1"
        row = self._file.reader.execute(query, (alias,)).fetchone()
        return None if row is None else row[0]

    def read(self, stream: str, after: int, max_bytes: int) -> list[Batch]:
        query = "SELECT epoch, first, last, data FROM batches WHERE stream = ? AND last > ? ORDER BY last"
        found: list[Batch] = []
        size = 0
        rows = self._file.reader.execute(query, (stream, after))
        for epoch, first, last, data in rows:
            size += len(data)
            if found and size > max_bytes:
                rows.close()  # or the log of writes could not be shortened
                break
            found.append(Batch(epoch, first, last - first + 1, data))
        return found

    def orphans(self, limit: int) -> list[str]:
        query = (
            "SELECT name FROM streams WHERE sealed = 0 AND node NOT IN"
            " (SELECT node FROM nodes WHERE boot = ? AND until > ?) LIMIT ?"
        )
        return [name for (name,) in self._file.reader.execute(query, (self._clock.boot, self._clock.now(), limit))]

    def newest(self) -> int:
        """The id of the newest batch."""
        (number,) = self._file.reader.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()
        return int(number)

    def version(self) -> int:
        """Another number whenever another connection has written."""
        (number,) = self._file.reader.execute("PRAGMA data_version").fetchone()
        return int(number)

    def news(self, after: int, streams: Collection[str]) -> tuple[int, dict[str, None]]:
        """Which of these streams have batches with ids after a number, and the last one looked at."""
        query = "SELECT id, stream FROM batches WHERE id > ? ORDER BY id LIMIT ?"
        found = self._file.reader.execute(query, (after, NEWS)).fetchall()
        return (found[-1][0] if found else after), {name: None for _, name in found if name in streams}
