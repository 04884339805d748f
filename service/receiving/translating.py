"""Received data points as samples of series, under the names Prometheus knows them by.

Owns what one data point becomes, and why some become nothing. Where and when the samples are
stored is not decided here.

Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility"; as in the process's
own metrics, unit ``1`` adds no ``_ratio`` and scopes add no labels.
"""

from __future__ import annotations

import base64
import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, Literal

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as otlp

from alerts.series.exemplars import Exemplar
from alerts.series.labels import METRIC_NAME, Labels
from service.telemetry.prometheus import format_value, label_pairs, metric_name

RefusedPoint = Literal[
    "delta_temporality",
    "exponential_histogram",
    "no_data",
    "no_value",
    "bad_buckets",
    "bad_name",
    "too_many_attributes",
    "too_many_buckets",
    "too_long_attribute",
    "out_of_bounds",
    "out_of_order",
    "duplicate",
    "series_limit",
    "own_series",
]
"""Why a data point was not taken; fit for a metric attribute."""

MAX_BUCKETS: Final = 500
"""Buckets of one histogram, and quantiles of one summary, at most."""

_NO_RECORDED_VALUE: Final = otlp.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_CUMULATIVE: Final = otlp.AGGREGATION_TEMPORALITY_CUMULATIVE
_MAX_DEPTH: Final = 4
_MAX_EXEMPLARS: Final = 32
_MAX_NAME: Final = 255
_LEFT_OF_A_NAME: Final = re.compile("[a-zA-Z0-9]")
"""What translation leaves of a name, but for underscores."""

DataPoint = otlp.NumberDataPoint | otlp.HistogramDataPoint | otlp.SummaryDataPoint


class PointError(Exception):
    """A data point, or all of a metric, that becomes nothing.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: RefusedPoint) -> None:
        self.reason: RefusedPoint = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class AttributeLimits:
    """How much may hang on one data point.

    Attributes:
        count: Attributes.
        length: Characters of a name or a value.
    """

    count: int
    length: int


@dataclass(frozen=True, slots=True)
class TranslatedPoint:
    """The samples of one data point.

    Attributes:
        metric: The metric's own name.
        timestamp_ns: When, in Unix nanoseconds.
        key: What identifies the point among those of its target.
        samples: Series and values; empty when there is no recorded value.
        exemplars: Measurements with traces, each with its series.
    """

    metric: str
    timestamp_ns: int
    key: Labels
    samples: tuple[tuple[Labels, float], ...]
    exemplars: tuple[tuple[Labels, Exemplar], ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A metric as its points need it.

    Attributes:
        metric: Its own name.
        name: Translated.
        type: Prometheus type.
        points: The data points.
    """

    metric: str
    name: str
    type: Literal["counter", "gauge", "histogram", "summary"]
    points: Sequence[DataPoint]


def count_points(metric: otlp.Metric) -> int:
    """Return how many data points a metric has, of whatever kind."""
    kind = metric.WhichOneof("data")
    return len(getattr(metric, kind).data_points) if kind else 0


def translate_family(metric: otlp.Metric) -> Family:
    """Return the family a metric becomes.

    Raises:
        PointError: None of its points can be taken.
    """
    if not metric.name or len(metric.name) > _MAX_NAME or len(metric.unit) > _MAX_NAME:
        raise PointError("bad_name")
    if not _LEFT_OF_A_NAME.search(metric.name):
        raise PointError("bad_name")
    name = metric_name(metric.name, metric.unit)
    match metric.WhichOneof("data"):
        case "gauge":
            return Family(metric.name, name, "gauge", metric.gauge.data_points)
        case "summary":
            return Family(metric.name, name, "summary", metric.summary.data_points)
        case "sum":
            _require_cumulative(metric.sum.aggregation_temporality)
            if metric.sum.is_monotonic:
                total = metric_name(metric.name, metric.unit, counter=True)
                return Family(metric.name, total, "counter", metric.sum.data_points)
            return Family(metric.name, name, "gauge", metric.sum.data_points)
        case "histogram":
            _require_cumulative(metric.histogram.aggregation_temporality)
            return Family(metric.name, name, "histogram", metric.histogram.data_points)
        case "exponential_histogram":
            raise PointError("exponential_histogram")
        case _:
            raise PointError("no_data")


def translate_point(
    family: Family, point: DataPoint, target: Labels, limits: AttributeLimits
) -> TranslatedPoint:
    """Return the samples of a data point.

    Args:
        family: What it is a point of.
        point: The point.
        target: ``job`` and ``instance``; an attribute of that name is kept as ``exported_``.
        limits: How many attributes it may have.

    Raises:
        PointError: It cannot be taken.
    """
    attributes = translate_attributes(point.attributes, limits)
    own = {
        f"exported_{name}" if name in target else name: value
        for name, value in attributes.items()
        if name != METRIC_NAME
    }
    base = Labels({METRIC_NAME: family.name, **own, **target})
    if point.flags & _NO_RECORDED_VALUE:
        return TranslatedPoint(family.metric, point.time_unix_nano, base, ())
    if isinstance(point, otlp.NumberDataPoint):
        return _number(family, point, base)
    if isinstance(point, otlp.HistogramDataPoint):
        return _histogram(family, point, base)
    return _summary(family, point, base)


