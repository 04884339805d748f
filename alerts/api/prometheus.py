"""The Prometheus HTTP API: its routes, how requests are read and how errors are answered.

Clients that speak to Prometheus (Grafana, promtool, the client libraries) speak to these routes.
What an endpoint does is in the modules beside this one.

Source: Prometheus documentation, "HTTP API".
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from alerts.api.encoding import Answer, encode_error
from alerts.api.errors import APIError
from alerts.api.parameters import Parameters
from alerts.api.pool import QueryPool
from alerts.api.queries import Queries
from alerts.api.rules import FindRules, Rules
from alerts.api.series import MetadataSource, Series
from alerts.clock import Clock
from alerts.durations import format_duration
from alerts.model import format_time
from alerts.promql.engine import Engine
from alerts.promql.limits import QueryLimits
from alerts.series.store import SeriesStore

_log: Final = logging.getLogger(__name__)

API_VERSION: Final = "3.0.0"
"""The version of Prometheus whose API this is: clients ask for it and leave out what is newer."""

_FORM: Final = "application/x-www-form-urlencoded"

Endpoint = Callable[[Parameters, QueryLimits], Answer]
Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the process says about itself.

    Attributes:
        application: Name of the program.
        version: Its version.
        started_at_s: When it was started, in Unix seconds.
        retention_s: How long samples are kept, in seconds.
        flags: Settings by the names of Prometheus's flags, such as ``query.timeout``.
        hostname: Name of the machine.
        directory: The process's working directory.
    """

    application: str
    version: str
    started_at_s: float
    retention_s: float
    flags: Mapping[str, str]
    hostname: str = ""
    directory: str = ""


@dataclass(frozen=True, slots=True)
class PrometheusParts:
    """What the API shows.

    Attributes:
        engine: Evaluates queries.
        store: Where the series are.
        find_rules: Where the rules and alerts are; asked at each request.
        metadata: What is known about the metrics.
        pool: Runs what computes; whoever made it closes it.
        clock: The time of day.
        info: What the process says about itself.
    """

    engine: Engine
    store: SeriesStore
    find_rules: FindRules
    metadata: MetadataSource
    pool: QueryPool
    clock: Clock
    info: ServerInfo


def prometheus_routes(parts: PrometheusParts) -> list[web.RouteDef]:
    """Return the routes of the Prometheus API, below ``/api/v1``."""
    queries = Queries(parts.engine, parts.clock, parts.store.exemplars)
    series = Series(parts.store, parts.engine, parts.metadata)
    rules = Rules(parts.find_rules, parts.engine)
    status = _Status(parts)
    runner = _Runner(parts.pool)
    formed = {
        "query": queries.instant,
        "query_range": queries.range,
        "query_exemplars": queries.exemplars,
        "series": series.series,
        "labels": series.label_names,
    }
    computed = {"rules": rules.rules, "alerts": rules.alerts, "status/tsdb": series.statistics}
    quick = {
        "metadata": series.metadata,
        "status/buildinfo": status.build,
        "status/runtimeinfo": status.runtime,
        "status/flags": status.flags,
    }
    routes = []
    for path, endpoint in formed.items():
        handler = runner.in_pool(endpoint)
        routes += [web.get(f"/api/v1/{path}", handler), web.post(f"/api/v1/{path}", handler)]
    routes += [web.get(f"/api/v1/{path}", runner.in_pool(end)) for path, end in computed.items()]
    routes += [web.get(f"/api/v1/{path}", runner.at_once(end)) for path, end in quick.items()]
    routes.append(web.get("/api/v1/label/{name}/values", runner.for_label(series.label_values)))
    return routes


class _Runner:
    """Makes handlers of endpoints: reads parameters, finds a thread, wraps the answer."""

    def __init__(self, pool: QueryPool) -> None:
        self._pool = pool

    def in_pool(self, endpoint: Endpoint) -> Handler:
        """Return a handler that runs an endpoint in a thread."""

        async def answer(request: web.Request) -> bytes:
            return await self._run(endpoint, request)

        return _explained(answer)

    def for_label(self, endpoint: Callable[[str, Parameters, QueryLimits], Answer]) -> Handler:
        """Return a handler that runs an endpoint about the label in the path in a thread."""

        async def answer(request: web.Request) -> bytes:
            name = request.match_info["name"]
            return await self._run(
                lambda parameters, limits: endpoint(name, parameters, limits), request
            )

        return _explained(answer)

    def at_once(self, endpoint: Callable[[Parameters], Answer]) -> Handler:
        """Return a handler that calls an endpoint that takes no time."""

        async def answer(request: web.Request) -> bytes:
            return endpoint(await _parameters(request)).encode()

        return _explained(answer)

    async def _run(self, endpoint: Endpoint, request: web.Request) -> bytes:
        parameters = await _parameters(request)
        timeout_s = None
        if parameters.text("timeout"):
            timeout_s = max(0, parameters.duration_ms("timeout")) / 1000
        return await self._pool.run(
            lambda limits: endpoint(parameters, limits).encode(),
            timeout_s=timeout_s,
            is_abandoned=lambda: request.transport is None or request.transport.is_closing(),
        )


class _Status:
    """What the process says about itself."""

    def __init__(self, parts: PrometheusParts) -> None:
        self._info = parts.info
        self._clock = parts.clock

    def build(self, _parameters: Parameters) -> Answer:
        """Return the version. Grafana takes a server without ``features`` here for Prometheus."""
        return Answer(
            {
                "version": API_VERSION,
                "revision": "",
                "branch": "",
                "buildUser": "",
                "buildDate": "",
                "goVersion": "",
                "application": self._info.application,
                "applicationVersion": self._info.version,
            }
        )

    def runtime(self, _parameters: Parameters) -> Answer:
        """Return where and since when the process runs."""
        info = self._info
        return Answer(
            {
                "startTime": format_time(int(info.started_at_s * 1000)),
                "serverTime": format_time(int(self._clock.time() * 1000)),
                "CWD": info.directory,
                "hostname": info.hostname,
                "storageRetention": format_duration(info.retention_s),
            }
        )

    def flags(self, _parameters: Parameters) -> Answer:
        """Return the settings by the names of Prometheus's flags."""
        return Answer(dict(self._info.flags))


def _explained(answer: Callable[[web.Request], Awaitable[bytes]]) -> Handler:
    """Return a handler that answers errors in Prometheus's envelope, too."""

    async def handler(request: web.Request) -> web.Response:
        try:
            body, status = await answer(request), 200
        except APIError as error:
            body, status = encode_error(error), error.status
        except Exception as error:  # noqa: BLE001 - clients are promised an envelope; a defect of ours is logged with its traceback and answered as an internal error
            _log.error("%s broke", request.path, exc_info=error)
            problem = APIError("internal", f"{type(error).__name__}; the log says more")
            body, status = encode_error(problem), problem.status
        return web.Response(
            body=body,
            status=status,
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    return handler


async def _parameters(request: web.Request) -> Parameters:
    query = request.rel_url.raw_query_string
    if request.method != "POST" or request.content_type != _FORM:
        return Parameters(query)
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise APIError("bad_data", f"error parsing form values: {error.text}") from None
    return Parameters(body.decode(errors="replace"), query)
