"""A log that strangers can write into."""

from __future__ import annotations

import logging

from alerts.clock import ManualClock
from service.gateway.limited_log import LimitedLog

LOG = logging.getLogger("service.gateway.test")


async def test_lines_beyond_the_limit_are_counted(caplog):
    """A period has so many lines; the next one begins with how many were left out."""
    caplog.set_level(logging.INFO, LOG.name)
    clock = ManualClock()
    log = LimitedLog(LOG, clock, lines=2, period_s=10.0)
    for number in range(5):
        log.write(logging.INFO, "line %d", number)
    await clock.advance(9.9)
    log.write(logging.INFO, "late")
    await clock.advance(0.1)
    log.write(logging.WARNING, "new", extra={"user": "ann"})
    await clock.advance(10.0)
    log.write(logging.INFO, "newer")

    assert [record.getMessage() for record in caplog.records] == [
        "line 0",
        "line 1",
        "4 more lines like the next were left out",
        "new",
        "newer",
    ]
    assert caplog.records[3].user == "ann"
