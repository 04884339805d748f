"""The engine: prepares expressions once, evaluates them at an instant or over a range."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import numpy as np

from alerts.clock import Clock, SystemClock
from alerts.promql import plan
from alerts.promql.context import Context
from alerts.promql.errors import PromQLError
from alerts.promql.evaluator import Value, evaluate, windows
from alerts.promql.features import DELAYED_NAME_REMOVAL
from alerts.promql.limits import Budget, QueryLimits
from alerts.promql.notes import Notes
from alerts.promql.plan import Query
from alerts.promql.text import readable
from alerts.promql.values import InstantResult, RangeResult, Sample, SeriesPoints
from alerts.promql.vectors import Times, Vector, merge_equal_labels
from alerts.series.bits import is_absent
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore

_REMEMBERED_QUERIES: Final = 4_096


class Engine:
    """Evaluates PromQL over a series store. Safe to use from several threads.

    Args:
        store: Where the series are.
        lookback_s: How old a sample an instant selector still takes, in seconds.
        max_samples: Samples one query may load before it is refused.
        subquery_step_s: The step of subqueries that name none, in seconds.
        delays_name_removal: Take the metric name off results when the query is done instead of
            in each operator; the feature ``promql-delayed-name-removal`` does the same.
        features: Features that are enabled, those of ``alerts.promql.features``.
        clock: Tells how long a query has taken; the machine's when not given.
    """

    def __init__(
        self,
        store: SeriesStore,
        *,
        lookback_s: float = 300.0,
        max_samples: int = 50_000_000,
        subquery_step_s: float = 60.0,
        delays_name_removal: bool = False,
        features: Collection[str] = frozenset(),
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._lookback_ms = round(lookback_s * 1000)
        self._max_samples = max_samples
        self._subquery_step_ms = round(subquery_step_s * 1000)
        self._delays_names = delays_name_removal or DELAYED_NAME_REMOVAL in features
        self._features = frozenset(features)
        self._clock: Clock = clock or SystemClock()
        self._queries: OrderedDict[str, Query] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, expression: str) -> Query:
        """Parse, check and plan an expression; remembered for the next time.

        Raises:
            PromQLError: The expression is wrong or uses what is not covered.
        """
        with self._lock:
            query = self._queries.get(expression)
            if query is not None:
                self._queries.move_to_end(expression)
                return query
        query = plan.prepare(expression, self._features)
        with self._lock:
            self._queries[expression] = query
            if len(self._queries) > _REMEMBERED_QUERIES:
                self._queries.popitem(last=False)
        return query

    def instant(
        self,
        query: Query,
        timestamp_ms: int,
        *,
        limits: QueryLimits | None = None,
        lookback_s: float | None = None,
    ) -> InstantResult:
        """Evaluate at one time.

        Args:
            query: What to evaluate.
            timestamp_ms: When.
            limits: What this query may cost, within what the engine allows.
            lookback_s: How old a sample an instant selector takes, when not as the engine says.

        Raises:
            PromQLError: The data does not allow it (duplicate label sets, too many samples, ...).
            QueryTimeoutError: Its time was up.
            QueryCancelledError: It was cancelled.
        """
        times = np.array([timestamp_ms], dtype=np.int64)
        context = self._context(query, times, limits, lookback_s)
        if query.kind == "matrix":
            return self._matrix(query, context)
        value = self._evaluate(query, context)
        warnings, infos = context.notes.texts(query.expression)
        if isinstance(value, str):
            return InstantResult("string", timestamp_ms, text=readable(value))
        if isinstance(value, Vector):
            samples = _samples(value)
            return InstantResult("vector", timestamp_ms, samples, warnings=warnings, infos=infos)
        scalar = (Sample(Labels(), float(value[0])),)
        return InstantResult("scalar", timestamp_ms, scalar, warnings=warnings, infos=infos)

    def instant_vector(
        self, query: Query, timestamp_ms: int, *, limits: QueryLimits | None = None
    ) -> tuple[Sample, ...]:
        """Evaluate at one time for a rule: a scalar becomes one sample without labels.

        Args:
            query: What to evaluate.
            timestamp_ms: When.
            limits: As ``instant``.

        Raises:
            PromQLError: As ``instant``; or the query gives neither a vector nor a scalar.
        """
        _require_numbers(query)
        times = np.array([timestamp_ms], dtype=np.int64)
        value = self._evaluate(query, self._context(query, times, limits, None))
        if isinstance(value, Vector):
            return _samples(value)
        return (Sample(Labels(), float(value[0])),)

    def range(
        self,
        query: Query,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        limits: QueryLimits | None = None,
        lookback_s: float | None = None,
    ) -> RangeResult:
        """Evaluate at ``start_ms``, ``start_ms + step_ms``, ... up to ``end_ms``.

        Args:
            query: What to evaluate.
            start_ms: The first time.
            end_ms: The last time, when the step meets it.
            step_ms: How far apart the times are.
            limits: As ``instant``.
            lookback_s: As ``instant``.

        Raises:
            PromQLError: As ``instant``; or the query gives neither a vector nor a scalar; or the
                step is not positive, or the end before the start.
        """
        _require_numbers(query)
        if step_ms <= 0:
            raise PromQLError(f"the step must be positive, not {step_ms} ms")
        if end_ms < start_ms:
            raise PromQLError(f"the end, {end_ms} ms, is before the start, {start_ms} ms")
        steps = (end_ms - start_ms) // step_ms + 1
        # Refused before the steps themselves take the memory.
        Budget(self._max_samples, limits, self._clock).take(steps)
        times = np.arange(steps, dtype=np.int64) * step_ms + start_ms
        context = self._context(query, times, limits, lookback_s, step_ms)
        value = self._evaluate(query, context)
        warnings, infos = context.notes.texts(query.expression)
        if isinstance(value, Vector):
            return RangeResult(_series(value, times), warnings, infos)
        scalar = np.broadcast_to(np.asarray(value, dtype=np.float64), times.shape)
        return RangeResult((SeriesPoints(Labels(), times, scalar),), warnings, infos)

    def _context(
        self,
        query: Query,
        times: Times,
        limits: QueryLimits | None,
        lookback_s: float | None,
        step_ms: int = 0,
    ) -> Context:
        return Context(
            self._store,
            query.memo,
            times,
            int(times[0]),
            int(times[-1]),
            self._lookback_ms if lookback_s is None else round(lookback_s * 1000),
            self._subquery_step_ms,
            self._delays_names,
            step_ms,
            Budget(self._max_samples, limits, self._clock),
            Notes(),
        )

    def _evaluate(self, query: Query, context: Context) -> Value:
        # Division by zero and the like are ordinary results in PromQL.
        with np.errstate(all="ignore"):
            value = evaluate(query.root, context)
        if isinstance(value, Vector):
            return _named(value)
        return value

    def _matrix(self, query: Query, context: Context) -> InstantResult:
        """Return the raw samples of a range selector, or those a subquery comes to."""
        with np.errstate(all="ignore"):
            cut = windows(query.root, context)
        after_ms, until_ms = int(cut.ends_ms[0]) - cut.range_ms, int(cut.ends_ms[0])
        labels = cut.frame.final().labels
        found: list[SeriesPoints] = []
        for block in cut.blocks:
            inside = (block.times_ms > after_ms) & (block.times_ms <= until_ms)
            block_times, values = block.times_ms[inside], block.values[inside]
            present = ~is_absent(values)
            rows = np.arange(len(labels))[block.positions].tolist()
            for column, row in enumerate(rows):
                there = present[:, column]
                if there.any():
                    found.append(
                        SeriesPoints(labels[row], block_times[there], values[there, column])
                    )
        found.sort(key=lambda points: points.labels)
        warnings, infos = context.notes.texts(query.expression)
        return InstantResult(
            "matrix",
            int(context.times_ms[0]),
            series=tuple(found),
            warnings=warnings,
            infos=infos,
        )


def _require_numbers(query: Query) -> None:
    if query.kind not in ("vector", "scalar"):
        name = {"matrix": "range vector", "string": "string"}[query.kind]
        raise PromQLError(
            f"the expression gives a {name}, but an instant vector or a scalar is needed",
            expression=query.expression,
        )


def _named(vector: Vector) -> Vector:
    """Take off the names that were to go when the query is done."""
    if vector.frame.nameless is None:
        return vector
    return merge_equal_labels(Vector(vector.frame.final(), vector.values, vector.present))


def _samples(vector: Vector) -> tuple[Sample, ...]:
    labels: Sequence[Labels] = vector.frame.labels
    values, rows = vector.values[:, 0], vector.present[:, 0].nonzero()[0]
    if not len(rows):
        return ()
    if len(rows) != len(labels):
        labels = [labels[row] for row in rows.tolist()]
        values = values[rows]
    # What Sample(...) does, without a frame of Python for each of them.
    make = partial(tuple.__new__, Sample)
    return tuple(map(make, zip(labels, values.tolist(), strict=True)))


def _series(vector: Vector, times: Times) -> tuple[SeriesPoints, ...]:
    merged = merge_equal_labels(vector)
    found = []
    for row in np.flatnonzero(merged.present.any(axis=1)).tolist():
        there = merged.present[row]
        points = SeriesPoints(merged.frame.labels[row], times[there], merged.values[row][there])
        found.append(points)
    found.sort(key=lambda points: points.labels)
    return tuple(found)
