"""Opening the database: SQLite or PostgreSQL, durable commits, migrated before first use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alerts.storage.backend import Backend
from alerts.storage.errors import StorageError
from alerts.storage.postgresql import SCHEMES, PostgreSQLBackend
from alerts.storage.sqlite import SQLiteBackend

BUSY_TIMEOUT_S: Final = 5.0
"""How long a write waits for another process that holds the lock, in seconds."""


class Database:
    """A migrated database; an async context manager.

    Entering migrates it, and makes the file and its directory when it is one; leaving closes all
    connections.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Take the URL of a file or of a server's database.

        Args:
            url: Such as ``sqlite:////var/lib/gatewatch/alerts.db`` or
                ``postgresql://user:password@host/database``.
            busy_timeout_s: How long a write waits for a lock, in seconds.

        Raises:
            StorageError: The URL is none, names a database that is not supported, or one whose
                driver is not installed.
        """
        self._backend = _backend(url, busy_timeout_s)
        self._engine: AsyncEngine | None = None

    async def __aenter__(self) -> Self:
        await self._backend.migrate()
        self._engine = self._backend.engine()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.dispose()

    @property
    def name(self) -> str:
        """What messages call it: the file, or database and server; holds no password."""
        return self._backend.name

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Run statements, and nothing else, as one transaction.

        It is committed at the end, or rolled back on an error.

        Raises:
            StorageError: The database is closed, locked, full, or fails otherwise.
        """
        if self._engine is None:
            raise StorageError(f"the database {self.name} is closed")
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise self._backend.translated(error) from error


def _backend(url: str, busy_timeout_s: float) -> Backend:
    scheme = url.partition(":")[0]
    if scheme in SCHEMES:
        return PostgreSQLBackend(url, lock_timeout_s=busy_timeout_s)
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # What was given may hold a password, so it is not repeated.
        raise StorageError(
            "alerts.storage_url is no database URL; write one such as sqlite:///data/alerts.db "
            "or postgresql://user:password@host/database"
        ) from error
    if parsed.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise StorageError(
            f"alerts.storage_url names a {parsed.drivername} database, which is not supported; "
            "write a URL such as sqlite:///data/alerts.db or "
            "postgresql://user:password@host/database"
        )
    return SQLiteBackend(parsed, busy_timeout_s=busy_timeout_s)
