"""Checks of a MariaDB as Debian has it."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.health.state import ProbeResult
from tests.external.child import run, running
from tests.support.probes import run_once
from tests.support.process import unused_port

_USERS = """\
CREATE DATABASE shop;
CREATE USER watch@'%' IDENTIFIED BY 'hush';
GRANT SELECT ON shop.* TO watch@'%';
CREATE TABLE shop.orders (id INT, at TIMESTAMP DEFAULT '2026-01-02 03:04:05');
INSERT INTO shop.orders (id) VALUES (1), (2);
"""


@pytest.fixture
async def server(program: Callable[[str], Path], tmp_path: Path) -> AsyncIterator[str]:
    """Run a server with a user and a table, and return host and port."""
    async with running_mariadb(program("mariadb"), tmp_path) as address:
        yield address


@asynccontextmanager
async def running_mariadb(unpacked: Path, folder: Path) -> AsyncIterator[str]:
    """Make a data directory, run a server on it and return where it listens."""
    tables = unpacked / "usr" / "share" / "mysql"
    data = folder / "data"
    data.mkdir()
    command = (
        unpacked / "usr" / "sbin" / "mariadbd",
        "--no-defaults",
        f"--user={getpass.getuser()}",
        f"--datadir={data}",
        f"--lc-messages-dir={tables}",
    )
    environ = _libraries(unpacked)
    made = ["CREATE DATABASE mysql;\n", "USE mysql;\n"]
    names = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
    made += [(tables / name).read_text(encoding="utf-8") for name in names]
    code, said = await run(
        *command, "--bootstrap", folder=folder, given="".join(made), environ=environ
    )
    assert code == 0, said

    (folder / "users.sql").write_text(_USERS, encoding="utf-8")
    port = unused_port()
    options = (
        "--bind-address=127.0.0.1",
        f"--port={port}",
        f"--socket={folder / 'socket'}",
        f"--pid-file={folder / 'pid'}",
        f"--init-file={folder / 'users.sql'}",
    )
    async with running(*command, *options, folder=folder, environ=environ) as child:
        number = 0
        while "ready for connections" not in await child.line(number):
            number += 1
        yield f"127.0.0.1:{port}"


def _libraries(unpacked: Path) -> Mapping[str, str]:
    folders = {library.parent for library in unpacked.rglob("lib*.so.*")}
    known = os.environ.get("LD_LIBRARY_PATH", "")
    return {"LD_LIBRARY_PATH": ":".join(filter(None, (*map(str, sorted(folders)), known)))}


async def ask(url: str, query: str, *conditions: str) -> ProbeResult:
    """Run a check of a database once."""
    return await run_once("sql", {"url": url, "query": query}, conditions=list(conditions))


async def test_a_query_is_answered(server: str):
    """Rows are what conditions look at, times as text."""
    result = await ask(
        f"mysql://watch:hush@{server}/shop",
        "SELECT id, at FROM orders ORDER BY id",
        "len([BODY]) == 2",
        "[BODY][1].id == 2",
        "[BODY][0].at == '2026-01-02 03:04:05'",
    )

    assert (result.success, result.reason) == (True, "2 rows")


async def test_refusals_are_told_apart(server: str):
    """A wrong password, a database that is not for the user, and queries that cannot be."""
    password = await ask(f"mysql://watch:other@{server}/shop", "SELECT 1")
    database = await ask(f"mysql://watch:hush@{server}/mysql", "SELECT 1")
    absent = await ask(f"mysql://watch:hush@{server}/shop", "SELECT * FROM absent")
    forbidden = await ask(f"mysql://watch:hush@{server}/shop", "DELETE FROM orders")

    assert [each.error_type for each in (password, database)] == ["authorization"] * 2
    assert password.reason.startswith("the login is refused: Access denied for user 'watch'")
    assert absent.reason == "the query fails: Table 'shop.absent' doesn't exist"
    assert forbidden.reason.startswith("the query fails: DELETE command denied")
