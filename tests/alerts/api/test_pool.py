"""The threads of the API: bounded, timed, and free again when nobody waits."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from alerts.api.errors import APIError
from alerts.api.pool import QueryPool
from alerts.clock import ManualClock, SystemClock
from alerts.promql.limits import QueryLimits
from tests.alerts.api.serving import serving
from tests.support.http import until


class Work:
    """Work that goes on until it is cancelled."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.ended = threading.Event()
        self.limits = QueryLimits()

    def __call__(self, limits: QueryLimits) -> str:
        self.limits = limits
        self.started.set()
        assert limits.cancelled is not None
        limits.cancelled.wait(10)
        self.ended.set()
        return "late"


@asynccontextmanager
async def working(pool: QueryPool) -> AsyncIterator[tuple[Work, asyncio.Task[str]]]:
    """Have work in a thread of the pool."""
    work = Work()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pool.run(work))
        await until(work.started.is_set)
        yield work, task
        task.cancel()


async def test_what_work_returns_and_raises():
    """The caller gets what the work returned, or its error."""
    async with QueryPool(clock=SystemClock()) as pool:

        def fail(_limits: QueryLimits) -> None:
            raise APIError("bad_data", "no")

        assert await pool.run(lambda _limits: 1) == 1
        with pytest.raises(APIError, match="no"):
            await pool.run(fail)
        await until(lambda: pool.taken == 0)


async def test_the_time_limit():
    """When the time is over the caller is told and the work is cancelled."""
    clock = ManualClock()
    async with QueryPool(clock=clock, timeout_s=60) as pool:
        work = Work()
        running = asyncio.gather(pool.run(work, timeout_s=2), return_exceptions=True)
        await until(work.started.is_set)
        await clock.advance(1.9)
        assert not running.done()
        await clock.advance(0.1)
        (error,) = await running

        assert isinstance(error, APIError)
        assert (error.status, error.kind) == (503, "timeout")
        assert work.limits.timeout_s == 2
        await until(work.ended.is_set)


async def test_a_client_that_leaves():
    """Work that nobody waits for is cancelled within the time between two looks."""
    clock = ManualClock()
    gone = threading.Event()
    async with QueryPool(clock=clock) as pool:
        work = Work()
        running = asyncio.gather(pool.run(work, is_abandoned=gone.is_set), return_exceptions=True)
        await until(work.started.is_set)
        await clock.advance(1)
        assert not running.done()
        gone.set()
        await clock.advance(0.25)
        (error,) = await running

        assert isinstance(error, APIError)
        assert error.status == 499
        await until(work.ended.is_set)


async def test_a_caller_that_is_cancelled():
    """Cancelling the caller cancels the work."""
    async with QueryPool(clock=SystemClock()) as pool, working(pool) as (work, task):
        task.cancel()

        await until(work.ended.is_set)
        await until(lambda: pool.taken == 0)


async def test_the_queue_is_bounded():
    """Past the places to wait requests are refused at once; a place that is free is given away."""
    async with QueryPool(clock=SystemClock(), threads=1, max_waiting=1) as pool:
        async with working(pool) as (_, first):
            started = threading.Event()
            waiting = asyncio.gather(pool.run(lambda _limits: started.set()))
            await asyncio.sleep(0)
            with pytest.raises(APIError, match="too many queries") as caught:
                await pool.run(lambda _limits: None)
            first.cancel()
            await waiting

        assert (caught.value.status, caught.value.kind) == (503, "unavailable")
        assert started.is_set()


async def test_what_waited_too_long_does_not_start():
    """Work whose time was over before it got a thread never runs."""
    clock = ManualClock()
    started = threading.Event()
    async with QueryPool(clock=clock, threads=1) as pool, working(pool):
        waiting = asyncio.gather(
            pool.run(lambda _limits: started.set(), timeout_s=1), return_exceptions=True
        )
        await clock.advance(1)

        (error,) = await waiting
        assert isinstance(error, APIError)
        assert pool.taken == 1
    assert not started.is_set()


async def test_closing():
    """Closing cancels what runs and what waits, and then refuses everything."""
    pool = QueryPool(clock=SystemClock(), threads=1)
    work = Work()
    both = asyncio.gather(pool.run(work), pool.run(lambda _limits: "never"), return_exceptions=True)
    await until(work.started.is_set)
    await pool.aclose()

    ran, waited = await both
    assert ran == "late"
    assert isinstance(waited, APIError)
    assert waited.kind == "unavailable"
    with pytest.raises(APIError, match="shutting down"):
        await pool.run(lambda _limits: None)


async def test_a_request_whose_client_leaves(tmp_path: Path):
    """A query that waits for a thread is forgotten when its client closes the connection."""
    async with QueryPool(clock=SystemClock(), threads=1) as pool:
        async with serving(tmp_path, pool=pool) as server, working(pool):
            brief = aiohttp.ClientTimeout(total=0.05)
            with pytest.raises(TimeoutError):
                await server.http.get(f"{server.url}/api/v1/query?query=1", timeout=brief)

            await until(lambda: pool.taken == 1)
