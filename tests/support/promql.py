"""Series written as text, and answers as plain dictionaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.promql.plan import prepare
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore

GAP = None
"""No sample at this place of a series."""


def labels(text: str) -> Labels:
    """Return the labels that a selector such as ``up{job="a"}`` requires by equality."""
    query = prepare(text)
    return Labels((matcher.name, matcher.value) for matcher in query.selectors[0])


def loaded(
    series: Mapping[str, Sequence[float | None]],
    *,
    step_s: float = 60,
    delays_name_removal: bool = False,
    max_samples: int = 1_000_000,
) -> Engine:
    """Return an engine over series with one value every ``step_s`` seconds from time 0."""
    store = SeriesStore(clock=ManualClock(0.0), retention_s=1e6)
    for name, values in series.items():
        # A source each: a gap is then a collection that did not take place, not the series' end.
        source = store.source(name)
        for at, value in enumerate(values):
            if value is not GAP:
                source.append(round(at * step_s * 1000), [(labels(name), value)])
    return Engine(store, delays_name_removal=delays_name_removal, max_samples=max_samples)


def at(engine: Engine, expression: str, seconds: float) -> dict[str, float]:
    """Evaluate at one time; label sets are written as PromQL writes them."""
    result = engine.instant(engine.prepare(expression), round(seconds * 1000))
    return {repr(sample.labels): sample.value for sample in result.samples}


def scalar_at(engine: Engine, expression: str, seconds: float = 0) -> float:
    """Evaluate a scalar, or a vector of one sample."""
    (value,) = at(engine, expression, seconds).values()
    return value


def over(
    engine: Engine, expression: str, start_s: float, end_s: float, step_s: float
) -> dict[str, dict[float, float]]:
    """Evaluate over a range; values by label set and by second."""
    result = engine.range(
        engine.prepare(expression), *(round(s * 1000) for s in (start_s, end_s, step_s))
    )
    return {
        repr(points.labels): {
            ms / 1000: value
            for ms, value in zip(points.timestamps_ms.tolist(), points.values.tolist(), strict=True)
        }
        for points in result.series
    }


def same(one: float, other: float) -> bool:
    """Tell whether two floats are equal, NaN being equal to NaN."""
    return one == other or (math.isnan(one) and math.isnan(other))
