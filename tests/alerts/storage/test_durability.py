"""What was acknowledged is there, whatever ends in between: the process, or the server."""

from __future__ import annotations

import asyncio
import sys

import pytest

from alerts.notify.outbox import Outbox
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from tests.support.alerts import make_notification
from tests.support.postgresql import PostgreSQLServer

WRITE = """
import asyncio, sys
from alerts.notify.outbox import Outbox
from alerts.storage.database import Database
from tests.support.alerts import make_notification

async def main():
    async with Database(sys.argv[1]) as database:
        outbox = Outbox(database)
        for number in range(1_000_000):
            await outbox.commit([make_notification(str(number))], [])
            print(number, flush=True)

asyncio.run(main())
"""


async def test_killed(storage_url: str) -> None:
    """Whatever a process committed before kill -9 is there, once and in order."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITE, storage_url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(20):
        await process.stdout.readline()
    process.kill()
    left, _ = await process.communicate()
    # The last line may have been cut short.
    committed = 20 + left.count(b"\n")
    async with Database(storage_url) as database:
        waiting = [int(notification.id) for notification in await Outbox(database).waiting()]

    assert committed <= len(waiting) <= committed + 1
    assert waiting == list(range(len(waiting)))


async def test_server_restarted(postgresql_server: PostgreSQLServer, postgresql_url: str) -> None:
    """While the server is away writes fail with what to do; when it is back they go on."""
    first, second, third = (make_notification(name) for name in ("n1", "n2", "n3"))
    async with Database(postgresql_url) as database:
        outbox = Outbox(database)
        await outbox.commit([first], [])
        postgresql_server.crash()
        try:
            for _ in range(3):
                with pytest.raises(StorageError, match="is the server running"):
                    await outbox.commit([second], [])
        finally:
            postgresql_server.start()
        await outbox.commit([third], [])

        assert await outbox.waiting() == (first, third)


async def test_server_crashes_in_between(
    postgresql_server: PostgreSQLServer, postgresql_url: str
) -> None:
    """A transaction the server's end cut short leaves nothing."""

    async def interrupted(database: Database) -> None:
        async with database.transaction() as connection:
            await connection.exec_driver_sql("UPDATE outbox SET channel = 'other'")
            postgresql_server.crash()
            await connection.exec_driver_sql("UPDATE outbox SET channel = 'another'")

    async with Database(postgresql_url) as database:
        outbox = Outbox(database)
        await outbox.commit([make_notification("n1")], [])
        try:
            with pytest.raises(StorageError):
                await interrupted(database)
        finally:
            postgresql_server.start()

        async with database.transaction() as connection:
            rows = await connection.exec_driver_sql("SELECT channel FROM outbox")
            assert rows.scalars().all() == ["ops/webhook/0"]
