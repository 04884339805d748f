"""The metrics of health checks.

Names without a dot are blackbox_exporter's, which rules in the wild use.
"""

from __future__ import annotations

from typing import Final

from service.telemetry.definitions.defining import define

HEALTH_STATE: Final = define(
    "gauge",
    "gateway.health.state",
    "{status}",
    "State of a check: 0 unknown, 1 up, 2 degraded, 3 down, 4 in maintenance, 5 held back.",
    "check",
    "group",
)
HEALTH_UPTIME: Final = define(
    "gauge",
    "gateway.health.uptime",
    "1",
    "Share of a window in which a check was not down, of the time that was watched.",
    "check",
    "group",
    "window",
)
HEALTH_LAST_RUN: Final = define(
    "gauge",
    "gateway.health.last_run.time",
    "s",
    "When a check last ran, in Unix seconds.",
    "check",
    "group",
)
HEALTH_HISTORY_FAILED: Final = define(
    "counter",
    "gateway.health.history.failed",
    "{operation}",
    "Times the database failed for the history of checks.",
)
HEALTH_HISTORY_DROPPED: Final = define(
    "counter",
    "gateway.health.history.dropped",
    "{item}",
    "Results and changes of checks that were given up as the database failed for too long.",
)
# Not by check: a thousand of them would have twenty thousand series, and each has its gauges.
_CHECK_BOUNDARIES: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
HEALTH_CHECK_DURATION: Final = define(
    "histogram",
    "gateway.health.check.duration",
    "s",
    "Duration of a run of a health check, by the kind of its probe.",
    "kind",
    "error.type",
    boundaries=_CHECK_BOUNDARIES,
)
PROBE_SUCCESS: Final = define(
    "gauge",
    "probe_success",
    "",
    "Whether the last run of a check succeeded: 0 or 1.",
    "check",
    "group",
)
PROBE_DURATION: Final = define(
    "gauge", "probe_duration", "s", "Duration of the last run of a check.", "check", "group"
)
PROBE_HTTP_STATUS: Final = define(
    "gauge",
    "probe_http_status_code",
    "",
    "HTTP status the last run of a check received; 0: none.",
    "check",
    "group",
)

DEFINITIONS: Final = (
    HEALTH_STATE,
    HEALTH_UPTIME,
    HEALTH_LAST_RUN,
    HEALTH_HISTORY_FAILED,
    HEALTH_HISTORY_DROPPED,
    HEALTH_CHECK_DURATION,
    PROBE_SUCCESS,
    PROBE_DURATION,
    PROBE_HTTP_STATUS,
)
"""All of them, in order."""
