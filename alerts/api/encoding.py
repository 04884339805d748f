"""Answers as JSON: numbers as Prometheus prints them, and results of many series quickly.

Results are put together as bytes. Floats go through the JSON library a whole series at a time,
which prints them about ten times faster than Python does; the few it prints otherwise than
Prometheus (whole numbers, exponents, NaN) are mended afterwards.

Source: Prometheus, web/api/v1/json_codec.go; util/jsonutil.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from threading import Event
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from alerts.api.errors import APIError
from alerts.promql.errors import PromQLError, QueryCancelledError
from alerts.promql.numbers import format_float
from alerts.promql.values import InstantResult, RangeResult, Sample, SeriesPoints

MAX_POINTS: Final = 5_000_000
"""Points of one answer; each takes about 30 bytes of JSON, several times while it is made."""

_PLAIN_FROM: Final = 1e-6
_PLAIN_BELOW: Final = 1e21
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a successful request is answered with.

    Attributes:
        data: Anything that has a JSON form, or a fragment of JSON.
        warnings: What is probably wrong with the request or its result.
        infos: What may be wrong.
    """

    data: object
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return Prometheus's envelope around the data."""
        envelope = {"status": "success", "data": self.data}
        if self.warnings:
            envelope["warnings"] = self.warnings
        if self.infos:
            envelope["infos"] = self.infos
        return _encode(envelope)


def encode_error(error: APIError) -> bytes:
    """Return Prometheus's envelope around an error."""
    return _encode({"status": "error", "errorType": error.kind, "error": str(error)})


def encode_instant(result: InstantResult, cancelled: Event) -> object:
    """Return the data of an instant query.

    Raises:
        PromQLError: It was cancelled, or the result is larger than ``MAX_POINTS``.
    """
    return {"resultType": result.kind, "result": _instant_body(result, cancelled)}


def encode_range(result: RangeResult, cancelled: Event) -> object:
    """Return the data of a range query.

    Raises:
        PromQLError: It was cancelled, or the result is larger than ``MAX_POINTS``.
    """
    body = orjson.Fragment(_encode_matrix(result.series, cancelled))
    return {"resultType": "matrix", "result": body}


def format_timestamp(timestamp_ms: int) -> bytes:
    """Return Unix seconds, with three decimals where they are not whole."""
    seconds, milliseconds = divmod(abs(timestamp_ms), 1000)
    sign = "-" if timestamp_ms < 0 else ""
    text = f"{sign}{seconds}.{milliseconds:03d}" if milliseconds else f"{sign}{seconds}"
    return text.encode()


def format_value(value: float) -> str:
    """Return a sample's value: with an exponent only below a millionth and from 1e21 up."""
    if math.isfinite(value) and value and not _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return repr(value)
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    return format_float(value)


def format_exponent(value: float) -> str:
    """Return a number with one digit before the point and an exponent, as alerts carry it.

    Source: Go's ``strconv.FormatFloat(value, 'e', -1, 64)``.
    """
    if not math.isfinite(value):
        return format_float(value)
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    power = len(text) - 1 + int(exponent) if text else 0
    text = text.rstrip("0") or "0"
    decimals = f".{text[1:]}" if len(text) > 1 else ""
    return f"{'-' if sign else ''}{text[0]}{decimals}e{power:+03d}"


def _instant_body(result: InstantResult, cancelled: Event) -> object:
    stamp = format_timestamp(result.timestamp_ms)
    match result.kind:
        case "vector":
            return orjson.Fragment(_encode_vector(result.samples, stamp))
        case "matrix":
            return orjson.Fragment(_encode_matrix(result.series, cancelled))
        case "scalar":
            return orjson.Fragment(stamp), format_value(result.samples[0].value)
        case "string":
            return orjson.Fragment(stamp), result.text


def _encode(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # PromQL's strings and the labels made of them can be bytes that are no UTF-8.
        return orjson.dumps(_readable(value))


def _readable(value: object) -> object:
    """Return a value with the replacement character in place of what is no Unicode."""
    match value:
        case str():
            return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
        case dict():
            return {_readable(key): _readable(each) for key, each in value.items()}
        case list() | tuple():
            return [_readable(each) for each in value]
        case _:
            return value


def _encode_vector(samples: Sequence[Sample], stamp: bytes) -> bytes:
    fragment = orjson.Fragment(stamp)
    values = format_values(np.array([sample.value for sample in samples], dtype=np.float64))
    return _encode(
        [
            {"metric": dict(sample.labels.pairs), "value": (fragment, value.decode())}
            for sample, value in zip(samples, values, strict=True)
        ]
    )


def _encode_matrix(series: Sequence[SeriesPoints], cancelled: Event) -> bytes:
    points_count = sum(len(points.values) for points in series)
    if points_count > MAX_POINTS:
        raise PromQLError(
            f"the result has {points_count} points, more than the limit of {MAX_POINTS}; "
            "ask for fewer series, a shorter range or a longer step"
        )
    stamps = _Stamps()
    pieces = []
    for points in series:
        if cancelled.is_set():
            raise QueryCancelledError("query was canceled in result encoding")
        metric = _encode(dict(points.labels.pairs))
        values = format_values(points.values)
        starts = [stamps[time] for time in points.timestamps_ms.tolist()]
        body = b'"],'.join(map(bytes.__add__, starts, values)) + (b'"]' if values else b"")
        pieces.append(b'{"metric":%b,"values":[%b]}' % (metric, body))
    return b"[%b]" % b",".join(pieces)


class _Stamps(dict[int, bytes]):
    """The beginnings of points by time; series of one result share most of them."""

    def __missing__(self, timestamp_ms: int) -> bytes:
        start = self[timestamp_ms] = b'[%b,"' % format_timestamp(timestamp_ms)
        return start


def format_values(values: NDArray[np.float64]) -> list[bytes]:
    """Return what ``format_value`` returns for each value.

    Shapes: ``values`` is ``(points,)`` float64.
    """
    if len(values) == 0:
        return []
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    found = text[1:-1].replace(b".0,", b",").removesuffix(b".0").split(b",")
    if b"e" in text or b"n" in text:
        return [
            format_value(value).encode() if b"e" in token or token == b"null" else token
            for token, value in zip(found, values.tolist(), strict=True)
        ]
    return found
