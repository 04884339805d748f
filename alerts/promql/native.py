"""Native histograms as values in text: read, written, added; for unit tests to hold against.

The engine computes with floats and classic histograms only; this is what lets a test file that
mentions native histograms be read, and a series of them be looked up.

Source: Prometheus, promql/parser (histogram descriptions) and model/histogram, FloatHistogram.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final

from alerts.promql.numbers import format_float

_FIELD: Final = re.compile(
    r"\s*(?P<key>[a-z_]+)\s*:\s*(?:\[(?P<list>[^\[\]]*)\]|(?P<word>[^\s\[\]:]+))\s*", re.ASCII
)
_HINTS: Final = ("unknown", "reset", "not_reset", "gauge")
_MAX_BUCKETS: Final = 10_000

Buckets = tuple[tuple[int, float], ...]
"""Counts by bucket index, ascending, without empty ones."""


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """One native histogram.

    Attributes:
        schema: Resolution; -53 for buckets of own boundaries.
        sum: Of everything observed.
        count: Of observations.
        zero_count: Observations in the zero bucket.
        zero_threshold: Width of the zero bucket.
        positive: Counts of the buckets above zero.
        negative: Counts of the buckets below zero.
        custom_values: Boundaries of schema -53.
        hint: Whether the counter was reset since the histogram before.
    """

    schema: int = 0
    sum: float = 0.0
    count: float = 0.0
    zero_count: float = 0.0
    zero_threshold: float = 0.0
    positive: Buckets = ()
    negative: Buckets = ()
    custom_values: tuple[float, ...] = ()
    hint: str = "unknown"

    @classmethod
    def parse(cls, text: str) -> NativeHistogram:
        """Return what the text between ``{{`` and ``}}`` describes.

        Raises:
            ValueError: It describes no histogram.
        """
        fields: dict[str, str] = {}
        position = 0
        while text[position:].strip():
            found = _FIELD.match(text, position)
            if found is None:
                raise ValueError(f"{text[position:].strip()!r} is no field of a histogram")
            is_list = found["list"] is not None
            if found["key"] not in _KNOWN or is_list != (found["key"] in _LISTS):
                raise ValueError(f"{found[0].strip()!r} is no field of a histogram")
            if found["key"] in fields:
                raise ValueError(f"{found['key']!r} stands twice in a histogram")
            fields[found["key"]] = found["list"] if is_list else found["word"]
            position = found.end()
        return cls._of(fields)

    @classmethod
    def _of(cls, fields: dict[str, str]) -> NativeHistogram:
        hint = fields.get("counter_reset_hint", "unknown")
        if hint not in _HINTS:
            raise ValueError(f"{hint!r} is no counter_reset_hint; known are {', '.join(_HINTS)}")
        numbers = {key: float(fields[key]) for key in _NUMBERS if key in fields}
        schema = int(fields.get("schema", "0"))
        if schema != -53 and not -4 <= schema <= 8:
            raise ValueError(f"there is no schema {schema}; they are -4 to 8, and -53")
        return cls(
            schema=schema,
            sum=numbers.get("sum", 0.0),
            count=numbers.get("count", 0.0),
            zero_count=numbers.get("z_bucket", 0.0),
            zero_threshold=numbers.get("z_bucket_w", 0.0),
            positive=_buckets(fields.get("buckets", ""), fields.get("offset", "0")),
            negative=_buckets(fields.get("n_buckets", ""), fields.get("n_offset", "0")),
            custom_values=tuple(float(word) for word in fields.get("custom_values", "").split()),
            hint=hint,
        )

    def plus(self, other: NativeHistogram, factor: float = 1.0) -> NativeHistogram:
        """Return the sum with ``factor`` times another histogram of the same layout.

        Raises:
            ValueError: The layouts differ.
        """
        mine, others = (
            (item.schema, item.zero_threshold, item.custom_values) for item in (self, other)
        )
        if mine != others:
            raise ValueError("histograms of a series must have the same schema and boundaries")
        return replace(
            self,
            sum=self.sum + factor * other.sum,
            count=self.count + factor * other.count,
            zero_count=self.zero_count + factor * other.zero_count,
            positive=_added(self.positive, other.positive, factor),
            negative=_added(self.negative, other.negative, factor),
        )

    def is_reset_after(self, before: NativeHistogram) -> bool:
        """Whether this cannot follow the other without a reset: something counts less."""
        if self.count < before.count or self.zero_count < before.zero_count:
            return True
        if (self.schema, self.custom_values) != (before.schema, before.custom_values):
            return True
        return any(
            dict(now).get(index, 0.0) < counted
            for now, then in ((self.positive, before.positive), (self.negative, before.negative))
            for index, counted in then
        )

    def __str__(self) -> str:
        fields = [
            ("schema", str(self.schema) if self.schema else ""),
            ("count", _shown(self.count)),
            ("sum", _shown(self.sum)),
            ("z_bucket", _shown(self.zero_count)),
            ("z_bucket_w", _shown(self.zero_threshold)),
            ("custom_values", " ".join(map(format_float, self.custom_values))),
            ("counter_reset_hint", "" if self.hint == "unknown" else self.hint),
            *_layout("", self.positive),
            *_layout("n_", self.negative),
        ]
        inside = " ".join(
            f"{key}:[{text}]" if key in _LISTS else f"{key}:{text}" for key, text in fields if text
        )
        return f"{{{{{inside}}}}}"


_LISTS: Final = frozenset(["buckets", "n_buckets", "custom_values"])
_NUMBERS: Final = ("sum", "count", "z_bucket", "z_bucket_w")
_KNOWN: Final = frozenset(
    [*_LISTS, *_NUMBERS, "schema", "offset", "n_offset", "counter_reset_hint"]
)


def _buckets(counts: str, offset: str) -> Buckets:
    words = counts.split()
    if len(words) > _MAX_BUCKETS:
        raise ValueError(f"a histogram has at most {_MAX_BUCKETS} buckets here, not {len(words)}")
    first = int(offset)
    if abs(first) > _MAX_BUCKETS:
        raise ValueError(f"the first bucket is at most {_MAX_BUCKETS} from 0 here, not {first}")
    numbers = [float(word) for word in words]
    return tuple((index, count) for index, count in enumerate(numbers, first) if count)


def _added(one: Buckets, other: Buckets, factor: float) -> Buckets:
    counts = dict(one)
    for index, count in other:
        counts[index] = counts.get(index, 0.0) + factor * count
    return tuple(sorted((index, count) for index, count in counts.items() if count))


def _layout(prefix: str, buckets: Buckets) -> list[tuple[str, str]]:
    if not buckets:
        return []
    counts = dict(buckets)
    first, last = buckets[0][0], buckets[-1][0]
    numbers = " ".join(format_float(counts.get(index, 0.0)) for index in range(first, last + 1))
    return [(f"{prefix}offset", str(first) if first else ""), (f"{prefix}buckets", numbers)]


def _shown(number: float) -> str:
    return "" if number == 0 and not math.isnan(number) else format_float(number)
