"""OTLP's two encodings of a request, its answer and its errors: protobuf and JSON.

JSON is protobuf's own mapping with one difference: the ids of traces and spans are hexadecimal.
They are rewritten first, and the rest is left to the protobuf library.

Source: OTLP specification 1.9, "OTLP/HTTP"; google.rpc.Status.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final, Literal

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from service.codec import decode, encode
from service.receiving.errors import ReceivingError, RefusedRequest

Encoding = Literal["protobuf", "json"]

CONTENT_TYPES: Final[dict[str, Encoding]] = {
    "application/x-protobuf": "protobuf",
    "application/json": "json",
}

_KINDS: Final = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")
_ID_KEYS: Final = ("traceId", "spanId")
_MAX_NESTING: Final = 50
"""How deep JSON nests at most; in protobuf the library stops at 100."""
_MAX_JSON_VALUES: Final = 1_000_000
_MAX_REASON: Final = 500
_CODES: Final[dict[RefusedRequest, int]] = {
    "malformed": 3,  # INVALID_ARGUMENT
    "too_large": 8,  # RESOURCE_EXHAUSTED
    "unsupported": 12,  # UNIMPLEMENTED
    "overloaded": 14,  # UNAVAILABLE
    "starting": 14,
    "slow": 4,  # DEADLINE_EXCEEDED
}
"""The codes of google.rpc.Code."""


def content_type(encoding: Encoding) -> str:
    """Return the media type of an encoding."""
    return next(name for name, known in CONTENT_TYPES.items() if known == encoding)


def decode_request(body: bytes, encoding: Encoding) -> ExportMetricsServiceRequest:
    """Return what a body holds; fields that are not known are passed over.

    Raises:
        ReceivingError: It is malformed.
    """
    try:
        if encoding == "protobuf":
            return ExportMetricsServiceRequest.FromString(body)
        return _from_json(body)
    except DecodeError as error:
        raise ReceivingError("malformed", f"the body is no OTLP protobuf: {error}") from error
    except (json_format.ParseError, ValueError, RecursionError) as error:
        reason = str(error)[:_MAX_REASON]
        raise ReceivingError("malformed", f"the body is no OTLP JSON: {reason}") from error


def encode_answer(rejected: int, message: str, encoding: Encoding) -> bytes:
    """Return the answer to a request that was taken, in part if some data points were rejected."""
    answer = ExportMetricsServiceResponse()
    if rejected or message:
        answer.partial_success.rejected_data_points = rejected
        answer.partial_success.error_message = message
    return _encoded(answer, encoding)


def encode_refusal(error: ReceivingError, encoding: Encoding) -> bytes:
    """Return the answer to a request nothing was taken of: a google.rpc.Status."""
    return _encoded(Status(code=_CODES[error.reason], message=str(error)), encoding)


def _encoded(message: Message, encoding: Encoding) -> bytes:
    if encoding == "protobuf":
        return message.SerializeToString()
    return encode(json_format.MessageToDict(message))


def _from_json(body: bytes) -> ExportMetricsServiceRequest:
    # Reading JSON into messages takes a microsecond for each value: their number bounds the time.
    values = body.count(b",") + body.count(b"{")
    if values > _MAX_JSON_VALUES:
        raise ReceivingError(
            "too_large", f"the body has more than {_MAX_JSON_VALUES} values; send smaller batches"
        )
    document = decode(body)
    if not isinstance(document, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - as every other mistake in it
    for exemplar in _exemplars(document):
        for key in _ID_KEYS:
            value = exemplar.get(key)
            if isinstance(value, str):
                exemplar[key] = base64.b64encode(bytes.fromhex(value)).decode()
    request = ExportMetricsServiceRequest()
    json_format.ParseDict(
        document, request, ignore_unknown_fields=True, max_recursion_depth=_MAX_NESTING
    )
    return request


def _exemplars(document: dict[str, object]) -> Iterator[dict[str, object]]:
    """Yield the exemplars; what is not as it should be is left for the library to refuse."""
    for resource in _objects(document.get("resourceMetrics")):
        for scope in _objects(resource.get("scopeMetrics")):
            for metric in _objects(scope.get("metrics")):
                for kind in _KINDS:
                    data = metric.get(kind)
                    if isinstance(data, dict):
                        for point in _objects(data.get("dataPoints")):
                            yield from _objects(point.get("exemplars"))


def _objects(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))
