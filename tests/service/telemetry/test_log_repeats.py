"""Log lines that come again and again are counted."""

from __future__ import annotations

import logging

import pytest

from alerts.clock import ManualClock
from service.telemetry.log_repeats import PERIOD_S, RepeatsHandler


class Lines(logging.Handler):
    """Keeps what is passed on."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def record(
    message: str, *details: object, level: int = logging.INFO, name: str = "a"
) -> logging.LogRecord:
    """Return a record as a logger makes it."""
    return logging.LogRecord(name, level, __file__, 1, message, details, None)


def emit(
    handler: logging.Handler, count: int, message: str = "client %d is gone", **of: str
) -> None:
    """Log lines of one kind."""
    for number in range(count):
        handler.handle(record(message, number, **of))  # type: ignore[arg-type]  # the name


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands still."""
    return ManualClock()


async def test_so_many_of_a_kind_are_written(clock: ManualClock) -> None:
    """What is filled in makes no difference; what was left out is told with the next line."""
    lines = Lines()
    handler = RepeatsHandler([lines], clock, limit=2)

    emit(handler, 5)
    await clock.advance(PERIOD_S)
    handler.handle(record("something else"))

    assert lines.texts == [
        "client 0 is gone",
        "client 1 is gone",
        "… repeated 3 times: client %d is gone",
        "something else",
    ]
    assert handler.stats.records["info"] == 6
    assert handler.stats.left_out["info"] == 3


async def test_a_new_while_begins_with_the_next_line(clock: ManualClock) -> None:
    """A while lasts from its first line, and after it as many are written again."""
    lines = Lines()
    handler = RepeatsHandler([lines], clock, limit=1)

    for _ in range(3):
        emit(handler, 1)
        await clock.advance(PERIOD_S)

    assert lines.texts == ["client 0 is gone"] * 3


@pytest.mark.parametrize(
    "other",
    [{"name": "b"}, {"message": "no %d"}, {"level": logging.ERROR}],
    ids=["logger", "message", "level"],
)
def test_other_kinds_are_counted_by_themselves(clock: ManualClock, other: dict[str, str]) -> None:
    """Logger, message and level make a kind."""
    lines = Lines()
    handler = RepeatsHandler([lines], clock, limit=1)

    emit(handler, 2)
    emit(handler, 2, **other)

    assert len(lines.texts) == 2


def test_without_a_limit_all_are_written(clock: ManualClock) -> None:
    """0 writes everything."""
    lines = Lines()

    emit(RepeatsHandler([lines], clock, limit=0), 500)

    assert len(lines.texts) == 500


def test_kinds_are_bounded(clock: ManualClock) -> None:
    """A message of its own for every line costs a bounded amount of memory; the oldest are told."""
    lines = Lines()
    handler = RepeatsHandler([lines], clock, limit=1)

    emit(handler, 2, "first %d")
    for number in range(1500):
        handler.handle(record(f"line {number}"))

    assert len(handler._kinds) == 1000
    assert "… repeated 1 times: first %d" in lines.texts


def test_the_end_tells_the_rest(clock: ManualClock) -> None:
    """What nothing came after is told when the log ends."""
    lines = Lines()
    handler = RepeatsHandler([lines], clock, limit=1)
    emit(handler, 4)

    handler.tell_all()
    handler.tell_all()

    assert lines.texts[1:] == ["… repeated 3 times: client %d is gone"]


def test_handlers_keep_their_own_levels(clock: ManualClock) -> None:
    """Each handler gets what it takes."""
    all_lines, errors = Lines(), Lines(logging.ERROR)
    handler = RepeatsHandler([all_lines, errors], clock, limit=5)

    handler.handle(record("fine"))
    handler.handle(record("bad", level=logging.ERROR))

    assert all_lines.texts == ["fine", "bad"]
    assert errors.texts == ["bad"]
