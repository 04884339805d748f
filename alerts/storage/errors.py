"""What can go wrong with the database."""

from __future__ import annotations

from alerts.errors import AlertsError


class StorageError(AlertsError):
    """The database cannot be opened, migrated, read or written; says what to do."""
