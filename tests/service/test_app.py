"""The composition, inside the test's own process."""

from __future__ import annotations

import asyncio
import logging
import socket
import stat
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alerts.storage.errors import StorageError
from service.app import App
from service.config.health_settings import (
    BROKER_CHECK,
    BUILT_IN_CHECKS,
    EXPORT_CHECK,
    HTTP_POOL_CHECK,
)
from service.errors import ConfigurationError, StartError, StopError
from tests.support.app import api_headers, create_app, running_app
from tests.support.gateway import RawClient, until


async def get(url: str) -> tuple[int, Any]:
    """Return status and JSON of a page."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.json()


@asynccontextmanager
async def client_of(app: App) -> AsyncIterator[RawClient]:
    """Have a client connected to the gateway."""
    url = app.gateway_url.replace("http", "ws", 1) + "/connection/websocket"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket_:
        client = RawClient(socket_)
        await client.call(connect={})
        yield client


def contents(directory: Path) -> dict[str, int]:
    """Return the files of a directory and when each was changed last."""
    return {entry.name: entry.stat().st_mtime_ns for entry in directory.iterdir()}


class Traces:
    """What a process may leave behind: tasks, threads, sockets, log handlers."""

    def __init__(self) -> None:
        self.tasks = asyncio.all_tasks()
        self.handlers = logging.getLogger().handlers[:]
        self.sockets = self._sockets()
        self.threads = self._threads()

    async def gone(self) -> None:
        """Wait until nothing is left but what was there before."""
        await until(lambda: asyncio.all_tasks() <= self.tasks, what="tasks")
        await until(lambda: self._sockets() <= self.sockets, what="sockets")
        await until(lambda: self._threads() <= self.threads, what="threads")
        assert logging.getLogger().handlers == self.handlers

    @staticmethod
    def _threads() -> set[str]:
        # The loop's own pool of threads stays until the loop ends.
        names = {thread.name for thread in threading.enumerate()}
        return {name for name in names if not name.startswith("asyncio_")}

    @staticmethod
    def _sockets() -> int:
        if sys.platform != "linux":
            return 0
        count = 0
        for entry in Path("/proc/self/fd").iterdir():
            try:
                count += str(entry.readlink()).startswith("socket:")
            except FileNotFoundError:  # the descriptor of the listing itself
                continue
        return count


async def test_it_starts_and_stops_twice_in_one_process(tmp_path: Path) -> None:
    """A second app finds the data of the first, and nothing else of it."""
    traces = Traces()
    for _ in range(2):
        async with running_app(tmp_path) as app:
            assert await get(f"{app.gateway_url}/health") == (200, {})
            assert (await get(f"{app.operations_url}/health/ready"))[0] == 200
        await traces.gone()

    assert (tmp_path / "data" / "gatewatch.db").exists()


async def test_readiness_follows_the_phases(tmp_path: Path) -> None:
    """Starting, ready, shutting down; the last is told while clients are still there."""
    app = create_app(tmp_path)
    assert app.readiness() == ("starting",)
    async with app:
        assert app.readiness() == ()
        async with client_of(app) as client:
            stopping = asyncio.create_task(app.aclose())
            await until(lambda: app.gateway.connections.draining)
            status, body = await get(f"{app.operations_url}/health/ready")
            assert not stopping.done()
            assert await client.closed() == (3001, "shutdown")
            await stopping

    assert (status, body["reasons"]) == (503, ["shutting down"])
    assert app.readiness() == ("shutting down",)


async def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    """Whoever stops it early may leave the block as usual."""
    async with running_app(tmp_path) as app:
        await app.aclose()


@pytest.mark.parametrize(
    ("section", "what"), [("gateway", "gateway"), ("operations", "operations listener")]
)
async def test_a_start_that_fails_leaves_nothing_behind(
    tmp_path: Path, section: str, what: str
) -> None:
    """A port that is taken ends the start; what had started before it is gone."""
    traces = Traces()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        app = create_app(tmp_path, **{section: {"port": taken.getsockname()[1]}})
        with pytest.raises(StartError, match=f"the {what} cannot listen on"):
            async with app:
                pass

    await traces.gone()
    assert contents(tmp_path) == {}


async def test_a_data_directory_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    """The error names the setting, and nothing is left running."""
    traces = Traces()
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"^service\.data_dir: .*/data cannot be used: "):
        async with running_app(tmp_path):
            pass

    await traces.gone()


async def test_a_data_directory_has_one_process(tmp_path: Path) -> None:
    """A second app is refused and touches nothing; the first one goes on."""
    async with running_app(tmp_path) as app:
        before = contents(tmp_path / "data")
        with pytest.raises(ConfigurationError, match="is in use by process"):
            async with running_app(tmp_path):
                pass

        assert contents(tmp_path / "data") == before
        assert await get(f"{app.gateway_url}/health") == (200, {})


async def test_a_start_that_fails_late_leaves_the_state_as_it_was(tmp_path: Path) -> None:
    """Series that were found are there for the next start, byte for byte."""
    async with running_app(tmp_path) as app:
        await app.telemetry.collection.collect_now()
    snapshot = tmp_path / "data" / "series.snapshot"
    before = await asyncio.to_thread(snapshot.read_bytes)
    (tmp_path / "data" / "gatewatch.db").write_text("this is not a database, however long it is")
    with pytest.raises(StorageError):
        async with running_app(tmp_path):
            pass

    assert await asyncio.to_thread(snapshot.read_bytes) == before


async def test_state_is_readable_for_its_user_alone(tmp_path: Path) -> None:
    """Neither the series nor the notifications are for others on the machine."""
    async with running_app(tmp_path):
        pass
    data = tmp_path / "data"

    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in data.iterdir()}
    assert modes == {"gatewatch.db": 0o600, "gatewatch.lock": 0o600, "series.snapshot": 0o600}
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


async def test_clients_that_come_early_are_sent_away(tmp_path: Path) -> None:
    """Until everything runs the gateway answers 503, which makes SDKs try again."""
    app = create_app(tmp_path)
    answers: list[tuple[int, Any]] = []

    @asynccontextmanager
    async def early_client() -> AsyncIterator[None]:
        answers.append(await get(f"{app.gateway_url}/health"))
        yield

    await app._parts.start("gateway listener", app._gateway_listener, stop_timeout_s=1)
    await app._parts.start("early client", early_client(), stop_timeout_s=1)
    await app.aclose()

    assert answers == [(503, {"status": "starting"})]


async def test_a_part_that_does_not_stop_is_named(tmp_path: Path) -> None:
    """The error says which part and why, and the others are stopped all the same."""

    @asynccontextmanager
    async def stuck() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        yield
        raise OSError("disk on fire")

    traces = Traces()
    app = create_app(tmp_path)
    with pytest.raises(StopError) as caught:
        async with app:
            await app._parts.start("stuck", stuck(), stop_timeout_s=0.01)
            await app._parts.start("broken", broken(), stop_timeout_s=1)

    assert str(caught.value) == (
        "did not stop properly: broken failed to stop: disk on fire; "
        "stuck did not stop within 0.01 s"
    )
    await traces.gone()


async def test_rules_read_its_own_series(tmp_path: Path) -> None:
    """What it measures of itself arrives in the store with job and instance."""
    async with running_app(tmp_path, gateway={"port": 0, "max_connections": 7}) as app:
        await app.telemetry.collection.collect_now()
        query = app.engine.prepare('gateway_connection_limit{job="gatewatch"}')
        (sample,) = app.engine.instant_vector(query, round(app._clock.time() * 1000))

    assert sample.value == 7
    assert sample.labels["instance"] == "under-test"


async def test_jobs_of_every_kind_are_scheduled(tmp_path: Path) -> None:
    """Checks, rule groups and housekeeping run on the one scheduler."""
    check = {"name": "web", "http": {"url": "http://127.0.0.1:9/"}}
    async with running_app(tmp_path, health={"checks": [check]}) as app:
        names = {job.name for job in app.scheduler.jobs()}
        checks = {each.name for each in app.monitor.checks()}

    assert checks == {*BUILT_IN_CHECKS, "web"} - {BROKER_CHECK, EXPORT_CHECK}
    assert {f"check {name}" for name in checks} <= names
    assert {"rules gatewatch-gateway", "rules gatewatch-watching"} <= names
    assert {"housekeeping", "queue depths"} <= names


async def test_a_message_goes_from_the_api_to_a_client(tmp_path: Path) -> None:
    """Both listeners and the hub between them are wired together."""
    async with running_app(tmp_path) as app, client_of(app) as client:
        await client.subscribe("news")
        async with aiohttp.ClientSession() as session:
            body = {"channel": "news", "data": [1]}
            async with session.post(
                f"{app.gateway_url}/api/publish", json=body, headers=api_headers()
            ) as answer:
                assert await answer.json() == {"result": {}}

        assert await client.published() == [1]


def problems_of(directory: Path, **sections: Any) -> list[str]:
    """Return what is wrong with settings an app cannot be built from."""
    with pytest.raises(ConfigurationError) as caught:
        create_app(directory, **sections)
    return [str(problem) for problem in caught.value.problems]


async def test_a_check_may_not_be_called_like_a_built_in_one(tmp_path: Path) -> None:
    """Results could not be told apart, so the name is refused."""
    check = {"name": HTTP_POOL_CHECK, "http": {"url": "http://127.0.0.1:9/"}}

    (problem,) = problems_of(tmp_path, health={"checks": [check]})
    assert problem == "health.checks[0].name: http-pool is a built-in check; rename yours"


async def test_rules_and_routes_that_are_wrong_are_configuration_errors(tmp_path: Path) -> None:
    """They have their place in their own file, and nothing was started."""
    traces = Traces()
    rules, routes = tmp_path / "rules.yaml", tmp_path / "routes.yaml"
    rules.write_text("groups: [{name: g, rules: [{alert: A, expr: 'up =='}]}]")
    routes.write_text("receivers: [{name: r}]")

    otlp: dict[str, Any] = {"otlp": {"endpoint": "http://127.0.0.1:9"}}
    (bad_rule,) = problems_of(tmp_path, alerts={"rule_files": [str(rules)]}, telemetry=otlp)
    (bad_route,) = problems_of(tmp_path, alerts={"alertmanager_config": routes}, telemetry=otlp)
    assert bad_rule.startswith(f"{rules}:1:")
    assert bad_route.startswith(f"{routes}:")
    await traces.gone()
