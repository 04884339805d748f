"""Numbers as text, as Prometheus writes them in label values."""

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
