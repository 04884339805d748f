"""Small pictures that say how a check is: a label and a value, as SVG. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from html import escape
from typing import Final

from alerts.durations import format_duration
from alerts.storage.check_periods import StateTimes
from service.health.recorder import Latency
from service.health.state import CheckState

_GREEN: Final = "#2e8540"
_YELLOW: Final = "#9a6700"
_RED: Final = "#c0392b"
_GREY: Final = "#6e7781"
_BLUE: Final = "#1f6feb"

_OF_STATE: Final = {
    CheckState.UNKNOWN: _GREY,
    CheckState.UP: _GREEN,
    CheckState.DEGRADED: _YELLOW,
    CheckState.DOWN: _RED,
    CheckState.MAINTENANCE: _BLUE,
    CheckState.HELD: _GREY,
}
_GOOD_UPTIME: Final = 0.99
_POOR_UPTIME: Final = 0.95
_HEIGHT: Final = 20
_PADDING: Final = 6
_NARROW: Final = frozenset("fijlrtI.,:;|!' -()[]1")
_WIDE: Final = frozenset("mwMW%@")


class BadgeKind(StrEnum):
    """What a badge shows."""

    UPTIME = "uptime"
    LATENCY = "latency"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Badge:
    """A label and a value on a colour."""

    label: str
    value: str
    colour: str


def state_badge(name: str, state: CheckState) -> Badge:
    """Return the badge of a state."""
    return Badge(name, state.label, _OF_STATE[state])


def uptime_badge(window: str, times: StateTimes | None) -> Badge:
    """Return the badge of the uptime in a window; None: nothing is known of it."""
    uptime = None if times is None else times.uptime
    if uptime is None:
        return Badge(f"uptime {window}", "unknown", _GREY)
    poor = _YELLOW if uptime >= _POOR_UPTIME else _RED
    colour = _GREEN if uptime >= _GOOD_UPTIME else poor
    return Badge(f"uptime {window}", format_share(uptime), colour)


def latency_badge(window: str, times: StateTimes | None) -> Badge:
    """Return the badge of how long runs in a window took in the mean; None: nothing is known."""
    return _duration_badge(f"latency {window}", None if times is None else times.duration_avg_s)


def percentile_badge(name: str, window: str, latency: Latency | None) -> Badge:
    """Return the badge of a percentile of latency, such as ``p95``; None: nothing is known."""
    found = None if latency is None else latency.percentiles_s.get(name)
    return _duration_badge(f"{name} {window}", found)


def _duration_badge(label: str, duration_s: float | None) -> Badge:
    if duration_s is None:
        return Badge(label, "unknown", _GREY)
    return Badge(label, format_duration(max(0.001, round(duration_s, 3))), _BLUE)


def format_share(share: float) -> str:
    """Return a share in percent; never 100% unless it is all of it, nor 0% unless it is nothing."""
    percent = min(share * 100, 99.999) if share < 1 else 100.0
    if share > 0:
        percent = max(percent, 0.001)
    return f"{percent:.3f}".rstrip("0").rstrip(".") + "%"


def as_svg(badge: Badge) -> bytes:
    """Return the picture."""
    left, right = (_width(text) + 2 * _PADDING for text in (badge.label, badge.value))
    label, value = escape(badge.label), escape(badge.value)
    width = left + right
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" role="img" \
aria-label="{label}: {value}">
<title>{label}: {value}</title>
<clipPath id="r"><rect width="{width}" height="{_HEIGHT}" rx="3"/></clipPath>
<g clip-path="url(#r)">
<rect width="{left}" height="{_HEIGHT}" fill="#3d444d"/>
<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="{badge.colour}"/>
</g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{left / 2:g}" y="14" textLength="{left - 2 * _PADDING}">{label}</text>
<text x="{left + right / 2:g}" y="14" textLength="{right - 2 * _PADDING}">{value}</text>
</g>
</svg>
""".encode()


def _width(text: str) -> int:
    """Return about how wide a text is in pixels; textLength makes it fit."""
    return sum(4 if char in _NARROW else 10 if char in _WIDE else 7 for char in text)
