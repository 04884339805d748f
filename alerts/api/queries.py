"""Endpoints that evaluate PromQL.

Source: Prometheus, web/api/v1/api.go (query, queryRange, queryExemplars).
"""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import Final

from alerts.api.encoding import Answer, encode_instant, encode_range, format_value
from alerts.api.errors import APIError
from alerts.api.parameters import TIME_BOUND_MS, Parameters, invalid
from alerts.clock import Clock
from alerts.promql.engine import Engine
from alerts.promql.errors import PromQLError, QueryCancelledError, QueryTimeoutError
from alerts.promql.limits import QueryLimits
from alerts.promql.plan import Query
from alerts.promql.values import InstantResult, RangeResult
from alerts.series.exemplars import Exemplars

TRUNCATED: Final = "results truncated due to limit"
"""The warning of an answer that has only the first of the results."""

_MAX_STEPS: Final = 11_000
_TYPE_NAMES: Final = {"matrix": "range vector", "string": "string"}


class Queries:
    """The endpoints; each reads its parameters, evaluates and encodes, off the event loop.

    Args:
        engine: Evaluates.
        clock: The time a query without one is evaluated at.
        exemplars: Measurements with traces.
    """

    def __init__(self, engine: Engine, clock: Clock, exemplars: Exemplars) -> None:
        self._engine = engine
        self._exemplars = exemplars
        self._clock = clock

    def instant(self, parameters: Parameters, limits: QueryLimits) -> Answer:
        """Evaluate at one time."""
        limit = parameters.limit()
        timestamp_ms = parameters.time_ms("time", int(self._clock.time() * 1000))
        lookback_s = _lookback_s(parameters)
        query = self._prepare(parameters)
        try:
            result = self._engine.instant(query, timestamp_ms, limits=limits, lookback_s=lookback_s)
            result = _first_of_instant(result, limit)
            data = encode_instant(result, limits.cancelled or Event())
        except PromQLError as error:
            raise _failure(error) from error
        return Answer(data, result.warnings, result.infos)

    def range(self, parameters: Parameters, limits: QueryLimits) -> Answer:
        """Evaluate over a range of times."""
        limit = parameters.limit()
        start_ms, end_ms, step_ms = _steps(parameters)
        lookback_s = _lookback_s(parameters)
        query = self._prepare(parameters)
        if query.kind in _TYPE_NAMES:
            raise invalid(
                "query",
                f'invalid expression type "{_TYPE_NAMES[query.kind]}" for range query, '
                "must be Scalar or instant Vector",
            )
        try:
            result = self._engine.range(
                query, start_ms, end_ms, step_ms, limits=limits, lookback_s=lookback_s
            )
            result = _first_of_range(result, limit)
            data = encode_range(result, limits.cancelled or Event())
        except PromQLError as error:
            raise _failure(error) from error
        return Answer(data, result.warnings, result.infos)

    def exemplars(self, parameters: Parameters, _limits: QueryLimits) -> Answer:
        """Return the exemplars of the series that the selectors of a query fit."""
        start_ms = parameters.bound_ms("start", -TIME_BOUND_MS)
        end_ms = parameters.bound_ms("end", TIME_BOUND_MS)
        if end_ms < start_ms:
            raise APIError("bad_data", "end timestamp must not be before start timestamp")
        query = self._prepare(parameters)
        return Answer(
            [
                {
                    "seriesLabels": dict(series),
                    "exemplars": [
                        {
                            "labels": dict(exemplar.labels),
                            "value": format_value(exemplar.value),
                            "timestamp": exemplar.timestamp_ms / 1000,
                        }
                        for exemplar in exemplars
                    ],
                }
                for series, exemplars in self._exemplars.select(query.selectors, start_ms, end_ms)
            ]
        )

    def _prepare(self, parameters: Parameters) -> Query:
        try:
            return self._engine.prepare(parameters.text("query"))
        except PromQLError as error:
            raise invalid("query", str(error)) from error


def _steps(parameters: Parameters) -> tuple[int, int, int]:
    start_ms = parameters.time_ms("start")
    end_ms = parameters.time_ms("end")
    if end_ms < start_ms:
        raise invalid("end", "end timestamp must not be before start time")
    step_ms = parameters.duration_ms("step")
    if step_ms <= 0:
        raise invalid(
            "step",
            "zero or negative query resolution step widths are not accepted. "
            "Try a positive integer",
        )
    if (end_ms - start_ms) // step_ms > _MAX_STEPS:
        raise APIError(
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)",
        )
    return start_ms, end_ms, step_ms


def _lookback_s(parameters: Parameters) -> float | None:
    if not parameters.text("lookback_delta"):
        return None
    lookback_ms = parameters.duration_ms("lookback_delta")
    return lookback_ms / 1000 if lookback_ms > 0 else None


def _first_of_instant(result: InstantResult, limit: int) -> InstantResult:
    if not limit or max(len(result.samples), len(result.series)) <= limit:
        return result
    return replace(
        result,
        samples=result.samples[:limit],
        series=result.series[:limit],
        warnings=(*result.warnings, TRUNCATED),
    )


def _first_of_range(result: RangeResult, limit: int) -> RangeResult:
    if not limit or len(result.series) <= limit:
        return result
    return replace(result, series=result.series[:limit], warnings=(*result.warnings, TRUNCATED))


def _failure(error: PromQLError) -> APIError:
    """Return the error of a query that was good but could not be answered."""
    if isinstance(error, QueryTimeoutError):
        return APIError("timeout", str(error))
    if isinstance(error, QueryCancelledError):
        return APIError("canceled", str(error))
    return APIError("execution", str(error))
