"""What one evaluation is given: where the series are, the steps, the settings and the limits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from alerts.promql.limits import Budget
from alerts.promql.memo import Memo
from alerts.promql.vectors import NAME_LABELS, Frame, Times, Vector, merge_equal_labels
from alerts.series.store import SeriesStore


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """One evaluation, or the inner one of a subquery.

    Attributes:
        store: Where the series are.
        memo: What earlier evaluations of the query worked out about labels.
        times_ms: ``(steps,)`` int64, the steps in Unix milliseconds, evenly spaced.
        start_ms: First step of the whole query, what ``@ start()`` means also in a subquery.
        end_ms: Last step of the whole query.
        lookback_ms: How old a sample an instant selector takes.
        subquery_step_ms: The step of subqueries that name none.
        delays_names: Whether names go when the query is done instead of in each operator.
        budget: What may still be loaded.
    """

    store: SeriesStore
    memo: Memo
    times_ms: Times
    start_ms: int
    end_ms: int
    lookback_ms: int
    subquery_step_ms: int
    delays_names: bool
    budget: Budget

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.times_ms)

    def at(self, times_ms: Times) -> Context:
        """Return the same evaluation at other steps."""
        return replace(self, times_ms=times_ms)

    def without_names(self, slot: int, vector: Vector) -> Vector:
        """Return the vector whose values are no longer the metrics they were taken from.

        Raises:
            PromQLError: Series that only their names told apart have samples at the same step.
        """

        def drop() -> Frame:
            labels = vector.frame.labels
            if self.delays_names:
                return Frame(labels, (True,) * len(labels))
            return Frame(label_set.drop(NAME_LABELS) for label_set in labels)

        frame = self.memo.recall((slot, "without names"), (vector.frame,), drop)
        return merge_equal_labels(Vector(frame, vector.values, vector.present))
