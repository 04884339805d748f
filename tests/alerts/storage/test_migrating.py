"""Migrations: what they lead to, what they keep, and who runs them."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import sys
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, select, text

from alerts.notify.outbox import Outbox
from alerts.rules.alerting import AlertState
from alerts.rules.state import StateChange
from alerts.series.labels import Labels
from alerts.storage import migrating
from alerts.storage.alert_states import AlertStates
from alerts.storage.columns import digest
from alerts.storage.database import Database
from alerts.storage.tables import METADATA, NOTIFICATION_LOG
from tests.support.alerts import START_MS, database_url

DATA_OF_0002 = Path(__file__).with_name("revision_0002.sql")
"""What a version of gatewatch that knew two revisions left in its file."""

GROUP = '{}:{path="C:\\\\ \\"ü\\"\\n"}'
OPEN = """
import asyncio, sys
from alerts.storage.database import Database

async def main():
    async with Database(sys.argv[1]):
        print("open", flush=True)
        sys.stdin.read()

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
"""


def described(connection: Connection) -> dict[str, Any]:
    """Return columns, keys and indexes of all tables there are."""
    inspector = inspect(connection)
    return {
        name: (
            {column["name"]: column["nullable"] for column in inspector.get_columns(name)},
            inspector.get_pk_constraint(name)["constrained_columns"],
            {
                index["name"]: index["column_names"]
                for index in inspector.get_indexes(name)
                if not index["unique"]
            },
        )
        for name in inspector.get_table_names()
        if name != "alembic_version"
    }


async def test_tables(storage_url: str) -> None:
    """The migrations lead to exactly the tables, keys and indexes the code uses."""
    async with Database(storage_url) as database, database.transaction() as connection:
        found = await connection.run_sync(described)

    assert found == {
        table.name: (
            {column.name: column.nullable for column in table.columns},
            [column.name for column in table.primary_key],
            {index.name: [column.name for column in index.columns] for index in table.indexes},
        )
        for table in METADATA.tables.values()
    }


async def test_file_of_before(tmp_path: Path) -> None:
    """Everything in the file of an earlier version is there afterwards, and can be changed."""
    connection = sqlite3.connect(tmp_path / "alerts.db")
    connection.executescript(DATA_OF_0002.read_text())
    connection.close()
    alert = Labels({"alertname": "Down", "path": 'C:\\ "ü"\n'})
    async with Database(database_url(tmp_path)) as database:
        outbox, states = Outbox(database), AlertStates(database)
        (waiting,) = await outbox.waiting()
        ((failed, reason, error),) = await outbox.failed()
        entries = await outbox.log_entries(START_MS)
        (instance,) = (await states.load({"rules.yaml;group"}, START_MS))["rules.yaml;group"].rules[
            "alert;Down"
        ]

        assert (waiting.id, failed.id, reason) == ("n3", "n2", "refused")
        assert error == "the answer was 404"
        assert waiting.alerts[0].annotations == Labels({"summary": "text \U0001f6a8"})
        assert {(entry.group_key, entry.channel) for entry in entries} == {
            (GROUP, "ops/webhook/0"),
            (GROUP, "ops/webhook/2"),
        }
        assert all(entry.firing == waiting.alerts for entry in entries)
        assert (instance.labels, instance.state) == (alert, AlertState.FIRING)
        assert instance.annotations == waiting.alerts[0].annotations

        await states.save(StateChange("rules.yaml;group", START_MS, (), (("alert;Down", alert),)))
        await outbox.commit([], entries)
        assert len(await outbox.log_entries(START_MS)) == 2
        assert (await states.load({"rules.yaml;group"}, START_MS))["rules.yaml;group"].rules == {}
        async with database.transaction() as transaction:
            found = await transaction.execute(select(NOTIFICATION_LOG.c.id))
            assert set(found.scalars()) == {
                digest(GROUP, f"ops/webhook/{number}") for number in (0, 2)
            }


async def test_and_back(storage_url: str) -> None:
    """Every migration can be undone and done again, on every database."""

    def there_and_back(connection: Connection) -> list[str]:
        config = Config(stdout=io.StringIO())
        folder = Path(migrating.__file__).parent / "migrations"
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        connection.execute(
            text(
                "INSERT INTO notification_log (id, group_key, channel, notification_id, "
                "notified_at_ms, expires_at_ms, group_labels, firing, resolved) "
                "VALUES (:id, 'g', 'c', 'n', 1, 2, '{}', '[]', '[]')"
            ),
            {"id": digest("g", "c")},
        )
        command.downgrade(config, "0001")
        command.upgrade(config, "head")
        kept = list(connection.execute(text("SELECT id FROM notification_log")).scalars())
        command.downgrade(config, "base")
        command.upgrade(config, "head")
        return kept

    async with Database(storage_url) as database, database.transaction() as connection:
        before = await connection.run_sync(described)
        kept = await connection.run_sync(there_and_back)

        assert await connection.run_sync(described) == before
        assert kept == [digest("g", "c")]


async def test_together(storage_url: str) -> None:
    """Processes that start together migrate once; all of them can work."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            OPEN,
            storage_url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    try:
        said = []
        for process in processes:
            assert process.stdout is not None
            said.append(await process.stdout.readline())
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
        for process in processes:
            assert process.stdout is not None
            said.append(await process.stdout.readline())
    finally:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    assert said == [b"ready\n"] * 3 + [b"open\n"] * 3
    assert [process.returncode for process in processes] == [0, 0, 0]
