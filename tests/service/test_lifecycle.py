"""Parts start in order and stop in reverse, each within its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from service.lifecycle import Parts


class Diary:
    """What happened, in order, and parts that write into it."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    @asynccontextmanager
    async def part(
        self, name: str, *, fails: Exception | None = None, hangs: bool = False
    ) -> AsyncIterator[str]:
        self.entries.append(f"{name} starts")
        yield name
        if hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        self.entries.append(f"{name} stops")
        if fails is not None:
            raise fails


async def test_the_newest_part_stops_first() -> None:
    """Parts stop in the reverse of the order they were started in."""
    diary, parts = Diary(), Parts()
    for name in ("one", "two", "three"):
        assert await parts.start(name, diary.part(name), stop_timeout_s=1) == name

    await parts.stop()

    assert diary.entries[3:] == ["three stops", "two stops", "one stops"]


async def test_stopping_again_does_nothing() -> None:
    """A part leaves once, and nothing to stop is fine."""
    diary, parts = Diary(), Parts()
    await parts.stop()
    await parts.start("one", diary.part("one"), stop_timeout_s=1)
    await parts.stop()
    await parts.stop()

    assert diary.entries == ["one starts", "one stops"]


async def test_each_part_has_its_own_deadline() -> None:
    """One that hangs is given up after its time; the others stop as if it had not."""
    diary, parts = Diary(), Parts()
    await parts.start("one", diary.part("one"), stop_timeout_s=10)
    await parts.start("stuck", diary.part("stuck", hangs=True), stop_timeout_s=0.02)

    with pytest.raises(ExceptionGroup) as caught:
        await parts.stop()

    (error,) = caught.value.exceptions
    assert isinstance(error, TimeoutError)
    assert error.__notes__ == ["stuck did not stop within 0.02 s"]
    assert diary.entries[-1] == "one stops"


async def test_the_time_for_all_parts_bounds_each() -> None:
    """What hangs gets no more than the whole may take; what comes after it still stops."""
    diary, parts = Diary(), Parts()
    await parts.start("one", diary.part("one"), stop_timeout_s=60)
    await parts.start("stuck", diary.part("stuck", hangs=True), stop_timeout_s=60)

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(5):
            await parts.stop(timeout_s=0.05)

    assert caught.value.exceptions[0].__notes__ == ["stuck did not stop within 0.25 s"]
    assert diary.entries[-1] == "one stops"


async def test_all_failures_come_together_with_the_names_of_their_parts() -> None:
    """No failure hides another, and each says whose it is."""
    diary, parts = Diary(), Parts()
    await parts.start("one", diary.part("one", fails=ValueError("bad")), stop_timeout_s=1)
    await parts.start("two", diary.part("two"), stop_timeout_s=1)
    await parts.start("three", diary.part("three", fails=TimeoutError("slow")), stop_timeout_s=1)

    with pytest.raises(ExceptionGroup) as caught:
        await parts.stop()

    assert [(str(error), error.__notes__) for error in caught.value.exceptions] == [
        ("slow", ["three failed to stop"]),
        ("bad", ["one failed to stop"]),
    ]
    assert "two stops" in diary.entries


async def test_a_part_that_did_not_start_is_not_stopped() -> None:
    """Its error goes to whoever starts; those before it wait for the stop."""

    class Broken(AbstractAsyncContextManager[None]):
        async def __aenter__(self) -> None:
            raise OSError("no port")

        async def __aexit__(self, *_exception: object) -> None:
            raise AssertionError("it was stopped")

    diary, parts = Diary(), Parts()
    await parts.start("one", diary.part("one"), stop_timeout_s=1)
    with pytest.raises(OSError, match="no port"):
        await parts.start("broken", Broken(), stop_timeout_s=1)
    await parts.stop()

    assert diary.entries == ["one starts", "one stops"]


async def test_a_stop_that_is_cancelled_ends_at_once() -> None:
    """Cancellation is passed on, never taken for a part's failure."""
    diary, parts = Diary(), Parts()
    await parts.start("stuck", diary.part("stuck", hangs=True), stop_timeout_s=60)
    stopping = asyncio.create_task(parts.stop())
    await asyncio.sleep(0)
    stopping.cancel()

    with pytest.raises(asyncio.CancelledError):
        await stopping
