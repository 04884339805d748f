"""Pictures of how a check is."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.storage.check_periods import StateTimes
from service.health.badges import (
    Badge,
    as_svg,
    format_share,
    latency_badge,
    percentile_badge,
    state_badge,
    uptime_badge,
)
from service.health.recorder import Latency
from service.health.state import CheckState


@given(
    st.text(st.characters(exclude_categories=["C"])),
    st.text(st.characters(exclude_categories=["C"])),
)
def test_any_text_makes_a_picture(label, value):
    """Whatever a check is called, the picture is well-formed and says it."""
    root = ET.fromstring(as_svg(Badge(label, value, "#000")))

    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [label, value]
    assert root.get("aria-label") is not None


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100%"),
        (0.9999999, "99.999%"),
        (0.999, "99.9%"),
        (0.12345, "12.345%"),
        (0.0000001, "0.001%"),
        (0.0, "0%"),
    ],
)
def test_shares_are_not_rounded_to_all_or_nothing(share, text):
    """A check that was down for a second was not up all the time."""
    assert format_share(share) == text


def test_values_and_colours():
    """Good is green, bad is red, and what nobody knows is grey."""
    good = StateTimes(up_ms=1_000, runs=2, duration_sum_s=0.5)
    bad = StateTimes(up_ms=900, down_ms=100)

    assert uptime_badge("7d", good) == Badge("uptime 7d", "100%", "#2e8540")
    assert uptime_badge("7d", bad) == Badge("uptime 7d", "90%", "#c0392b")
    assert uptime_badge("7d", None).value == "unknown"
    assert latency_badge("1h", good).value == "250ms"
    known = Latency(3, {"p95": 1.5}, is_exact=False)
    assert percentile_badge("p95", "7d", known) == Badge("p95 7d", "1s500ms", "#1f6feb")
    assert percentile_badge("p99", "7d", known).value == "unknown"
    assert percentile_badge("p95", "7d", None).value == "unknown"
    assert latency_badge("1h", bad).value == "unknown"
    assert {state_badge("web", state).value for state in CheckState} == {
        "unknown",
        "up",
        "degraded",
        "down",
        "maintenance",
        "held",
    }
