"""Probes of what keeps things for the process: the database of the alerts, the broker."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import text

from alerts.storage.database import Database
from alerts.storage.errors import StorageError
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
    """A broker that knows whether it works."""

    @property
    def away(self) -> str:
        """Why publications cannot be carried now; empty: they can."""


class BrokerProbe:
    """Works while the broker does: its connections are watched all the time, by itself.

    Args:
        broker: The broker.
        target: Which one it is; holds no password.
    """

    def __init__(self, broker: CheckedBroker, target: str) -> None:
        self._broker = broker
        self._target = target

    @property
    def target(self) -> str:
        """Return which broker."""
        return self._target

    async def run(self, timeout_s: float) -> ProbeResult:
        """Look at it."""
        away = self._broker.away
        if away:
            return ProbeResult.failed(away, "broker")
        return ProbeResult.passed("it answers")
