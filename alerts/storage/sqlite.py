"""SQLite: one file, written ahead and synced in full, so that a commit survives the loss of power.

A process writes over one connection: SQLite takes one writer at a time, and who waits for the
connection is served in order, where who waits for the file's lock has to ask again and again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from alerts.storage.errors import StorageError
from alerts.storage.migrating import upgrade

_QUEUE_TIMEOUT_S: Final = 30.0


class SQLiteBackend:
    """A database in one file, made with its directory when needed. A ``Backend``."""

    def __init__(self, url: URL, *, busy_timeout_s: float) -> None:
        """Take the URL of a file and how long a write waits for another process, in seconds.

        Raises:
            StorageError: The URL names no file.
        """
        if url.database in (None, "", ":memory:"):
            raise StorageError(
                "alerts.storage_url names no file; a database in memory would lose notifications, "
                "write a URL such as sqlite:///data/alerts.db"
            )
        self._url = url
        self._busy_timeout_s = busy_timeout_s

    @property
    def name(self) -> str:
        """The path of the file."""
        return str(self._url.database)

    async def migrate(self) -> None:
        """Bring the file to the newest revision; others that try wait for its lock."""
        await asyncio.to_thread(self._migrate)

    def engine(self) -> AsyncEngine:
        """Return what makes the one connection."""
        engine = create_async_engine(
            self._url.set(drivername="sqlite+aiosqlite"),
            pool_size=1,
            max_overflow=0,
            pool_timeout=_QUEUE_TIMEOUT_S,
        )
        self._prepare(engine.sync_engine)
        return engine

    def translated(self, error: Exception) -> StorageError:
        """Return what went wrong, with what to do about it."""
        if isinstance(error, PoolTimeoutError):
            return StorageError(
                f"the database {self.name} fails: a transaction waited {_QUEUE_TIMEOUT_S:g} s for "
                "those before it; the disk is too slow for what is written: look at its load"
            )
        cause = getattr(error, "orig", None)
        reason = str(cause if cause is not None else error)
        advice = next((text for words, text in _ADVICE.items() if words in reason), _OTHER_ADVICE)
        return StorageError(f"the database {self.name} fails: {reason}; {advice}")

    def _migrate(self) -> None:
        try:
            Path(self.name).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot create the directory of the database {self.name}: {error.strerror}; "
                "make it, or let alerts.storage_url name another place"
            ) from error
        engine = create_engine(self._url.set(drivername="sqlite"))
        self._prepare(engine)
        try:
            with engine.begin() as connection:
                upgrade(connection, self.name)
        except SQLAlchemyError as error:
            raise self.translated(error) from error
        finally:
            engine.dispose()

    def _prepare(self, engine: Engine) -> None:
        timeout_ms = round(self._busy_timeout_s * 1000)

        def on_connect(connection: Any, _record: object) -> None:
            # The driver must not begin transactions by itself: see on_begin.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {timeout_ms}")
            _write_ahead(cursor)
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

        def on_begin(connection: Connection) -> None:
            # A transaction that turns from reading to writing cannot wait for a lock.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        event.listen(engine, "connect", on_connect)
        event.listen(engine, "begin", on_begin)


def _write_ahead(cursor: Any) -> None:
    """Turn on write-ahead logging.

    The first process that does so locks others out, who are told at once instead of made to wait.
    So they wait as a write does, and try again.
    """
    for _ in range(_WRITE_AHEAD_ATTEMPTS):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("COMMIT")
        else:
            return
    cursor.execute("PRAGMA journal_mode = WAL")


_WRITE_AHEAD_ATTEMPTS: Final = 20
_OTHER_ADVICE: Final = "look at the file, its directory and the disk"
_ADVICE: Final = {
    "locked": "another process uses it: stop that one, or let alerts.storage_url name another file",
    "readonly": "the user that runs gatewatch must be able to write the file and its directory",
    "unable to open": (
        "the user that runs gatewatch must be able to write the file and its directory"
    ),
    "not a database": "the file is something else: let alerts.storage_url name another one",
    "malformed": "the file is damaged: put back a copy, or move it away to begin anew",
    "disk is full": "make room on the disk",
}
