"""What one evaluation is given: where the series are, the steps, the settings and the limits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from alerts.promql.limits import Budget
from alerts.promql.memo import Memo
from alerts.promql.notes import Notes
from alerts.promql.spans import Span, resolve
from alerts.promql.vectors import NAME_LABELS, Frame, Times, Vector, merge_equal_labels
from alerts.series.store import SeriesStore


@dataclass(slots=True, eq=False)
class Context:
    """One evaluation, or the inner one of a subquery. Nobody changes it.

    It is not frozen, as there is one for every evaluation of a rule and making a frozen one takes
    thrice as long.

    Attributes:
        store: Where the series are.
        memo: What earlier evaluations of the query worked out about labels.
        times_ms: ``(steps,)`` int64, the steps in Unix milliseconds, evenly spaced.
        start_ms: First step of the whole query, what ``@ start()`` means also in a subquery.
        end_ms: Last step of the whole query.
        lookback_ms: How old a sample an instant selector takes.
        subquery_step_ms: The step of subqueries that name none.
        delays_names: Whether names go when the query is done instead of in each operator.
        step_ms: The step of the whole query, 0 for an instant query.
        budget: What may still be loaded, and for how long.
        notes: Where warnings and infos are collected.
    """

    store: SeriesStore
    memo: Memo
    times_ms: Times
    start_ms: int
    end_ms: int
    lookback_ms: int
    subquery_step_ms: int
    delays_names: bool
    step_ms: int
    budget: Budget
    notes: Notes

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.times_ms)

    def at(self, times_ms: Times) -> Context:
        """Return the same evaluation at other steps."""
        return replace(self, times_ms=times_ms)

    def milliseconds(self, span: Span) -> int:
        """Return how long a span is in this query.

        Raises:
            PromQLError: It is out of range, or not positive though it must be.
        """
        if isinstance(span, int):
            return span
        range_s = (self.end_ms - self.start_ms) / 1000
        return resolve(span, step_s=self.step_ms / 1000, range_s=range_s)

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

        name = ("without names", self.delays_names)
        frame = self.memo.share(slot, name, vector.frame, drop)
        return merge_equal_labels(Vector(frame, vector.values, vector.present))
