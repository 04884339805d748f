"""The SQL probe: a database answers a query."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.engine import URL, RowMapping, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from alerts.clock import Clock
from service.codec import encode
from service.config.service_probe_settings import DRIVERS, SQLProbeSettings
from service.health.conditions.findings import Placeholder
from service.health.probes.connecting import resolve
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.state import ProbeResult
from service.pools.lookups import Lookups

_REFUSED_LOGINS: Final = frozenset((1045, 1044, 1698, "28000", "28P01", "42501"))
"""Errors of MySQL and PostgreSQL about user, password and what a user may connect to."""

MAX_ROWS = 100
"""Rows that conditions see at most."""


class SQLProbe:
    """Connects, runs a query in a transaction that is taken back, and reads the first rows."""

    def __init__(
        self,
        settings: SQLProbeSettings,
        *,
        clock: Clock,
        lookups: Lookups,
        expectations: Expectations,
    ) -> None:
        self._query = text(settings.query)
        self._clock = clock
        self._lookups = lookups
        self._url = _url(settings)
        secrets = (self._url.password or "",)
        self._expectations = Expectations(expectations.conditions, tuple(filter(None, secrets)))

    @property
    def target(self) -> str:
        """Return kind, server and database."""
        url = self._url
        port = f":{url.port}" if url.port else ""
        server = f"{url.host}{port}/" if url.host else ""
        return f"{url.get_backend_name()} {server}{url.database or ''}".rstrip()

    async def run(self, timeout_s: float) -> ProbeResult:
        """Ask once."""
        return await judged_run(
            self._look, clock=self._clock, timeout_s=timeout_s, expectations=self._expectations
        )

    async def _look(self, run: Run) -> str:
        await self._require_file()
        if self._url.host:
            # The drivers look up names on the threads of the event loop, which a name whose
            # servers are silent would hold; it ends here instead.
            await resolve(run, self._lookups, self._url.host, self._url.port or 0)
        engine = create_async_engine(self._url, poolclass=NullPool, hide_parameters=True)
        try:
            async with engine.connect() as connection:
                run.connected = True
                result = await connection.execute(self._query)
                rows = result.mappings().fetchmany(MAX_ROWS) if result.returns_rows else []
        except SQLAlchemyError as error:
            raise ProbeError(_fault(error, connected=run.connected)) from error
        finally:
            await engine.dispose()
        run.body = encode(list(_plain(rows)))
        return f"{len(rows)} row{'s' if len(rows) != 1 else ''}"

    async def _require_file(self) -> None:
        """Refuse a file that is not there, which SQLite would make."""
        file = self._url.database or ":memory:"
        if self._url.get_backend_name() != "sqlite" or file.startswith((":memory:", "file:")):
            return
        if not await asyncio.to_thread(Path(file).is_file):
            fault = Fault(
                f"no connection: there is no file {file}", "connect", Placeholder.CONNECTED
            )
            raise ProbeError(fault)


def _url(settings: SQLProbeSettings) -> URL:
    url = make_url(settings.url)
    url = url.set(drivername=DRIVERS[url.drivername][0])
    if settings.password is not None:
        url = url.set(password=settings.password.get_secret_value())
    return url


def _plain(rows: Iterable[RowMapping]) -> Iterable[dict[str, object]]:
    """Yield rows with values that have a JSON form; the others as text."""
    for row in rows:
        yield {
            name: value if isinstance(value, str | int | float | None) else str(value)
            for name, value in row.items()
        }


def _fault(error: SQLAlchemyError, *, connected: bool) -> Fault:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code, said = _code(cause), _words(cause)
    if connected:
        return Fault(f"the query fails: {said}", "query")
    if code in _REFUSED_LOGINS:
        return Fault(f"the login is refused: {said}", "authorization")
    return Fault(f"no connection: {said}", "connect", Placeholder.CONNECTED)


def _code(cause: BaseException) -> int | str | None:
    """Return the number MySQL gave an error, or the SQLSTATE of PostgreSQL."""
    first = cause.args[0] if cause.args else None
    if isinstance(first, int):
        return first
    state = getattr(cause, "sqlstate", None)
    return state if isinstance(state, str) else None


def _words(cause: BaseException) -> str:
    """Return the server's words, without the tuple of number and words that MySQL's driver has."""
    match cause.args:
        case (int(), str(words)) if words:
            said = words
        case _:
            said = str(cause) or type(cause).__name__
    return said.partition("\n")[0]