def translate_attributes(attributes: Iterable[KeyValue], limits: AttributeLimits) -> dict[str, str]:
    """Return attributes as labels.

    Raises:
        PointError: There are too many, or one is too long.
    """
    plain: dict[str, object] = {}
    for number, attribute in enumerate(attributes):
        if number >= limits.count:
            raise PointError("too_many_attributes")
        plain[attribute.key] = _plain(attribute.value, limits, _MAX_DEPTH)
    labels = dict(label_pairs(plain))
    if any(
        len(name) > limits.length or len(value) > limits.length for name, value in labels.items()
    ):
        raise PointError("too_long_attribute")
    return labels


def _plain(value: AnyValue, limits: AttributeLimits, depth: int) -> object:
    """Return a value as Python has it; a mapping, and bytes, as the text they are shown as."""
    kind = value.WhichOneof("value")
    match kind:
        case "array_value":
            items = value.array_value.values
            _require_small(len(items), limits, depth)
            return [_plain(item, limits, depth - 1) for item in items]
        case "kvlist_value":
            pairs = value.kvlist_value.values
            _require_small(len(pairs), limits, depth)
            return json.dumps({pair.key: _plain(pair.value, limits, depth - 1) for pair in pairs})
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case None:
            return ""
        case _:
            plain: object = getattr(value, kind)
            return plain


def _require_small(size: int, limits: AttributeLimits, depth: int) -> None:
    if size > limits.count or depth == 0:
        raise PointError("too_long_attribute")


def _require_cumulative(temporality: int) -> None:
    if temporality != _CUMULATIVE:
        raise PointError("delta_temporality")


def _number(family: Family, point: otlp.NumberDataPoint, series: Labels) -> TranslatedPoint:
    match point.WhichOneof("value"):
        case "as_double":
            value = point.as_double
        case "as_int":
            value = float(point.as_int)
        case _:
            raise PointError("no_value")
    exemplars = tuple((series, exemplar) for exemplar in _exemplars(point.exemplars))
    return TranslatedPoint(
        family.metric, point.time_unix_nano, series, ((series, value),), exemplars
    )


def _histogram(family: Family, point: otlp.HistogramDataPoint, base: Labels) -> TranslatedPoint:
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    if len(bounds) > MAX_BUCKETS:
        raise PointError("too_many_buckets")
    if not counts and not bounds:
        counts = [point.count]  # only sum and count are kept
    ascend = all(low < high for low, high in pairwise((*bounds, math.inf)))
    if len(counts) != len(bounds) + 1 or not ascend:
        raise PointError("bad_buckets")
    buckets = [
        base.merge({METRIC_NAME: f"{family.name}_bucket", "le": format_value(float(bound))})
        for bound in (*bounds, math.inf)
    ]
    samples = [
        (series, float(total)) for series, total in zip(buckets, accumulate(counts), strict=True)
    ]
    if point.HasField("sum"):
        samples.append((base.merge({METRIC_NAME: f"{family.name}_sum"}), point.sum))
    samples.append((base.merge({METRIC_NAME: f"{family.name}_count"}), float(point.count)))
    exemplars = tuple(
        (buckets[bisect_left(bounds, exemplar.value)], exemplar)
        for exemplar in _exemplars(point.exemplars)
    )
    return TranslatedPoint(family.metric, point.time_unix_nano, base, tuple(samples), exemplars)


def _summary(family: Family, point: otlp.SummaryDataPoint, base: Labels) -> TranslatedPoint:
    if len(point.quantile_values) > MAX_BUCKETS:
        raise PointError("too_many_buckets")
    samples = [
        (base.merge({"quantile": format_value(each.quantile)}), each.value)
        for each in point.quantile_values
    ]
    samples.append((base.merge({METRIC_NAME: f"{family.name}_sum"}), point.sum))
    samples.append((base.merge({METRIC_NAME: f"{family.name}_count"}), float(point.count)))
    return TranslatedPoint(family.metric, point.time_unix_nano, base, tuple(samples))


def _exemplars(exemplars: Sequence[otlp.Exemplar]) -> Iterator[Exemplar]:
    """Yield the newest of the exemplars that tell their trace."""
    for exemplar in exemplars[-_MAX_EXEMPLARS:]:
        if len(exemplar.trace_id) != 16 or len(exemplar.span_id) != 8:
            continue
        value = (
            float(exemplar.as_int)
            if exemplar.WhichOneof("value") == "as_int"
            else exemplar.as_double
        )
        labels = {"trace_id": exemplar.trace_id.hex(), "span_id": exemplar.span_id.hex()}
        yield Exemplar(Labels(labels), value, exemplar.time_unix_nano // 1_000_000)
