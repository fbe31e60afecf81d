"""Tables, connections, and the lock that keeps a second process out."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Literal

from service.engine.errors import DataDirectoryInUse, EngineError

Synchronous = Literal["FULL", "NORMAL"]
VERSION = 1
FILE = "log.sqlite"

SCHEMA = """
CREATE TABLE IF NOT EXISTS owner (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT NOT NULL
);
INSERT OR IGNORE INTO identity VALUES (1, 'log-' || lower(hex(randomblob(8))));
CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    config BLOB NOT NULL,
    birth BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS partitions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    committed INTEGER NOT NULL DEFAULT 0,
    input_begin INTEGER NOT NULL DEFAULT 0,
    input_end INTEGER NOT NULL DEFAULT 0,
    UNIQUE (stream_id, number)
);
CREATE TABLE IF NOT EXISTS input (
    partition_id INTEGER NOT NULL,
    first INTEGER NOT NULL,
    next INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (partition_id, first)
);
CREATE TABLE IF NOT EXISTS results (
    partition_id INTEGER NOT NULL,
    first INTEGER NOT NULL,
    next INTEGER NOT NULL,
    anomalies INTEGER NOT NULL,
    earliest_ms INTEGER NOT NULL,
    latest_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (partition_id, first)
);
CREATE TABLE IF NOT EXISTS dead_letters (
    partition_id INTEGER NOT NULL,
    first INTEGER NOT NULL,
    next INTEGER NOT NULL,
    count INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (partition_id, first)
);
CREATE TABLE IF NOT EXISTS pointers (
    partition_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (partition_id, position)
);
"""
"""`first` and `next` bound the offsets of a segment: [first, next). `anomalies` counts the results
that tell of an anomaly or of incidents."""


def open_writer(directory: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the file for writing, making it and its tables if need be."""
    connection = sqlite3.connect(
        directory / FILE, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: 16 MB
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, VERSION):
        connection.close()
        raise EngineError(f"{directory / FILE} has version {version}; this program reads {VERSION}")
    connection.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    return connection


def identity_of(connection: sqlite3.Connection) -> str:
    """Return the name that was drawn when the file was made."""
    (name,) = connection.execute("SELECT name FROM identity").fetchone()
    return str(name)


def open_reader(directory: Path) -> sqlite3.Connection:
    """Open the file for reading beside the writer."""
    connection = sqlite3.connect(directory / FILE, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA query_only = 1")
    return connection


def open_view(directory: Path) -> sqlite3.Connection:
    """Open the file so that nothing in the directory changes, beside a writer or without one.

    Raises:
        EngineError: there is no file, or one of another version.
    """
    file = directory / FILE
    if not file.is_file():
        raise EngineError(f"there is no log in {directory}: {FILE} is absent")
    # Without a write-ahead log nobody serves the file, and reading it as it stands is safe; with
    # one, the readers' bookkeeping is in memory that the writer shares, or makes.
    mode = "mode=ro" if file.with_name(f"{FILE}-wal").exists() else "immutable=1"
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?{mode}", uri=True, isolation_level=None
    )
    connection.execute("PRAGMA busy_timeout = 5000")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        connection.close()
        raise EngineError(f"{file} has version {version}; this program reads {VERSION}")
    return connection


def lock_directory(directory: Path) -> int:
    """Keep other processes out of the directory; closing the descriptor, or dying, lets go.

    Raises:
        DataDirectoryInUse: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise DataDirectoryInUse(str(directory)) from None
    return descriptor
