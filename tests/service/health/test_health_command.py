"""The command that runs every check once."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pytest

from service.codec import decode
from service.config.settings import Settings
from service.health.command import run_health
from tests.support.http import LoopbackServer, loopback_server


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as running:
        yield running


def settings(server: LoopbackServer, **paths: str) -> Settings:
    checks = [{"name": name, "http": {"url": server.url(path)}} for name, path in paths.items()]
    return Settings.model_validate({"health": {"checks": checks}})


async def test_plain_lines_in_a_pipe(server):
    """One line for each check, fields separated by tabs, and 1 if one failed."""
    output = io.StringIO()
    code = await run_health(
        settings(server, web="/ok", api="/status/500"), json_output=False, output=output
    )

    rows = [line.split("\t") for line in output.getvalue().splitlines()]
    assert code == 1
    assert [(row[0], row[1], row[4]) for row in rows] == [
        ("web", "ok", "status 200"),
        ("api", "failed", "status 500, expected 2xx"),
    ]


async def test_a_table_on_a_terminal(server):
    """People get columns with a heading, and 0 if all is well."""
    output = Terminal()
    code = await run_health(settings(server, web="/ok"), json_output=False, output=output)

    assert code == 0
    assert "check" in output.getvalue().splitlines()[0]
    assert "web" in output.getvalue()


async def test_json_for_machines(server):
    """One object with every result."""
    output = io.StringIO()
    await run_health(settings(server, web="/ok"), json_output=True, output=output)

    body = decode(output.getvalue())
    (check,) = body["checks"]
    assert '\n  "checks": [\n' in output.getvalue()
    assert (body["success"], check["name"], check["success"]) == (True, "web", True)
    assert check["attributes"]["http.response.status_code"] == 200


async def test_without_checks_it_says_how_to_add_one():
    """Nothing to do is no failure, but worth a word."""
    output = io.StringIO()
    code = await run_health(Settings(), json_output=False, output=output)

    assert code == 0
    assert "checks:\n        - name: web" in output.getvalue()


async def test_checks_run_at_the_same_time(server):
    """Two checks that hang take one timeout, not two."""
    checks = [
        {"name": name, "http": {"url": server.url("/hang")}, "timeout": "200ms"}
        for name in ("a", "b", "c")
    ]
    output = io.StringIO()
    code = await run_health(
        Settings.model_validate({"health": {"checks": checks}}), json_output=True, output=output
    )

    durations = [check["duration_s"] for check in decode(output.getvalue())["checks"]]
    assert code == 1
    assert all(0.1 < duration < 0.3 for duration in durations)
