"""PostgreSQL by URL, as its own tools take it, over asyncpg.

Commits wait for the server's disk whatever the server is set to, every wait has an end, and a
connection the server has closed is replaced by a new one before it is used.

Source: PostgreSQL documentation, "Connection URIs", "Client Connection Defaults", "Error Codes".
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from alerts.storage.errors import StorageError
from alerts.storage.migrating import upgrade

SCHEMES: Final = ("postgresql", "postgres", "postgresql+asyncpg")
"""What the URL of such a database begins with."""

_CONNECT_TIMEOUT_S: Final = 10.0
_STATEMENT_TIMEOUT_S: Final = 30.0
_ANSWER_TIMEOUT_S: Final = 40.0
"""After how long a server that does not even give up on a statement is taken for gone."""
_IDLE_TIMEOUT_S: Final = 60.0
_MIGRATION_TIMEOUT_S: Final = 300.0
_POOL_TIMEOUT_S: Final = 10.0
_POOL_SIZE: Final = 5

_MIGRATION_LOCK: Final = 0x6761_7465_7761_7463
"""The advisory lock of migrations, the first letters of gatewatch; one per database."""


class PostgreSQLBackend:
    """A database of a PostgreSQL server. A ``Backend``."""

    def __init__(self, url: str, *, lock_timeout_s: float) -> None:
        """Take the URL and how long a statement waits for a lock, in seconds.

        Raises:
            StorageError: The URL cannot be understood, or the driver is not installed.
        """
        self._dsn = f"postgresql:{url.partition(':')[2]}"
        self._name, self._query = _described(self._dsn)
        self._lock_timeout_s = lock_timeout_s
        self._driver = _driver()

    @property
    def name(self) -> str:
        """The database and its server."""
        return self._name

    async def migrate(self) -> None:
        """Bring the database to the newest revision; others that try wait for a lock."""
        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=self._connect_to_migrate, poolclass=NullPool
        )
        try:
            async with engine.begin() as connection:
                await connection.run_sync(self._upgrade)
        except (SQLAlchemyError, OSError) as error:
            raise self.translated(error) from error
        finally:
            await engine.dispose()

    def engine(self) -> AsyncEngine:
        """Return what makes the connections, a few at a time."""
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect_to_work,
            pool_size=_POOL_SIZE,
            max_overflow=0,
            pool_timeout=_POOL_TIMEOUT_S,
            pool_pre_ping=True,
        )

    def translated(self, error: Exception) -> StorageError:
        """Return what went wrong, with what to do about it."""
        if isinstance(error, PoolTimeoutError):
            reason, advice = (
                f"no connection was free for {_POOL_TIMEOUT_S:g} s",
                "the server is too slow for what is written: look at its load and its locks",
            )
        elif isinstance(error, TimeoutError):
            reason, advice = "the server does not answer", "look at the server and the network"
        elif isinstance(error, OSError):
            reason = error.strerror or str(error)
            advice = "is the server running, and are host and port of alerts.storage_url right?"
        else:
            cause = getattr(error, "orig", None) or error
            reason = str(cause.__cause__ or cause)
            advice = _ADVICE.get(getattr(cause, "sqlstate", None) or "", _OTHER_ADVICE)
        return StorageError(f"the database {self.name} fails: {reason}; {advice}")

    def _upgrade(self, connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        upgrade(connection, self.name)

    async def _connect_to_work(self) -> Any:
        return await self._connect(
            _STATEMENT_TIMEOUT_S, self._lock_timeout_s, command_timeout=_ANSWER_TIMEOUT_S
        )

    async def _connect_to_migrate(self) -> Any:
        return await self._connect(_MIGRATION_TIMEOUT_S, _MIGRATION_TIMEOUT_S)

    async def _connect(
        self, statement_s: float, lock_s: float, *, command_timeout: float | None = None
    ) -> Any:
        settings = {
            "synchronous_commit": "on",
            "statement_timeout": _milliseconds(statement_s),
            "lock_timeout": _milliseconds(lock_s),
            "idle_in_transaction_session_timeout": _milliseconds(_IDLE_TIMEOUT_S),
            # A plan made while a table was empty reads all of it once there are thousands.
            "plan_cache_mode": "force_custom_plan",
        }
        if "application_name" not in self._query:
            settings["application_name"] = "gatewatch"
        try:
            # The driver's own limit does not cover the look-up of the host's name.
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                return await self._driver.connect(
                    self._dsn, command_timeout=command_timeout, server_settings=settings
                )
        except (OSError, self._driver.PostgresError) as error:
            raise self.translated(error) from error
        except (ValueError, self._driver.InterfaceError) as error:
            # The driver's words may repeat part of the URL, so they are not passed on.
            raise StorageError(_WRONG_URL) from error


def _described(dsn: str) -> tuple[str, dict[str, list[str]]]:
    """Return the name of a database without user and password, and the URL's parameters."""
    try:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query, keep_blank_values=True)
    except ValueError as error:
        raise StorageError(_WRONG_URL) from error
    database = unquote(parts.path.removeprefix("/")) or query.get("dbname", [""])[0]
    if parts.fragment or "/" in database or not dsn.startswith("postgresql://"):
        # Both come of a password that is not written as a URL wants it.
        raise StorageError(_WRONG_URL)
    server = _server(parts, query)
    return f"{database or 'of the user'} at {server}", query


def _server(parts: SplitResult, query: dict[str, list[str]]) -> str:
    server = parts.netloc.rpartition("@")[2]
    if not server:
        return query.get("host", ["the local server"])[0]
    for host in server.split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not port.isdecimal():
            raise StorageError(_WRONG_URL)
    return server


def _driver() -> Any:
    try:
        return importlib.import_module("asyncpg")
    except ImportError as error:
        raise StorageError(
            "alerts.storage_url names a PostgreSQL database, for which the driver asyncpg is "
            "missing; install it with: pip install 'gatewatch[postgres]'"
        ) from error


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


# What was given may hold a password, so it is not repeated.
_WRONG_URL: Final = (
    "alerts.storage_url is no PostgreSQL URL; write one such as "
    "postgresql://user:password@host:5432/database, with the characters @ : / ? # % of the "
    "password as %40 %3A %2F %3F %23 %25"
)
_OTHER_ADVICE: Final = "the server's log may say more"
_AGAIN: Final = "the connection is made again when the server is back"
_WHO: Final = "look at user and password in alerts.storage_url and at the server's pg_hba.conf"
_ADVICE: Final = {
    "08001": _AGAIN,
    "08003": _AGAIN,
    "08006": _AGAIN,
    "25006": "it is a standby: let alerts.storage_url name the primary",
    "28000": _WHO,
    "28P01": _WHO,
    "3D000": "make it with CREATE DATABASE, or let alerts.storage_url name another one",
    "40001": "nothing was stored; another transaction came in between",
    "40P01": "nothing was stored; another transaction came in between",
    "42501": "the user needs the right to use and to create tables in its schema: see GRANT",
    "53100": "make room on the server's disk",
    "53200": "the server needs more memory",
    "53300": "raise max_connections of the server, or close other connections",
    "55P03": "another transaction holds a lock: end that one (see pg_stat_activity)",
    "57014": "the statement took too long: look at the server's load and its locks",
    "57P01": _AGAIN,
    "57P02": _AGAIN,
    "57P03": _AGAIN,
}
