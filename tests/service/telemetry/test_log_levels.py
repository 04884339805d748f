"""How much is logged, and what puts it back."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from alerts.clock import ManualClock
from service.telemetry.log_levels import ROOT, LogLevels

NAME = "tests.levels.some"


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that the test moves."""
    return ManualClock()


@pytest.fixture
def levels(clock: ManualClock) -> Iterator[LogLevels]:
    """Return levels that are in effect and put back afterwards."""
    levels = LogLevels("info", clock)
    levels.install()
    yield levels
    levels.restore()


def effective(name: str = NAME) -> str:
    """Return what a logger logs at least."""
    return logging.getLevelName(logging.getLogger(name).getEffectiveLevel())


async def test_a_logger_is_heard_for_a_while(levels: LogLevels, clock: ManualClock) -> None:
    """After the duration it is as it was, and so are its neighbours all the time."""
    levels.override(NAME, "debug", 60.0)
    during = effective(), effective(f"{NAME}.below"), effective("tests.levels")
    shown = levels.overrides

    await clock.advance(60.0)

    assert during == ("DEBUG", "DEBUG", "INFO")
    assert shown[NAME].until_s == pytest.approx(clock.time())
    assert (effective(), levels.overrides) == ("INFO", {})


async def test_a_later_override_takes_the_place_of_an_earlier(
    levels: LogLevels, clock: ManualClock
) -> None:
    """The first one's end does not end the second."""
    levels.override(NAME, "debug", 60.0)
    levels.override(NAME, "error")

    await clock.advance(3600.0)

    assert effective() == "ERROR"


async def test_the_level_of_the_settings_may_change_under_overrides(levels: LogLevels) -> None:
    """What was set at run time stays; taking it back leads to the new level."""
    levels.override(ROOT, "debug")

    levels.change("warning")
    before = effective()
    levels.take_back(ROOT)

    assert (before, effective(), levels.level) == ("DEBUG", "WARNING", "warning")


async def test_chatty_libraries_are_heard_at_debug_only(levels: LogLevels) -> None:
    """Their steps are no news at info; one that is asked for by name is heard."""
    quiet = effective("alembic")

    levels.override("alembic", "info")
    asked = effective("alembic")
    levels.take_back("alembic")
    again = effective("alembic")
    levels.change("debug")

    assert (quiet, asked, again, effective("alembic")) == ("WARNING", "INFO", "WARNING", "DEBUG")


async def test_everything_is_put_back(clock: ManualClock) -> None:
    """Also what is overridden when the end comes."""
    before = [logging.getLogger(name).level for name in ("", "alembic", NAME)]
    levels = LogLevels("error", clock)
    levels.install()
    levels.override(NAME, "debug", 60.0)
    levels.override(ROOT, "debug")

    levels.restore()
    await clock.advance(60.0)

    assert [logging.getLogger(name).level for name in ("", "alembic", NAME)] == before
