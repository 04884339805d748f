"""Times, durations and label names as clients write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.api.errors import APIError
from alerts.api.parameters import Parameters, parse_duration, parse_time, unescape_label_name


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("0", 0),
        ("1.0005", 1000),
        ("1.9996", 2000),
        ("-1.5", -1500),
        (".5", 500),
        ("1e3", 1_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T22:13:20.0129Z", 1_700_000_000_012),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
        ("1969-12-31T23:59:59.5-00:00", -500),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
    ],
)
def test_times(text: str, time_ms: int):
    """Unix seconds and RFC 3339 are read to the millisecond."""
    assert parse_time(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "1_000", " 1", "NaN", "Inf", "1e999", "\u0661", "2023-11-14"),
        *("2023-13-14T22:13:20Z", "2023-11-14 22:13:20Z", "2023-11-14T22:13:20"),
        "2023-11-14T22:13:20+99:00",
    ],
)
def test_no_times(text: str):
    """Everything else is refused with the text."""
    with pytest.raises(ValueError, match="to a valid timestamp"):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("15", 15_000), ("0.25", 250), ("1h30m", 5_400_000), ("0", 0), ("-1", -1_000), ("1e-9", 0)],
)
def test_durations(text: str, duration_ms: int):
    """Seconds and Prometheus durations are read to the millisecond."""
    assert parse_duration(text) == duration_ms


@pytest.mark.parametrize("text", ["", "x", "1e300", "NaN", "1m1h", "300y"])
def test_no_durations(text: str):
    """Everything else is refused."""
    with pytest.raises(ValueError, match="to a valid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("escaped", "name"),
    [
        ("job", "job"),
        ("U__http_2e_method", "http.method"),
        ("U__a__b", "a_b"),
        ("U___1f600_", "\U0001f600"),
        ("U___d800_", "_d800_"),
        ("U__", ""),
    ],
)
def test_escaped_label_names(escaped: str, name: str):
    """Names in an address may be escaped as Prometheus escapes them."""
    assert unescape_label_name(escaped) == name


@given(st.text())
def test_any_text_is_a_time_or_refused(text: str):
    """No text is anything but a time or a ValueError; the same holds for durations."""
    for parse in (parse_time, parse_duration):
        try:
            parse(text)
        except ValueError as error:
            assert "cannot parse" in str(error)


def test_too_many_parameters():
    """A form of more fields than anybody needs is refused before it costs anything."""
    with pytest.raises(APIError, match="error parsing form values"):
        Parameters("&".join(["a=1"] * 10_001))
