"""The command that runs checks once."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from xml.etree import ElementTree

import pytest

from service.codec import decode
from service.config.settings import Settings
from service.health.command import NoSuchCheckError, Selection, run_checks, show_checks
from service.health.report import as_junit
from tests.support.http import LoopbackServer, loopback_server

ALL = Selection()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as running:
        yield running


def settings(server: LoopbackServer, **paths: str) -> Settings:
    checks: list[dict[str, object]] = [
        {"name": name, "group": path.partition("/")[0], "http": {"url": server.url(f"/{path}")}}
        for name, path in paths.items()
    ]
    waiting = {"name": "backup", "push": {"token": "hush"}}
    return Settings.model_validate({"health": {"checks": [*checks, waiting]}})


async def test_plain_lines_in_a_pipe(server):
    """One line for each check, fields separated by tabs, in the order of the file."""
    output = io.StringIO()
    outcomes = await show_checks(settings(server, web="ok", api="status/500"), ALL, output=output)

    rows = [line.split("\t") for line in output.getvalue().splitlines()]
    assert [outcome.failed for outcome in outcomes] == [False, True, False]
    assert [(row[0], row[1], row[4]) for row in rows] == [
        ("web", "ok", "status 200"),
        ("api", "failed", "status 500, expected 2xx"),
        ("backup", "skipped", "waits for pushes, which a gatewatch that runs receives"),
    ]


async def test_a_table_on_a_terminal_fills_up(server):
    """Every check stands there from the start, with its result once it is known."""
    output = Terminal()
    await show_checks(settings(server, web="ok", api="status/500"), ALL, output=output)

    shown = output.getvalue()
    assert "check" in shown.splitlines()[0]
    assert "..." in shown
    assert "web" in shown
    assert "failed" in shown


async def test_json_for_machines(server):
    """One object with every result."""
    output = io.StringIO()
    await show_checks(settings(server, web="ok"), ALL, json_output=True, output=output)

    body = decode(output.getvalue())
    web, backup = body["checks"]
    assert '\n  "checks": [\n' in output.getvalue()
    assert (body["success"], web["name"], web["group"], web["success"]) == (True, "web", "ok", True)
    assert web["attributes"]["http.response.status_code"] == 200
    assert (backup["success"], backup["skipped"]) == (None, True)


async def test_junit_for_ci(server):
    """A suite for each group, a case for each check; what XML cannot hold is replaced."""
    check = {"name": "odd", "http": {"url": server.url("/echo"), "method": "POST", "body": "\x01"}}
    odd = {"health": {"checks": [{**check, "conditions": ["[BODY] == x"]}]}}
    outcomes = [
        *await run_checks(settings(server, web="ok", api="status/500"), ALL),
        *await run_checks(Settings.model_validate(odd), ALL),
    ]

    root = ElementTree.fromstring(as_junit(outcomes))
    suites = {suite.get("name"): suite for suite in root}
    assert {name: root.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "4",
        "failures": "2",
        "skipped": "1",
    }
    assert set(suites) == {"ok", "status", "health"}
    failure = suites["status"].find("testcase/failure")
    assert failure is not None
    assert failure.attrib == {"message": "status 500, expected 2xx", "type": "status"}
    assert suites["health"].find("testcase/skipped") is not None
    assert "(\N{REPLACEMENT CHARACTER})" in as_junit(outcomes).decode()


async def test_some_checks_may_be_chosen(server):
    """By name and by group; what is not there is told with what is."""
    configured = settings(server, web="ok", api="status/200", other="status/201")

    async def names(selection: Selection) -> list[str]:
        return [each.check.name for each in await run_checks(configured, selection)]

    assert await names(Selection(names=["api"])) == ["api"]
    assert await names(Selection(groups=["status"])) == ["api", "other"]
    assert await names(Selection(names=["web"], groups=["status"])) == ["web", "api", "other"]
    with pytest.raises(NoSuchCheckError, match=r"no check 'x'; there are: web, api, other, backup"):
        await names(Selection(names=["x"]))
    with pytest.raises(NoSuchCheckError, match=r"no group 'x'; there are: ok, status"):
        await names(Selection(groups=["x"]))


async def test_without_checks_it_says_how_to_add_one():
    """Nothing to do is no failure, but worth a word."""
    output = io.StringIO()
    outcomes = await show_checks(Settings(), ALL, output=output)

    assert outcomes == []
    assert "checks:\n        - name: web" in output.getvalue()


async def test_checks_run_at_the_same_time(server):
    """Two checks that hang take one timeout, not two."""
    checks = [
        {"name": name, "http": {"url": server.url("/hang")}, "timeout": "200ms"}
        for name in ("a", "b", "c")
    ]
    outcomes = await run_checks(Settings.model_validate({"health": {"checks": checks}}), ALL)

    durations = [each.result.duration_s for each in outcomes if each.result is not None]
    assert all(outcome.failed for outcome in outcomes)
    assert all(0.1 < duration < 0.5 for duration in durations)
