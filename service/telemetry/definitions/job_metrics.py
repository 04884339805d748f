"""The metrics of jobs."""

from __future__ import annotations

from typing import Final

from alerts.telemetry import SECONDS_BOUNDARIES
from service.telemetry.definitions.defining import WAIT_BOUNDARIES, define

JOB_DURATION: Final = define(
    "histogram",
    "gateway.job.duration",
    "s",
    "Duration of a run of a job.",
    "gateway.job.kind",
    "error.type",
    boundaries=SECONDS_BOUNDARIES,
)
JOB_DELAY: Final = define(
    "histogram",
    "gateway.job.schedule.delay",
    "s",
    "How late a run started.",
    "gateway.job.kind",
    boundaries=WAIT_BOUNDARIES,
)
JOB_MISSED: Final = define(
    "counter",
    "gateway.job.missed",
    "{run}",
    "Runs skipped because the one before still ran or the process was late.",
    "gateway.job.kind",
)
JOB_FAILED: Final = define(
    "counter", "gateway.job.failed", "{run}", "Runs that raised.", "gateway.job.kind"
)

DEFINITIONS: Final = (
    JOB_DURATION,
    JOB_DELAY,
    JOB_MISSED,
    JOB_FAILED,
)
"""All of them, in order."""
