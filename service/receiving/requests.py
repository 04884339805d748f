"""One request's metrics into the series store: translated, appended, and what was refused said."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics

from alerts.api.series import MetricMetadata
from alerts.series.labels import METRIC_NAME, Labels
from service.receiving.errors import ReceivingError
from service.receiving.targets import FUTURE_MS, LATE_MS, Targets
from service.receiving.translating import (
    MAX_BUCKETS,
    AttributeLimits,
    Family,
    PointError,
    RefusedPoint,
    TranslatedPoint,
    count_points,
    translate_attributes,
    translate_family,
    translate_point,
)
from service.telemetry.prometheus import unit_suffix

_GIVE_WAY_AFTER: Final = 100
_PARTS_OF_A_POINT: Final = 3
"""A data point has a resource, a scope and a metric, if it shares none of them."""
_IDENTITY: Final = frozenset(("service_name", "service_namespace", "service_instance_id"))
_MAX_MESSAGE: Final = 2000
_MAX_METADATA: Final = 5000
_MAX_HELP: Final = 500
_MAX_NAME_SHOWN: Final = 100

_EXPLANATIONS: Final[dict[RefusedPoint, str]] = {  # all but own_series, which is not told
    "delta_temporality": (
        "only cumulative sums and histograms are taken; set "
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative, or convert them in a "
        "collector (deltatocumulative)"
    ),
    "exponential_histogram": (
        "exponential histograms are not taken; use explicit buckets "
        "(OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=explicit_bucket_histogram)"
    ),
    "no_data": "the metric has no data of a kind that is known",
    "no_value": "the data point has no value",
    "bad_buckets": (
        "there is one bucket more than bounds, and bounds are numbers that ascend, without +Inf"
    ),
    "bad_name": (
        "a metric has a name with a letter or a digit; it and its unit have at most 255 characters"
    ),
    "too_many_attributes": "more attributes than telemetry.receiver.max_attributes",
    "too_many_buckets": f"more than {MAX_BUCKETS} buckets or quantiles",
    "too_long_attribute": (
        "an attribute is longer than telemetry.receiver.max_attribute_length, or holds too much"
    ),
    "out_of_bounds": (
        f"the timestamp is more than {FUTURE_MS // 1000} seconds ahead of this machine's clock, "
        "or older than alerts.retention"
    ),
    "out_of_order": (
        "the series has a later sample, or its service (job and instance) one more than "
        f"{LATE_MS // 1000} seconds later"
    ),
    "duplicate": "the series has a sample at that time, or another source sends it",
    "series_limit": (
        "no more new series: telemetry.receiver.max_series or a limit of the store is reached"
    ),
}


@dataclass(slots=True)
class Outcome:
    """What became of the data points of a request.

    Attributes:
        points: How many there were.
        refused: How many were refused, by reason; ``own_series`` among them, of which the sender
            is not told: a collector that sends everything back does nothing wrong.
        examples: A metric of each reason the sender is told of.
    """

    points: int
    refused: Counter[RefusedPoint]
    examples: dict[RefusedPoint, str]

    @property
    def rejected(self) -> int:
        """How many the sender is told were refused."""
        return sum(self.refused[reason] for reason in self.examples)

    @property
    def message(self) -> str:
        """What was refused and why, for the people who run the sender; empty: nothing was."""
        parts = [
            f"{count} of {self.examples[reason]}: {_EXPLANATIONS[reason]}"
            for reason, count in self.refused.most_common()
            if reason in self.examples
        ]
        return "; ".join(parts)[:_MAX_MESSAGE]

    def refuse(self, reason: RefusedPoint, metric: str, points: int) -> None:
        """Count points of a metric that were refused."""
        if points:
            self.refused[reason] += points
            self.examples.setdefault(reason, metric[:_MAX_NAME_SHOWN] or "a metric without name")


class Requests:
    """Takes requests, one at a time, on a thread that is not the event loop's.

    Args:
        targets: What was received of each service so far.
        limits: How many attributes a data point may have.
        max_data_points: How many data points a request may have.
        own: ``job`` and ``instance`` of the process that receives. Its series come from nobody
            else: one that was taken would keep the process's own from being stored.
    """

    def __init__(
        self, targets: Targets, *, limits: AttributeLimits, max_data_points: int, own: Labels
    ) -> None:
        self._targets = targets
        self._limits = limits
        self._max_data_points = max_data_points
        self._own = own
        self._metadata: dict[str, MetricMetadata] = {}

    @property
    def metadata(self) -> list[MetricMetadata]:
        """What is known of the metrics that were received; may be read from any thread."""
        return list(self._metadata.values())

    def take(self, request: ExportMetricsServiceRequest) -> Outcome:
        """Append what a request holds.

        Raises:
            ReceivingError: It has too many data points, or too much around them; nothing was taken.
        """
        self._require_few_parts(request)
        metrics = (metric for resource in request.resource_metrics for metric in _metrics(resource))
        outcome = Outcome(sum(map(count_points, metrics)), Counter(), {})
        if outcome.points > self._max_data_points:
            raise ReceivingError(
                "too_large",
                f"the request has {outcome.points} data points, and "
                f"telemetry.receiver.max_data_points allows {self._max_data_points}; send smaller "
                "batches",
            )
        for resource in request.resource_metrics:
            self._take_resource(resource, outcome)
        return outcome

    def _require_few_parts(self, request: ExportMetricsServiceRequest) -> None:
        """Refuse what is made of empty parts: their number is not that of the data points."""
        most = _PARTS_OF_A_POINT * self._max_data_points
        parts = len(request.resource_metrics)
        for scope in chain.from_iterable(one.scope_metrics for one in request.resource_metrics):
            parts += 1 + len(scope.metrics)
            if parts > most:
                break
        if parts > most:
            raise ReceivingError(
                "too_large",
                f"the request has over {most} resources, scopes and metrics, which is "
                f"{_PARTS_OF_A_POINT} times telemetry.receiver.max_data_points; send no empty ones",
            )

    def _take_resource(self, resource: ResourceMetrics, outcome: Outcome) -> None:
        try:
            attributes = translate_attributes(resource.resource.attributes, self._limits)
        except PointError as error:
            for metric in _metrics(resource):
                outcome.refuse(error.reason, metric.name, count_points(metric))
            return
        target = _target(attributes)
        if target == self._own:
            outcome.refused["own_series"] += sum(map(count_points, _metrics(resource)))
            return
        rest = {name: value for name, value in attributes.items() if name not in _IDENTITY}
        info = Labels({**rest, **target, METRIC_NAME: "target_info"})
        points: list[TranslatedPoint] = []
        for point in self._translated(resource, target, outcome):
            points.append(point)
            if len(points) % _GIVE_WAY_AFTER == 0:
                time.sleep(0)  # the event loop need not wait for the interpreter's switch interval
        for point, reason in self._targets.append(target, points, info):
            outcome.refuse(reason, point.metric, 1)

    def _translated(
        self, resource: ResourceMetrics, target: Labels, outcome: Outcome
    ) -> Iterator[TranslatedPoint]:
        for metric in _metrics(resource):
            try:
                family = translate_family(metric)
            except PointError as error:
                outcome.refuse(error.reason, metric.name, count_points(metric))
                continue
            self._describe(family, metric)
            for point in family.points:
                try:
                    yield translate_point(family, point, target, self._limits)
                except PointError as error:
                    outcome.refuse(error.reason, metric.name, 1)

    def _describe(self, family: Family, metric: Metric) -> None:
        if family.name in self._metadata or len(self._metadata) >= _MAX_METADATA:
            return
        unit = unit_suffix(metric.unit)
        named = unit if family.name.removesuffix("_total").endswith(unit) else ""
        about = metric.description[:_MAX_HELP]
        self._metadata[family.name] = MetricMetadata(family.name, family.type, about, named)


def _metrics(resource: ResourceMetrics) -> Iterator[Metric]:
    for scope in resource.scope_metrics:
        yield from scope.metrics


def _target(attributes: dict[str, str]) -> Labels:
    """Return ``job`` and ``instance``; empty where the resource does not say."""
    name, namespace = attributes.get("service_name", ""), attributes.get("service_namespace", "")
    job = f"{namespace}/{name}" if name and namespace else name
    return Labels({"job": job, "instance": attributes.get("service_instance_id", "")})
