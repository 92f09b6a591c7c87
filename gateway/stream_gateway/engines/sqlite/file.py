"""The database file: its tables, how it is opened, and who else has it open."""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

Fsync = Literal["commit", "checkpoint", "off"]

VERSION: Final = 1
"""Of the tables; a file with another one is refused."""

BUSY: Final = 5.0
"""Seconds for which another process's write is waited for."""

WAL_BYTES: Final = 67_108_864
"""What is left of the write-ahead log after a checkpoint, at most."""

_SYNCHRONOUS: Final = {"commit": "FULL", "checkpoint": "NORMAL", "off": "OFF"}

_TABLES: Final = """
CREATE TABLE streams (
    name TEXT PRIMARY KEY, entry BLOB NOT NULL, alias TEXT, key TEXT,
    node TEXT NOT NULL, fence INTEGER NOT NULL, epoch TEXT NOT NULL, lives BLOB NOT NULL,
    head INTEGER NOT NULL, oldest INTEGER NOT NULL, sealed INTEGER NOT NULL DEFAULT 0, gone_at REAL
);
CREATE INDEX streams_alias ON streams (alias) WHERE alias IS NOT NULL;
CREATE INDEX streams_running ON streams (node) WHERE sealed = 0;
CREATE INDEX streams_gone ON streams (gone_at) WHERE gone_at IS NOT NULL;
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, epoch TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE UNIQUE INDEX batches_of ON batches (stream, last);
CREATE TABLE claims (key TEXT PRIMARY KEY, stream TEXT NOT NULL, asked BLOB NOT NULL, until REAL);
CREATE TABLE nodes (node TEXT PRIMARY KEY, boot TEXT NOT NULL, until REAL NOT NULL);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, body BLOB NOT NULL);
"""


class File:
    """An open database, with a connection that writes and one that reads; each may be used by one thread at a time.

    Args:
        shared: whether other processes may have it open.

    Raises:
        OSError, sqlite3.Error: it cannot be used.
    """

    def __init__(self, path: str, *, fsync: Fsync = "checkpoint", shared: bool = False) -> None:
        self.path = path
        for each in (f"{path}-lock", path):  # SQLite gives its other files the same mode
            _make_private(each)
        self._lock = open(f"{path}-lock", "ab")  # noqa: SIM115 - it is open for as long as the database is
        try:
            alone = self._take_lock(shared)
            self.writer = self._connect(fsync)
            try:
                self._prepare(alone, shared)
                self.reader = self._connect(fsync)
            except BaseException:
                self.writer.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    def _take_lock(self, shared: bool) -> bool:
        """Say that the file is in use; whether nobody else does.

        The lock goes with its process, however that ends. So a gateway that finds itself alone knows that all others
        are dead, and need not wait until their leases have run out.
        """
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not shared:
                raise OSError(f"another gateway has it open, by the lock on {self.path}-lock") from None
        else:
            return True
        until = time.monotonic() + BUSY
        while True:  # whoever is alone has it for itself while it prepares the tables
            try:
                fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise OSError(f"a gateway has it open that does not share it ({self.path}-lock)") from None
                time.sleep(0.05)
            else:
                return False

    def _connect(self, fsync: Fsync) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):  # it is the first one ever
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[fsync]}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        return connection

    def _prepare(self, alone: bool, shared: bool) -> None:
        (version,) = self.writer.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"it was written by another version of the gateway ({version})")
        with transaction(self.writer) as write:
            if not version and not write.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in filter(str.strip, _TABLES.split(";")):
                    write.execute(statement)
                write.execute(f"PRAGMA user_version = {VERSION}")
            if alone:
                write.execute("DELETE FROM nodes")
                write.execute("DELETE FROM messages")
        if alone and shared:
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Give it up."""
        self.writer.close()
        self.reader.close()
        self._lock.close()


def _make_private(path: str) -> None:
    """Make a file that only its owner may read: what clients asked and were answered is in there.

    One that is there is not touched: to close it would give up the locks that SQLite holds on it in this process.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


class transaction:
    """Everything in its context is written, or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:  # a full disk may have ended it already
                self._connection.execute("ROLLBACK")


class Clock:
    """The clock of leases: one for all processes of this machine, that nobody sets. It begins anew with each `boot`."""

    def __init__(self) -> None:
        try:
            self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            self.boot = ""
        self.now: Callable[[], float] = time.monotonic
