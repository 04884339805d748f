"""What Alembic runs: migrates over the connection it is handed, inside its transaction."""

from __future__ import annotations

from alembic import context

from alerts.storage.tables import METADATA


def run() -> None:
    """Run the migrations that were asked for."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=METADATA,
        render_as_batch=True,  # SQLite alters tables by copying them
    )
    with context.begin_transaction():
        context.run_migrations()


run()
