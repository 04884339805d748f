"""Prometheus durations (``1h30m``, ``15s``, ``500ms``, ``0``) as float seconds and back.

Source: Prometheus documentation, "Querying basics", section "Float literals and time durations";
units in descending order, each at most once.
"""

from __future__ import annotations

import re

from alerts.errors import DurationError

_UNIT_SECONDS = {
    "y": 31_536_000.0,
    "w": 604_800.0,
    "d": 86_400.0,
    "h": 3_600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 0.001,
}
_PATTERN = re.compile(
    "".join(rf"(?:(?P<{unit}>[0-9]{{1,19}}){unit})?" for unit in _UNIT_SECONDS),
    re.ASCII,
)
_MAX_MS = (2**63 - 1) // 1_000_000
"""What Prometheus can hold: 64-bit nanoseconds, about 292 years."""


def parse_duration(text: str) -> float:
    """Return the seconds a Prometheus duration stands for.

    Raises:
        DurationError: The text is no duration, or one of more than 292 years.
    """
    if text == "0":
        return 0.0
    match = _PATTERN.fullmatch(text)
    if match is None or not text:
        raise DurationError(
            f"{text!r} is not a duration; write numbers with the units y w d h m s ms "
            "in that order, such as 30s, 1h30m or 500ms"
        )
    milliseconds = sum(
        int(count) * round(_UNIT_SECONDS[unit] * 1000)
        for unit, count in match.groupdict().items()
        if count is not None
    )
    if milliseconds > _MAX_MS:
        raise DurationError(f"{text!r} is too long; the longest duration is 292y")
    return milliseconds / 1000


def format_duration(seconds: float) -> str:
    """Return the shortest Prometheus duration for a number of seconds, to the millisecond."""
    remaining = round(seconds * 1000)
    if remaining == 0:
        return "0s"
    parts = ["-"] if remaining < 0 else []
    remaining = abs(remaining)
    for unit, unit_seconds in _UNIT_SECONDS.items():
        # Years and weeks are only used when nothing is left over, as Prometheus prints them.
        unit_ms = round(unit_seconds * 1000)
        if unit in ("y", "w") and remaining % unit_ms:
            continue
        count, remaining = divmod(remaining, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
