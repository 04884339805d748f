"""What the checks found, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from service.health.api import health_routes
from tests.support.checks import NOON, WatchedHouse, watched_house


@asynccontextmanager
async def asked(house: WatchedHouse, *, known: bool = True) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve what a house found, and return who asks for it."""
    application = web.Application()
    application.add_routes(
        health_routes(house.monitor, lambda: house.recorder if known else None, house.clock)
    )
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            yield client
    finally:
        await runner.cleanup()


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with client.get(path) as response:
        return response.status, await response.json()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[WatchedHouse]:
    async with watched_house(tmp_path) as made:
        made.add("db")
        made.add("web", group="shop", depends_on=("db",))
        made.add("docs", group="site")
        await made.run(False, name="db", every_s=0)
        await made.run(True, False, name="web")
        yield made


async def names(client: aiohttp.ClientSession, query: str) -> list[str]:
    status, body = await get(client, f"/health/checks?{query}")
    assert status == 200, body
    return [check["name"] for check in body["checks"]]


async def test_checks_are_listed_with_state_and_uptime(house):
    """What is reported, what the results alone say, why they differ, and how it was."""
    async with asked(house) as client:
        status, body = await get(client, "/health/checks")

    db, shop, docs = body["checks"]
    assert (status, body["now"]) == (200, NOON + 120)
    assert (db["state"], db["consecutive_failures"]) == ("down", 2)
    assert (shop["state"], shop["state_by_results"], shop["held_by"]) == ("held", "down", ["db"])
    assert (shop["group"], shop["depends_on"]) == ("shop", ["db"])
    assert shop["last_result"]["reason"] == "broken"
    assert shop["uptime"]["1h"]["uptime"] == 1.0
    assert shop["uptime"]["1h"]["seconds"]["held"] == 60
    assert shop["uptime"]["1h"]["coverage"] == pytest.approx(120 / 3600)
    assert (docs["state"], docs["uptime"], docs["last_result"]) == ("unknown", {}, None)


async def test_filters(house):
    """By group, state and name; several of one kind are any of them."""
    async with asked(house) as client:
        assert await names(client, "group=shop") == ["web"]
        assert await names(client, "group=shop&group=site") == ["web", "docs"]
        assert await names(client, "state=held") == ["web"]
        assert await names(client, "state=unknown&group=shop") == []
        assert await names(client, "check=db&check=docs") == ["db", "docs"]


async def test_history_in_the_list(house):
    """As many results as asked for, newest first."""
    async with asked(house) as client:
        _, body = await get(client, "/health/checks?check=web&history=1")

    ((result,),) = [check["history"] for check in body["checks"]]
    assert (result["success"], result["state"], result["at"]) == (False, "held", NOON + 60)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/health/checks?colour=red", 400, "there is no filter 'colour'"),
        ("/health/checks?state=fine", 400, "'fine' is no state; there are unknown, up"),
        ("/health/checks?history=many", 400, "history is 'many'"),
        ("/health/checks?history=10001", 400, "10000 at most"),
        ("/health/checks/web?history=-1", 400, "history is '-1'"),
        ("/health/checks/nobody", 404, "there is no check 'nobody'; there are: db, docs, web"),
        ("/health/badges/nobody/state.svg", 404, "there is no check"),
        ("/health/badges/web/colour.svg", 404, "there are uptime.svg, latency.svg, p50.svg, p95"),
        ("/health/badges/web/uptime.svg?window=2h", 400, "take one of 1h, 24h, 7d, 30d, 90d"),
    ],
)
async def test_what_is_refused(house, path, status, message):
    """Questions that mean nothing are answered with what would."""
    async with asked(house) as client:
        answer = await get(client, path)

    assert answer[0] == status
    assert message in answer[1]["error"]


async def test_one_check(house):
    """With its results, its changes of state and percentiles of how long runs took."""
    async with asked(house) as client:
        status, body = await get(client, "/health/checks/web")

    assert (status, body["name"], body["state"]) == (200, "web", "held")
    assert [each["success"] for each in body["history"]] == [False, True]
    assert body["latency"]["1h"] == {"p50_s": 0, "p95_s": 0, "p99_s": 0, "runs": 2, "exact": True}
    assert (body["latency"]["7d"]["runs"], body["latency"]["7d"]["exact"]) == (2, False)
    assert [(each["before"], each["after"]) for each in body["changes"]] == [
        ("up", "held"),
        ("unknown", "up"),
    ]


async def test_badges(house):
    """Pictures of uptime, latency and state."""
    async with asked(house) as client:
        shown = {"state": "held", "uptime": "100%", "latency": "1ms", "p95": "1ms"}
        for kind, value in shown.items():
            async with client.get(f"/health/badges/web/{kind}.svg?window=24h") as response:
                assert response.content_type == "image/svg+xml"
                assert f">{value}</text>" in await response.text()


async def test_without_a_history_yet(house):
    """While the process starts the checks are there, and nothing is known of before."""
    async with asked(house, known=False) as client:
        _, listed = await get(client, "/health/checks?history=5")
        status, one = await get(client, "/health/checks/web")
        async with client.get("/health/badges/web/uptime.svg") as response:
            badge = await response.text()

    assert listed["checks"][0]["uptime"] == {}
    assert (status, one["uptime"], "history" in one) == (200, {}, False)
    assert ">unknown</text>" in badge


async def test_a_database_that_fails(house):
    """It is said that it does, and not that nothing happened."""
    async with house.history._database.transaction() as connection:
        await connection.exec_driver_sql("ALTER TABLE check_period RENAME TO away")
    async with asked(house) as client:
        answers = [await get(client, path) for path in ("/health/checks", "/health/checks/web")]
        async with client.get("/health/badges/web/uptime.svg") as response:
            assert response.status == 503
    async with house.history._database.transaction() as connection:
        await connection.exec_driver_sql("ALTER TABLE away RENAME TO check_period")

    assert {status for status, _ in answers} == {503}
    assert all("check_period" in body["error"] for _, body in answers)
