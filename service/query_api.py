"""The Prometheus HTTP API on the operations listener: what the process hands to it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from pathlib import Path

from aiohttp import web

from alerts.api.pool import QueryPool
from alerts.api.prometheus import PrometheusParts, ServerInfo, prometheus_routes
from alerts.api.rules import FindRules
from alerts.api.series import MetricMetadata
from alerts.clock import Clock
from alerts.durations import format_duration
from alerts.promql.engine import Engine
from alerts.series.store import SeriesStore
from service import __version__
from service.config.settings import Settings
from service.telemetry.collection import Collection


def query_routes(
    settings: Settings,
    *,
    engine: Engine,
    store: SeriesStore,
    find_rules: FindRules,
    collection: Collection,
    received: Callable[[], Iterable[MetricMetadata]],
    pool: QueryPool,
    clock: Clock,
) -> list[web.RouteDef]:
    """Return the routes below ``/api/v1``.

    ``find_rules`` gives None until rules are there, ``received`` the metrics of other services.
    """

    def metadata() -> Iterable[MetricMetadata]:
        latest = collection.latest
        for each in latest.families if latest is not None else ():
            family = each.family
            yield MetricMetadata(family.name, family.type, family.help, family.unit)
        yield from received()

    alerts = settings.alerts
    info = ServerInfo(
        application="gatewatch",
        version=__version__,
        started_at_s=clock.time(),
        retention_s=alerts.retention,
        flags={
            "storage.tsdb.retention.time": format_duration(alerts.retention),
            "rules.evaluation-interval": format_duration(alerts.evaluation_interval),
            "enable-feature": ",".join(alerts.promql_features),
        },
        hostname=platform.node(),
        directory=str(Path.cwd()),
    )
    parts = PrometheusParts(
        engine=engine,
        store=store,
        find_rules=find_rules,
        metadata=metadata,
        pool=pool,
        clock=clock,
        info=info,
    )
    return prometheus_routes(parts)
