"""What the database is asked of the kind of database it is."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from alerts.storage.errors import StorageError


class Backend(Protocol):
    """One kind of database at one place."""

    @property
    def name(self) -> str:
        """What messages call it; holds no password."""

    async def migrate(self) -> None:
        """Bring it to the newest revision, alone among all processes that try.

        Raises:
            StorageError: It cannot be opened or migrated; it is as it was.
        """

    def engine(self) -> AsyncEngine:
        """Return what makes connections whose commits are durable and whose waits are bounded."""

    def translated(self, error: Exception) -> StorageError:
        """Return what went wrong in the words of whoever has to act."""
