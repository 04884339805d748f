"""OpenTelemetry metrics under the names Prometheus knows them by.

One translation serves the ``/metrics`` page and the series store, so a rule that works on one
works on the other. The names of a series are made once and kept: translating the same series again
looks up one dictionary entry.

Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility"; unit ``1`` adds no
``_ratio``, as the Python exporter has it.
"""

from __future__ import annotations

import json
import logging
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal

from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)

FamilyType = Literal["counter", "gauge", "histogram", "info"]
Pairs = tuple[tuple[str, str], ...]

_logger = logging.getLogger(__name__)

_INVALID_NAME: Final = re.compile(r"[^a-zA-Z0-9:_]+")
_INVALID_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")
_UNDERSCORES: Final = re.compile(r"__+")
_ANNOTATION: Final = re.compile(r"\{[^}]*\}")
_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "kBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
    "1": "",
}
_PER_UNITS: Final = {
    "s": "second",
    "min": "minute",
    "m": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}
_LABEL_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def unit_suffix(unit: str) -> str:
    """Return the words a UCUM unit adds to a name; annotations such as ``{message}`` add none."""
    amount, _, per = _ANNOTATION.sub("", unit).partition("/")
    words = [_UNITS.get(amount, amount)] if amount else []
    if per:
        words += ["per", _PER_UNITS.get(per, per)]
    return _INVALID_NAME.sub("_", "_".join(word for word in words if word)).strip("_")


def metric_name(name: str, unit: str, *, counter: bool = False) -> str:
    """Return the Prometheus name of an instrument, with its unit and ``_total`` for counters."""
    translated = _UNDERSCORES.sub("_", _INVALID_NAME.sub("_", name)).rstrip("_")
    if translated[:1].isdigit():
        translated = f"_{translated}"
    suffix = unit_suffix(unit)
    if counter:
        translated = translated.removesuffix("_total")
    if suffix and not f"_{translated}".endswith(f"_{suffix}"):
        translated = f"{translated}_{suffix}"
    return f"{translated}_total" if counter else translated


def label_pairs(attributes: Mapping[str, object]) -> Pairs:
    """Return attributes as labels, sorted by name; empty values are left out.

    Attributes whose names become the same label are joined with ``;``, in the order of their
    own names, as the specification demands.
    """
    values: dict[str, list[str]] = {}
    for key in sorted(attributes):
        name = _INVALID_LABEL.sub("_", key)
        if not name or name[0].isdigit():
            name = f"_{name}"
        values.setdefault(name, []).append(_label_value(attributes[key]))
    joined = ((name, ";".join(parts)) for name, parts in values.items())
    return tuple(sorted((name, value) for name, value in joined if value))


