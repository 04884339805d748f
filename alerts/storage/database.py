"""Opening the database: one SQLite file, durable commits, migrated before first use.

Write-ahead logging with synchronous FULL: a commit that returned survives the loss of power.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from alerts.storage.errors import StorageError

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_S: Final = 5.0
"""How long a write waits for another process that holds the lock, in seconds."""


class Database:
    """A migrated database; an async context manager.

    Entering creates the file and its directory when needed and migrates it; leaving closes all
    connections.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Take an SQLAlchemy URL such as ``sqlite:////var/lib/gatewatch/alerts.db``.

        Raises:
            StorageError: The URL is none, or names a database that is not supported.
        """
        self._url = _sqlite_url(url)
        self._busy_timeout_s = busy_timeout_s
        self._engine: AsyncEngine | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._migrate)
        engine = create_async_engine(self._url.set(drivername="sqlite+aiosqlite"))
        self._prepare(engine.sync_engine)
        self._engine = engine
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Run statements as one transaction, committed at the end or rolled back on an error.

        Raises:
            StorageError: The database is closed, locked, full, or fails otherwise.
        """
        if self._engine is None:
            raise StorageError(f"the database {self._file} is closed")
        try:
            async with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._translated(error) from error

    @property
    def _file(self) -> str:
        return str(self._url.database)

    def _migrate(self) -> None:
        """Bring the file to the newest revision; runs in a thread, as Alembic is synchronous."""
        try:
            Path(self._file).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot create the directory of the database {self._file}: {error.strerror}; "
                "make it, or let alerts.storage_url name another place"
            ) from error
        engine = create_engine(self._url.set(drivername="sqlite"))
        self._prepare(engine)
        try:
            with engine.begin() as connection:
                self._upgrade(connection)
        except SQLAlchemyError as error:
            raise self._translated(error) from error
        finally:
            engine.dispose()

    def _upgrade(self, connection: Connection) -> None:
        config = Config(stdout=io.StringIO())
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        revision = _revision(connection)
        if revision is not None and not _is_known(config, revision):
            raise StorageError(
                f"the database {self._file} is at revision {revision!r}, which this version of "
                "gatewatch does not know: a newer version wrote it; run that version or let "
                "alerts.storage_url name another file"
            )
        command.upgrade(config, "head")

    def _prepare(self, engine: Engine) -> None:
        timeout_ms = round(self._busy_timeout_s * 1000)

        def on_connect(connection: Any, _record: object) -> None:
            # The driver must not begin transactions by itself: see on_begin.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {timeout_ms}")
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

        def on_begin(connection: Connection) -> None:
            # A transaction that turns from reading to writing cannot wait for a lock.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        event.listen(engine, "connect", on_connect)
        event.listen(engine, "begin", on_begin)

    def _translated(self, error: SQLAlchemyError) -> StorageError:
        cause = getattr(error, "orig", None)
        reason = str(cause if cause is not None else error)
        advice = next((text for words, text in _ADVICE.items() if words in reason), _OTHER_ADVICE)
        return StorageError(f"the database {self._file} fails: {reason}; {advice}")


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


def _sqlite_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # What was given may hold a password, so it is not repeated.
        raise StorageError(
            "alerts.storage_url is no database URL; write one such as sqlite:///data/alerts.db"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        raise StorageError(
            f"alerts.storage_url names a {parsed.get_backend_name()} database, which is not "
            "supported yet; write a URL such as sqlite:///data/alerts.db"
        )
    if parsed.database in (None, "", ":memory:"):
        raise StorageError(
            "alerts.storage_url names no file; a database in memory would lose notifications, "
            "write a URL such as sqlite:///data/alerts.db"
        )
    return parsed


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _is_known(config: Config, revision: str) -> bool:
    try:
        return ScriptDirectory.from_config(config).get_revision(revision) is not None
    except CommandError:
        return False
