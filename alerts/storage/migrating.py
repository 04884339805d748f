"""Running the migrations over a connection, in its transaction. Synchronous, as Alembic is.

Alembic is imported when it runs: whoever only checks what is configured does not wait for it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, text

from alerts.storage.errors import StorageError

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, name: str) -> None:
    """Bring a database to the newest revision.

    Args:
        connection: Inside a transaction, which whoever began it commits.
        name: What messages call the database.

    Raises:
        StorageError: A newer version of gatewatch wrote the database.
    """
    from alembic import command
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    revision = _revision(connection)
    if revision is not None and not _is_known(config, revision):
        raise StorageError(
            f"the database {name} is at revision {revision!r}, which this version of "
            "gatewatch does not know: a newer version wrote it; run that version or let "
            "alerts.storage_url name another database"
        )
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _is_known(config: Config, revision: str) -> bool:
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        return ScriptDirectory.from_config(config).get_revision(revision) is not None
    except CommandError:
        return False
