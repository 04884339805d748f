"""Plain integers of the parts, read as observable instruments when metrics are collected.

The hot path increments slots of a ``stats`` object; nothing of OpenTelemetry is touched there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from alerts.telemetry import InstrumentDefinition
from service.telemetry.views import MetricViews, SeriesLimit

Read = Callable[[], Iterable[tuple[float, Mapping[str, str]]]]
"""Returns the values of an instrument, each with its attributes.

Runs on the collector's thread while the event loop runs: it must do nothing but read numbers and
copy dictionaries (``list(d.items())`` first, then iterate), never wait, lock or call the loop.
"""


class Observers:
    """Registers what parts let others read, on one meter."""

    def __init__(self, meter: Meter, views: MetricViews | None = None) -> None:
        """Register on ``meter``; ``views`` say what is different about some metrics."""
        self._meter = meter
        self._views = views or MetricViews()
        self._instruments: dict[str, _Observed] = {}

    def observe(self, definition: InstrumentDefinition, read: Read) -> Callable[[], None]:
        """Report what ``read`` returns at every collection.

        Several parts may observe the same definition, each with attributes of its own; the values
        of equal attributes do not add up, the last one stays.

        Args:
            definition: A counter, up-down counter or gauge.
            read: See ``Read``. If it raises, this instrument is missing from that collection.

        Returns:
            Stops the reading when called, for parts that end before the process does.

        Raises:
            ValueError: The definition is a histogram: those are recorded, not observed.
        """
        observed = self._instruments.get(definition.name)
        if observed is None:
            observed = _Observed(definition, self._views.limit(definition.name))
            if not self._views.is_dropped(definition.name):
                _create(self._meter, definition, observed)
            self._instruments[definition.name] = observed
        return observed.add(read)


class _Observed:
    """The callback of one instrument."""

    def __init__(self, definition: InstrumentDefinition, limit: SeriesLimit) -> None:
        self._sums = definition.kind != "gauge"
        self._limit = limit
        self._reads: tuple[Read, ...] = ()

    def add(self, read: Read) -> Callable[[], None]:
        # The collector's thread iterates the tuple: it is replaced, never changed.
        self._reads = (*self._reads, read)

        def remove() -> None:
            self._reads = tuple(other for other in self._reads if other is not read)

        return remove

    def __call__(self, _options: CallbackOptions) -> Iterable[Observation]:
        # What a view or the limit brings together adds up, unless it is a gauge.
        together: dict[tuple[tuple[str, str], ...], float] = {}
        for read in self._reads:
            for value, attributes in read():
                kept = self._limit.keep(attributes)
                if kept is attributes:
                    yield Observation(value, attributes)
                    continue
                key = tuple(kept.items())
                together[key] = value + (together.get(key, 0) if self._sums else 0)
        for key, value in together.items():
            attributes_together: dict[str, Any] = dict(key)
            yield Observation(value, attributes_together)


def _create(meter: Meter, definition: InstrumentDefinition, observed: _Observed) -> None:
    """Create the observable instrument; the meter keeps it."""
    create = {
        "counter": meter.create_observable_counter,
        "up_down_counter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }.get(definition.kind)
    if create is None:
        raise ValueError(f"{definition.name} is a {definition.kind}: record it, do not observe it")
    create(
        definition.name,
        callbacks=[observed],
        unit=definition.unit,
        description=definition.description,
    )
