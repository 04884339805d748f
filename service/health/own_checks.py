"""The checks of the process itself: its connections and what it cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from alerts.clock import Clock
from alerts.storage.database import Database
from service.config.health_settings import (
    BROKER_CHECK,
    CONNECTIONS_CHECK,
    DISK_CHECK,
    EVENT_LOOP_CHECK,
    EXPORT_CHECK,
    FILES_CHECK,
    HTTP_POOL_CHECK,
    STORAGE_CHECK,
    HealthSettings,
)
from service.health.checks import Check, Probe
from service.health.probes.connections import ConnectionsProbe, ConnectionSweep
from service.health.probes.export import CountedQueue, ExportProbe
from service.health.probes.http_pool import CountedPool, HTTPPoolProbe
from service.health.probes.process import DiskProbe, EventLoopProbe, OpenFilesProbe
from service.health.probes.stores import BrokerProbe, CheckedBroker, StorageProbe


@dataclass(frozen=True, slots=True)
class OwnParts:
    """What is looked at.

    Attributes:
        connections: The connections of clients.
        pool: Outgoing HTTP connections.
        database: Where state is kept.
        queues: What is sent to the collector, by signal; none: nothing is.
        take_worst_lag: How late the event loop was since it was last asked, in seconds.
        data_directory: Where files are kept.
        clock: The time.
        broker: What carries publications between processes; None: there is only this one.
    """

    connections: ConnectionSweep
    pool: CountedPool
    database: Database
    queues: Mapping[str, CountedQueue]
    take_worst_lag: Callable[[], float]
    data_directory: Path
    clock: Clock
    broker: CheckedBroker | None = None


def own_checks(
    health: HealthSettings, parts: OwnParts, *, interval_s: Callable[[], float]
) -> tuple[Check, ...]:
    """Return the built-in checks, each at the common interval.

    Args:
        health: The settings.
        parts: What is looked at.
        interval_s: Returns the common interval, which may be another after a reload.
    """
    probes = _probes(health, parts, interval_s)
    return tuple(Check(name, probe, health.interval) for name, probe in probes)


def _probes(
    health: HealthSettings, parts: OwnParts, interval_s: Callable[[], float]
) -> Iterator[tuple[str, Probe]]:
    own = health.own
    yield CONNECTIONS_CHECK, ConnectionsProbe(parts.connections)
    yield (
        HTTP_POOL_CHECK,
        HTTPPoolProbe(
            parts.pool,
            exhausted_after_s=interval_s,
            hosts=[URL(str(url)) for url in own.http_pool_hosts],
        ),
    )
    yield STORAGE_CHECK, StorageProbe(parts.database)
    if parts.broker is not None:
        yield BROKER_CHECK, BrokerProbe(parts.broker)
    if parts.queues:
        yield (
            EXPORT_CHECK,
            ExportProbe(parts.queues, parts.clock, max_silence_s=own.max_export_silence),
        )
    yield EVENT_LOOP_CHECK, EventLoopProbe(parts.take_worst_lag, max_lag_s=own.max_event_loop_lag)
    yield DISK_CHECK, DiskProbe(parts.data_directory, min_free=own.min_disk_free)
    yield FILES_CHECK, OpenFilesProbe(max_share=own.max_open_files)
