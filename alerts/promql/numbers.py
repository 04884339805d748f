"""Numbers as text, as Go writes them for Prometheus."""

from __future__ import annotations

import math
from decimal import Decimal


def format_float(value: float) -> str:
    """Return the shortest text that reads back as the value, never with an exponent.

    Source: Go's ``strconv.FormatFloat(value, 'f', -1, 64)``, ``+Inf`` and ``NaN`` included.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def format_g(value: float) -> str:
    """Return the shortest text that reads back as the value, with an exponent where it is large.

    Source: Go's ``%g``.
    """
    if not math.isfinite(value):
        return format_float(value)
    exponent = Decimal(repr(value)).adjusted() if value else 0
    if -4 <= exponent < 6:
        return format_float(value)
    mantissa = Decimal(repr(value)).scaleb(-exponent).normalize()
    return f"{mantissa:f}e{exponent:+03d}"
