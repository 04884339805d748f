"""OTLP metrics as a service sends them: built by hand, posted to a receiver."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiohttp
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

Request = metrics_service_pb2.ExportMetricsServiceRequest
Response = metrics_service_pb2.ExportMetricsServiceResponse
PROTOBUF = "application/x-protobuf"
JSON = "application/json"


def attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    """Return attributes; values are strings, booleans, integers or floats."""
    kinds = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}
    return [
        KeyValue(key=key, value=AnyValue(**{kinds[type(value)]: value}))
        for key, value in values.items()
    ]


def request_of(
    *metrics: metrics_pb2.Metric, service: str = "shop", instance: str = "1", **resource: Any
) -> Request:
    """Return a request with the metrics of one service."""
    request = Request()
    one = request.resource_metrics.add()
    identity = {"service.name": service, "service.instance.id": instance, **resource}
    one.resource.attributes.extend(attributes(identity))
    one.scope_metrics.add().metrics.extend(metrics)
    return request


def gauge(name: str, value: float, at_ms: int, unit: str = "", **labels: Any) -> metrics_pb2.Metric:
    """Return a gauge of one data point."""
    metric = metrics_pb2.Metric(name=name, unit=unit)
    point = metric.gauge.data_points.add(as_double=value, time_unix_nano=at_ms * 1_000_000)
    point.attributes.extend(attributes(labels))
    return metric


def counter(name: str, value: int, at_ms: int, unit: str = "", **labels: Any) -> metrics_pb2.Metric:
    """Return a cumulative counter of one data point."""
    metric = metrics_pb2.Metric(name=name, unit=unit)
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    point = metric.sum.data_points.add(as_int=value, time_unix_nano=at_ms * 1_000_000)
    point.attributes.extend(attributes(labels))
    return metric


def histogram(
    name: str, bounds: Iterable[float], counts: Iterable[int], at_ms: int
) -> metrics_pb2.Metric:
    """Return a cumulative histogram in seconds of one data point, whose sum is 1.5."""
    metric = metrics_pb2.Metric(name=name, unit="s")
    metric.histogram.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    point = metric.histogram.data_points.add(sum=1.5, time_unix_nano=at_ms * 1_000_000)
    point.explicit_bounds.extend(bounds)
    point.bucket_counts.extend(counts)
    point.count = sum(point.bucket_counts)
    return metric


async def post(
    url: str, body: bytes | Request, *, content_type: str = PROTOBUF, **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Post a body as it is, and return status, headers and body of the answer."""
    data = io.BytesIO(body if isinstance(body, bytes) else body.SerializeToString())
    sent = {"Content-Type": content_type, **{k.replace("_", "-"): v for k, v in headers.items()}}
    async with aiohttp.ClientSession() as http, http.post(url, data=data, headers=sent) as answer:
        return answer.status, answer.headers, await answer.read()


def changed(request: Request, change: Callable[[Request], object]) -> Request:
    """Return a request after a change."""
    change(request)
    return request
