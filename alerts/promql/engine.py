"""The engine: prepares expressions once, evaluates them at an instant or over a range."""

from __future__ import annotations

from alerts.promql.plan import Query
from alerts.promql.values import InstantResult, RangeResult, Sample
from alerts.series.store import SeriesStore


class Engine:
    """Evaluates PromQL over a series store. Safe to use from several threads.

    Args:
        store: Where the series are.
        lookback_s: How old a sample an instant selector still takes, in seconds.
        max_samples: Samples one query may load before it is refused.
    """

    def __init__(
        self, store: SeriesStore, *, lookback_s: float = 300.0, max_samples: int = 50_000_000
    ) -> None:
        raise NotImplementedError

    def prepare(self, expression: str) -> Query:
        """Parse, check and plan an expression; remembered for the next time.

        Raises:
            PromQLError: The expression is wrong or uses what is not covered.
        """
        raise NotImplementedError

    def instant(self, query: Query, timestamp_ms: int) -> InstantResult:
        """Evaluate at one time.

        Raises:
            PromQLError: The data does not allow it (duplicate label sets, too many samples, ...).
        """
        raise NotImplementedError

    def instant_vector(self, query: Query, timestamp_ms: int) -> tuple[Sample, ...]:
        """Evaluate at one time for a rule: a scalar becomes one sample without labels.

        Raises:
            PromQLError: As ``instant``; or the query gives neither a vector nor a scalar.
        """
        raise NotImplementedError

    def range(self, query: Query, start_ms: int, end_ms: int, step_ms: int) -> RangeResult:
        """Evaluate at ``start_ms``, ``start_ms + step_ms``, ... up to ``end_ms``.

        Raises:
            PromQLError: As ``instant``; or the query gives neither a vector nor a scalar.
        """
        raise NotImplementedError
