"""Counts of the pool, the jobs and the alerts as metrics.

Read on the collector's thread: snapshots and integers only. The gateway's own are in
``service.gateway.observation``, the checks' in ``service.health.observation``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from alerts import telemetry as alerts_instruments
from alerts.alerting import Alerting
from alerts.series.store import SeriesStore
from service.jobs import JobSnapshot
from service.pools.errors import HTTPFailure
from service.pools.http import HTTPConnectionPool
from service.reloading import ReloadStats
from service.scheduler import Scheduler
from service.telemetry.definitions import job_metrics, pool_metrics
from service.telemetry.observers import Observers

Values = Iterable[tuple[float, Mapping[str, str]]]

_TIMEOUTS: Final = (HTTPFailure.POOL_WAIT, HTTPFailure.CONNECT_TIMEOUT, HTTPFailure.TIMEOUT)


class PoolObservation:
    """Reads an HTTP pool."""

    def __init__(self, pool: HTTPConnectionPool) -> None:
        """Say which."""
        self._pool = pool
        self._name = {"gateway.pool.name": pool.name}

    def register(self, observers: Observers) -> None:
        """Have it read at each collection."""
        self.register_pool(observers)
        observers.observe(pool_metrics.HTTP_CLIENT_OPEN, self._open)
        observers.observe(pool_metrics.HTTP_CLIENT_ACTIVE, self._active)

    def register_pool(self, observers: Observers) -> None:
        """Have only the pool as a whole read, for one whose endpoints may be another's as well."""
        pool, name, observe = self._pool, self._name, observers.observe
        observe(pool_metrics.POOL_LIMIT, lambda: [(pool.counts().limit, name)])
        observe(pool_metrics.POOL_WAITING, lambda: [(pool.counts().waiting, name)])
        observe(pool_metrics.POOL_CREATED, lambda: [(pool.counts().created, name)])
        observe(pool_metrics.POOL_REUSED, lambda: [(pool.counts().reused, name)])
        observe(pool_metrics.POOL_ERRORS, self._errors)
        observe(pool_metrics.POOL_TIMEOUTS, self._timeouts)

    def _open(self) -> Values:
        for endpoint in self._pool.counts().endpoints:
            where = {"server.address": endpoint.host, "server.port": str(endpoint.port)}
            yield endpoint.in_use, where | {"http.connection.state": "active"}
            yield endpoint.idle, where | {"http.connection.state": "idle"}

    def _active(self) -> Values:
        for endpoint in self._pool.counts().endpoints:
            where = {"server.address": endpoint.host, "server.port": str(endpoint.port)}
            yield endpoint.active, where

    def _errors(self) -> Values:
        for reason, count in self._pool.counts().errors.items():
            yield count, self._name | {"error.type": reason}

    def _timeouts(self) -> Values:
        errors = self._pool.counts().errors
        for reason in _TIMEOUTS:
            yield errors.get(reason, 0), self._name | {"error.type": reason.value}


class JobObservation:
    """Reads the jobs of the scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Say which."""
        self._scheduler = scheduler

    def register(self, observers: Observers) -> None:
        """Have them read at each collection."""
        observers.observe(job_metrics.JOB_MISSED, self._missed)
        observers.observe(job_metrics.JOB_FAILED, self._failed)

    def _missed(self) -> Values:
        return self._by_kind(lambda job: job.missed)

    def _failed(self) -> Values:
        return self._by_kind(lambda job: job.failures)

    def _by_kind(self, count: Callable[[JobSnapshot], int]) -> Values:
        sums: Counter[str] = Counter()
        for job in self._scheduler.jobs():
            sums[job.kind] += count(job)
        return [(total, {"gateway.job.kind": kind}) for kind, total in sums.items()]


class AlertObservation:
    """Reads rules, alerts, notifications and the series store."""

    def __init__(self, alerting: Alerting, store: SeriesStore) -> None:
        """Say which."""
        self._alerting = alerting
        self._store = store

    def register(self, observers: Observers) -> None:
        """Have them read at each collection."""
        alerting, store, observe = self._alerting, self._store, observers.observe
        observe(alerts_instruments.RULE_EVALUATION_MISSED, self._missed)
        observe(alerts_instruments.RULE_EVALUATION_FAILED, self._failed_rules)
        observe(alerts_instruments.RULE_STATE_FAILED, self._failed_saves)
        observe(alerts_instruments.ALERT_COUNT, self._alerts)
        observe(alerts_instruments.NOTIFICATION_DELIVERED, self._delivered)
        observe(alerts_instruments.NOTIFICATION_RETRIES, self._retries)
        observe(alerts_instruments.NOTIFICATION_FAILED, self._failed)
        observe(alerts_instruments.NOTIFICATION_QUEUE_SIZE, lambda: [(alerting.queued, {})])
        observe(alerts_instruments.SERIES_COUNT, lambda: [(store.series_count, {})])
        observe(alerts_instruments.SERIES_SAMPLES, lambda: [(store.stats.samples, {})])
        observe(alerts_instruments.SERIES_SAMPLES_REFUSED, self._refused)
        observe(alerts_instruments.SERIES_MEMORY, lambda: [(store.stats.bytes, {})])

    def _missed(self) -> Values:
        for group in self._alerting.groups:
            yield group.stats.missed, {"gateway.rule.group": group.name}

    def _failed_rules(self) -> Values:
        for group in self._alerting.groups:
            yield group.stats.failed_rules, {"gateway.rule.group": group.name}

    def _failed_saves(self) -> Values:
        yield sum(group.stats.failed_saves for group in self._alerting.groups), {}

    def _alerts(self) -> Values:
        for (state, severity), count in self._alerting.alert_counts.items():
            yield count, {"gateway.alert.state": str(state), "gateway.alert.severity": severity}

    def _delivered(self) -> Values:
        for receiver, stats in self._alerting.receiver_stats.copy().items():
            yield stats.delivered, {"gateway.receiver": receiver}

    def _retries(self) -> Values:
        for receiver, stats in self._alerting.receiver_stats.copy().items():
            yield stats.retries, {"gateway.receiver": receiver}

    def _failed(self) -> Values:
        for receiver, stats in self._alerting.receiver_stats.copy().items():
            for reason, count in stats.failed.copy().items():
                yield count, {"gateway.receiver": receiver, "error.type": str(reason)}

    def _refused(self) -> Values:
        stats = self._store.stats
        yield stats.refused_out_of_order, {"error.type": "out_of_order"}
        yield stats.refused_duplicate_timestamp, {"error.type": "duplicate_timestamp"}
        yield stats.refused_duplicate_series, {"error.type": "duplicate_series"}
        yield stats.refused_max_series, {"error.type": "max_series"}
        yield stats.refused_max_series_per_metric, {"error.type": "max_series_per_metric"}
        yield stats.refused_max_memory, {"error.type": "max_memory"}


class ReloadObservation:
    """Reads how reading the configuration again went."""

    def __init__(self, stats: ReloadStats) -> None:
        """Say which."""
        self._stats = stats

    def register(self, observers: Observers) -> None:
        """Have it read at each collection."""
        stats = self._stats
        observers.observe(
            alerts_instruments.CONFIG_RELOAD_SUCCESS, lambda: [(int(stats.is_good), {})]
        )
        observers.observe(alerts_instruments.CONFIG_RELOAD_TIME, lambda: [(stats.read_at_s, {})])
        observers.observe(alerts_instruments.CONFIG_RELOADS, self._reloads)

    def _reloads(self) -> Values:
        yield self._stats.succeeded, {}
        for kind, count in self._stats.failed.copy().items():
            yield count, {"error.type": kind}
