"""Small pictures that say how a check is: a label and a value, as SVG. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from html import escape
from typing import Final

from alerts.durations import format_duration
from alerts.storage.check_periods import StateTimes
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
    mean_s = None if times is None else times.duration_avg_s
    if mean_s is None:
        return Badge(f"latency {window}", "unknown", _GREY)
    return Badge(f"latency {window}", format_duration(max(0.001, round(mean_s, 3))), _BLUE)


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