def _label_value(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return json.dumps(list(value), default=str)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def escape_label_value(value: str) -> str:
    """Return a label value as it stands between double quotes."""
    return value.translate(_LABEL_ESCAPES)


def format_value(value: float) -> str:
    """Return a number as the text formats write it."""
    if value != value:  # noqa: PLR0124 - faster than math.isnan, which an int of any size defeats
        return "NaN"
    if value in (math.inf, -math.inf):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


@dataclass(frozen=True, slots=True)
class SampleName:
    """One sample line without its value.

    Attributes:
        name: Name of the sample, such as ``x_bucket``.
        labels: Sorted by name.
        prefix: The line up to the value, with the space before it.
    """

    name: str
    labels: Pairs
    prefix: str

    @classmethod
    def create(cls, name: str, labels: Pairs) -> SampleName:
        """Render the prefix."""
        inside = ",".join(f'{key}="{escape_label_value(value)}"' for key, value in labels)
        return cls(name, labels, f"{name}{{{inside}}} " if inside else f"{name} ")


@dataclass(frozen=True, slots=True, eq=False)
class SeriesNames:
    """The samples one data point becomes; the same object every time the point is translated.

    Attributes:
        attributes: Of the data point. Held so that its identity stays its own.
        labels: Of the point, without ``le``.
        samples: One per value: the value itself, or a histogram's buckets, sum and count.
    """

    attributes: object
    labels: Pairs
    samples: tuple[SampleName, ...]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A measurement of a bucket with the trace it was made in.

    Attributes:
        bucket: Index of the bucket's sample.
        labels: trace_id and span_id.
        value: What was measured.
        timestamp_s: When, in Unix seconds.
    """

    bucket: int
    labels: Pairs
    value: float
    timestamp_s: float


@dataclass(frozen=True, slots=True)
class Point:
    """One data point: values in the order of ``series.samples``."""

    series: SeriesNames
    values: Sequence[float]
    exemplars: tuple[Exemplar, ...] = ()


@dataclass(slots=True)
class Family:
    """A metric family and the names of its series.

    Attributes:
        name: With unit and, for counters, ``_total``.
        type: Prometheus type.
        help: What it measures.
        unit: The unit in the name, empty when there is none.
        owner: Scope and name of the instrument it translates.
    """

    name: str
    type: FamilyType
    help: str
    unit: str
    owner: tuple[str, str]
    _by_identity: dict[int, SeriesNames] = field(default_factory=dict)
    _by_labels: dict[Pairs, SeriesNames] = field(default_factory=dict)

    def series(
        self,
        attributes: Mapping[str, object],
        name_samples: Callable[[Pairs], Iterable[SampleName]],
    ) -> SeriesNames | None:
        """Return the names for attributes; None when other attributes have the same labels.

        The SDK hands out the same attributes object for a series at every collection, so its
        identity is looked up first. Another object with the same content is found by its labels.
        """
        known = self._by_identity.get(id(attributes))
        if known is not None:
            return known
        labels = label_pairs(attributes)
        known = self._by_labels.get(labels)
        if known is not None:
            return known if known.attributes == attributes else None
        names = SeriesNames(attributes, labels, tuple(name_samples(labels)))
        self._by_identity[id(attributes)] = self._by_labels[labels] = names
        return names


@dataclass(frozen=True, slots=True)
class FamilyPoints:
    """A family with what it holds at one collection."""

    family: Family
    points: list[Point]


class Translator:
    """Translates one process's collections; keeps the names it made.

    Not safe for use by several threads at once.
    """

    def __init__(self, resource: Mapping[str, object]) -> None:
        """Take the attributes of the resource, which become ``target_info``."""
        self._families: dict[str, Family] = {}
        self._names: dict[tuple[str, str, bool], str] = {}
        self._refused: set[tuple[str, str]] = set()
        info = Family("target_info", "info", "What produced these metrics.", "", ("", ""))
        names = info.series(resource, lambda labels: [SampleName.create("target_info", labels)])
        self._info = FamilyPoints(info, [Point(names, (1.0,))] if names else [])
        self._families[info.name] = info

    def translate(self, data: MetricsData) -> list[FamilyPoints]:
        """Return the families of a collection, in the order of their instruments.

        A metric whose name an instrument of another kind or scope took first, or whose kind the
        text formats do not have (exponential histograms), is left out and named in the log once.
        """
        found = [self._info]
        for resource_metrics in data.resource_metrics:
            for scope_metrics in resource_metrics.scope_metrics:
                for metric in scope_metrics.metrics:
                    family = self._family((scope_metrics.scope.name, metric.name), metric)
                    if family is not None:
                        found.append(FamilyPoints(family, list(_points(family, metric))))
        return found

    def _family(self, owner: tuple[str, str], metric: Metric) -> Family | None:
        kind = _family_type(metric)
        unit = metric.unit or ""
        name = self._name(metric.name, unit, kind == "counter")
        family = self._families.get(name)
        if family is not None and family.owner == owner and family.type == kind:
            return family
        if kind is None or family is not None:
            self._refuse(owner, metric, family)
            return None
        suffix = unit_suffix(unit)
        stem = name.removesuffix("_total")
        family = Family(
            name, kind, metric.description or "", suffix if stem.endswith(suffix) else "", owner
        )
        self._families[name] = family
        return family

    def _name(self, name: str, unit: str, is_counter: bool) -> str:
        key = (name, unit, is_counter)
        known = self._names.get(key)
        if known is None:
            known = self._names[key] = metric_name(name, unit, counter=is_counter)
        return known

    def _refuse(self, owner: tuple[str, str], metric: Metric, taken: Family | None) -> None:
        if owner in self._refused:
            return
        self._refused.add(owner)
        if taken is None:
            _logger.warning(
                "Metric %s is not shown: %s has no Prometheus form here; use an explicit-bucket "
                "histogram, a counter or a gauge.",
                metric.name,
                type(metric.data).__name__,
            )
        else:
            _logger.warning(
                "Metric %s of %s is not shown: the name %s belongs to %s of %s; rename one.",
                metric.name,
                owner[0],
                taken.name,
                taken.owner[1],
                taken.owner[0],
            )


def _family_type(metric: Metric) -> FamilyType | None:
    match metric.data:
        case Histogram():
            return "histogram"
        case Sum(is_monotonic=True):
            return "counter"
        case Sum() | Gauge():
            return "gauge"
        case _:
            return None


def _points(family: Family, metric: Metric) -> Iterable[Point]:
    for point in metric.data.data_points:
        attributes: Mapping[str, object] = {} if point.attributes is None else point.attributes
        if isinstance(point, HistogramDataPoint):
            yield from _histogram_point(family, point, attributes)
        elif isinstance(point, NumberDataPoint):
            series = family.series(
                attributes, lambda labels: [SampleName.create(family.name, labels)]
            )
            if series is not None:
                yield Point(series, (point.value,))


def _histogram_point(
    family: Family, point: HistogramDataPoint, attributes: Mapping[str, object]
) -> Iterable[Point]:
    bounds = point.explicit_bounds
    series = family.series(attributes, lambda labels: _histogram_samples(family, labels, bounds))
    if series is None:
        return
    values = [*accumulate(point.bucket_counts), point.sum, point.count]
    exemplars = tuple(
        Exemplar(
            bisect_left(bounds, exemplar.value),
            (("span_id", f"{exemplar.span_id:016x}"), ("trace_id", f"{exemplar.trace_id:032x}")),
            exemplar.value,
            exemplar.time_unix_nano / 1e9,
        )
        for exemplar in point.exemplars
        if exemplar.trace_id and exemplar.span_id
    )
    yield Point(series, values, exemplars)


def _histogram_samples(
    family: Family, labels: Pairs, bounds: Sequence[float]
) -> Iterable[SampleName]:
    """Name the buckets, the sum and the count; bounds are written as floats: ``le="1.0"``."""
    for bound in (*bounds, math.inf):
        le = ("le", format_value(float(bound)))
        yield SampleName.create(f"{family.name}_bucket", tuple(sorted((*labels, le))))
    yield SampleName.create(f"{family.name}_sum", labels)
    yield SampleName.create(f"{family.name}_count", labels)
