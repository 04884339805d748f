"""Which libraries may write to our log, and when."""

import io
import logging

import pytest

from alerts.clock import ManualClock
from service.telemetry.logs import LogSetup


@pytest.mark.parametrize(("level", "heard"), [("info", False), ("debug", True)])
def test_libraries_that_tell_every_step_are_heard_at_level_debug_only(level, heard):
    """Their info lines would bury ours; putting the logging back gives them their level again."""
    stream = io.StringIO()
    before = logging.getLogger("apscheduler").level
    setup = LogSetup(
        level=level, log_format="json", clock=ManualClock(), environment={}, stream=stream
    ).install()
    try:
        logging.getLogger("apscheduler.scheduler").info("Added job")
        logging.getLogger("apscheduler.scheduler").warning("Run missed")
    finally:
        setup.restore()

    assert ("Added job" in stream.getvalue()) is heard
    assert "Run missed" in stream.getvalue()
    assert logging.getLogger("apscheduler").level == before
