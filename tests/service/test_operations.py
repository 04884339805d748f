"""The operations listener over real HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from alerts.clock import ManualClock
from service.config.settings import OperationsAuth
from service.operations import OperationsParts, create_operations_app
from service.scheduler import Scheduler
from service.telemetry.instruments import Instruments

BASIC = "Basic " + base64.b64encode("ops:päss".encode()).decode()


@dataclass
class House:
    """A listener, the parts behind it, and a client."""

    scheduler: Scheduler
    client: aiohttp.ClientSession
    port: int
    reasons: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    async def get(self, path: str, **headers: str) -> tuple[int, object]:
        async with self.client.get(path, headers=headers) as response:
            return response.status, await response.json()

    async def post(self, path: str, **headers: str) -> tuple[int, object]:
        async with self.client.post(path, headers=headers) as response:
            return response.status, await response.json()


@asynccontextmanager
async def house(**auth: str) -> AsyncIterator[House]:
    clock, instruments = ManualClock(), Instruments.disabled()
    async with Scheduler(clock=clock, instruments=instruments) as scheduler:
        reasons: list[str] = []
        accepted: list[str] = []

        async def render(accept: str) -> tuple[str, bytes]:
            accepted.append(accept)
            return "text/plain; version=0.0.4; charset=utf-8", b"up 1\n"

        async def extra(_request: web.Request) -> web.Response:
            return web.json_response({"extra": True})

        app = create_operations_app(
            OperationsParts(scheduler, lambda: reasons, render, clock),
            auth=OperationsAuth.model_validate(auth),
            routes=[web.get("/extra", extra)],
        )
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield House(scheduler, client, port, reasons, accepted)
        await runner.cleanup()


async def nothing(_slot_s: float) -> None:
    return


async def test_a_living_process_says_so():
    """Liveness asks nothing of any part."""
    async with house() as running:
        assert await running.get("/health/live") == (200, {"status": "alive"})
        async with running.client.get("/-/healthy") as response:
            assert (response.status, await response.text()) == (200, "gatewatch is healthy.\n")


async def test_readiness_gives_its_reasons():
    """Not ready is 503 with every reason, on both paths."""
    async with house() as running:
        assert (await running.get("/health/ready"))[0] == 200
        running.reasons.append("the gateway does not listen yet")

        status, body = await running.get("/health/ready")
        assert status == 503
        assert body == {"status": "not ready", "reasons": ["the gateway does not listen yet"]}
        async with running.client.get("/-/ready") as response:
            assert (response.status, await response.text()) == (
                503,
                "gatewatch is not ready: the gateway does not listen yet\n",
            )


async def test_metrics_are_rendered_for_what_the_client_accepts():
    """The renderer gets the Accept header and decides the content type."""
    async with house() as running:
        async with running.client.get(
            "/metrics", headers={"Accept": "application/openmetrics-text"}
        ) as response:
            body = await response.read()

        assert body == b"up 1\n"
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert running.accepted == ["application/openmetrics-text"]


async def test_jobs_are_listed_run_paused_and_resumed():
    """The scheduler can be steered over HTTP."""
    async with house() as running:
        running.scheduler.add_job("tidy up/all", nothing, interval_s=3600)
        run = await running.post("/jobs/tidy%20up%2Fall/run")
        paused = await running.post("/jobs/tidy%20up%2Fall/pause")
        resumed = await running.post("/jobs/tidy%20up%2Fall/resume")
        _, listed = await running.get("/jobs")

    assert isinstance(run[1], dict)
    assert isinstance(paused[1], dict)
    assert isinstance(resumed[1], dict)
    assert isinstance(listed, dict)
    assert (run[0], run[1]["id"], run[1]["last_outcome"]) == (200, "tidy up/all", "ok")
    assert (paused[1]["paused"], paused[1]["next_run"]) == (True, None)
    assert resumed[1]["paused"] is False
    assert [job["runs"] for job in listed["jobs"]] == [1]


@pytest.mark.parametrize("verb", ["run", "pause", "resume"])
async def test_an_unknown_job_is_404_with_the_known_ones(verb):
    """The error lists what exists."""
    async with house() as running:
        running.scheduler.add_job("tidy", nothing, interval_s=3600)

        status, body = await running.post(f"/jobs/tydi/{verb}")
        assert status == 404
        assert body == {"error": "there is no job 'tydi'; there are: tidy"}


async def test_a_job_that_runs_is_409():
    """One run at a time, over HTTP too."""
    started, release = asyncio.Event(), asyncio.Event()

    async def hang(_slot_s: float) -> None:
        started.set()
        await release.wait()

    async with house() as running:
        running.scheduler.add_job("slow", hang, interval_s=3600)
        first = asyncio.create_task(running.post("/jobs/slow/run"))
        await started.wait()
        second = await running.post("/jobs/slow/run")
        release.set()

        assert second[0] == 409
        assert (await first)[0] == 200


async def test_an_unknown_path_is_404_with_all_paths():
    """Who mistyped a path sees the right one, routes added by others included."""
    async with house() as running:
        status, body = await running.get("/helth/live")

    assert isinstance(body, dict)
    assert status == 404
    assert body["error"] == "there is nothing at /helth/live"
    assert {"/health/live", "/metrics", "/jobs/{id}/run", "/extra"} <= set(body["paths"])


async def test_a_wrong_method_is_405_with_the_right_one():
    """The answer names the methods in words and in the Allow header."""
    async with house() as running:
        status, body = await running.get("/jobs/tidy/run")

    assert status == 405
    assert body == {"error": "/jobs/tidy/run takes POST, not GET"}


@pytest.mark.parametrize(
    ("settings", "header", "status"),
    [
        ({"username": "ops", "password": "päss"}, BASIC, 200),
        ({"username": "ops", "password": "other"}, BASIC, 401),
        ({"username": "ops", "password": "päss"}, "Bearer päss", 401),
        ({"username": "ops", "password": "päss"}, "Basic !!!", 401),
        ({"username": "ops", "password": "päss"}, "Basic ä", 401),
        ({"bearer_token": "tökén"}, "Bearer tökén", 200),
        ({"username": "ops", "password": "päss"}, "Basic", 401),
        ({"bearer_token": "token"}, "Bearer token", 200),
        ({"bearer_token": "token"}, "bearer  token", 200),
        ({"bearer_token": "token"}, "Bearer token2", 401),
        ({"bearer_token": "token"}, "Bearer", 401),
        ({"bearer_token": "token"}, "", 401),
        ({"bearer_token": "token", "username": "ops", "password": "päss"}, BASIC, 200),
        ({"bearer_token": "token", "username": "ops", "password": "päss"}, "Bearer token", 200),
        ({}, "", 200),
    ],
)
async def test_only_the_right_credentials_come_in(settings, header, status):
    """Basic and bearer, alone or together; nothing set means open."""
    async with house(**settings) as running:
        assert (await running.get("/jobs", Authorization=header))[0] == status


@pytest.mark.parametrize("path", ["/health/ready", "/-/healthy", "/metrics", "/extra", "/nowhere"])
async def test_everything_but_liveness_needs_credentials(path):
    """Even which paths exist is told only to those who may come in."""
    async with house(bearer_token="token") as running:
        async with running.client.get(path) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="gatewatch"'
        assert (await running.get("/health/live"))[0] == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 200),
        ("http://127.0.0.1:1", 403),
        ("http://127.0.0.1", 403),
        ("http://evil.example:{port}", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
async def test_other_sites_cannot_change_anything(origin, status):
    """A page a person happens to visit must not run jobs in the person's name."""
    async with house() as running:
        running.scheduler.add_job("tidy", nothing, interval_s=3600)
        given = origin.format(port=running.port)

        assert (await running.post("/jobs/tidy/run", Origin=given))[0] == status
        assert (await running.get("/jobs", Origin=given))[0] == 200
