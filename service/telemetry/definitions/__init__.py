"""Every metric of the service but those of probes, a module for each area.

Observed metrics (counters, up-down counters, gauges) are integers on slotted ``stats`` objects;
``service.telemetry.observers`` reads them at collection. Histograms are recorded into, see
``service.telemetry.instruments``.
"""

from typing import Final

from service.telemetry.definitions import (
    back_end_metrics,
    batch_metrics,
    broker_metrics,
    check_metrics,
    gateway_metrics,
    http_server_metrics,
    job_metrics,
    pool_metrics,
    process_metrics,
    receiver_metrics,
    telemetry_metrics,
)

DEFINITIONS: Final = (
    *http_server_metrics.DEFINITIONS,
    *gateway_metrics.DEFINITIONS,
    *back_end_metrics.DEFINITIONS,
    *batch_metrics.DEFINITIONS,
    *broker_metrics.DEFINITIONS,
    *pool_metrics.DEFINITIONS,
    *job_metrics.DEFINITIONS,
    *check_metrics.DEFINITIONS,
    *process_metrics.DEFINITIONS,
    *telemetry_metrics.DEFINITIONS,
    *receiver_metrics.DEFINITIONS,
)
"""Every definition, area by area."""
