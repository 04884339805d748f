"""Probes of what keeps things for the process: the database of the alerts, the broker."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import text

from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from service.errors import GatewatchError
from service.health.state import ProbeResult


class StorageProbe:
    """Works when a transaction comes to its end; with SQLite that means it could be written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def target(self) -> str:
        """Return which database; holds no password."""
        return f"database {self._database.name}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Ask for a number."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute(text("SELECT 1"))
        except StorageError as error:
            return ProbeResult.failed(str(error), "storage")
        return ProbeResult.passed("it answers")


class CheckedBroker(Protocol):
    """A broker that can say whether it works."""

    @property
    def address(self) -> str:
        """Where it is; holds no password."""

    async def ping(self) -> None:
        """Return once it has answered.

        Raises:
            GatewatchError: It did not; says why.
        """


class BrokerProbe:
    """Works when the broker answers."""

    def __init__(self, broker: CheckedBroker) -> None:
        self._broker = broker

    @property
    def target(self) -> str:
        """Return which broker."""
        return f"broker {self._broker.address}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Ask it once."""
        try:
            await self._broker.ping()
        except GatewatchError as error:
            return ProbeResult.failed(str(error), "broker")
        return ProbeResult.passed("it answers")
