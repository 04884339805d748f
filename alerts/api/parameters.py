"""The parameters of a request, read as Prometheus reads them.

Source: Prometheus, web/api/v1/api.go (parseTime, parseDuration, parseLimitParam,
parseMatchersParam).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Final
from urllib.parse import parse_qsl

from alerts.api.errors import APIError
from alerts.durations import parse_duration as parse_units
from alerts.errors import DurationError
from alerts.promql.engine import Engine
from alerts.promql.errors import PromQLError
from alerts.series.labels import quote
from alerts.series.matchers import Matcher

TIME_BOUND_MS: Final = 2**53
"""Times further from 1970 than this, in milliseconds, are not told apart any more."""

_MAX_FIELDS: Final = 10_000
_MAX_DURATION_MS: Final = (2**63 - 1) // 1_000_000
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_RFC3339: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})T(?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]+))?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2}))",
    re.ASCII,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MATCHERS: Final = "match[]"
_SELECTOR: Final = re.compile(r"\s*(?:[a-zA-Z_:][\w:]*\s*)?(?:\{.*\})?\s*", re.ASCII | re.DOTALL)
"""Of the expressions with one selector, those that are nothing but the selector."""
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class Parameters:
    """Names and texts; a name may come several times.

    Args:
        encoded: ``application/x-www-form-urlencoded`` texts; the first one's values win.

    Raises:
        APIError: There are too many parameters.
    """

    def __init__(self, *encoded: str) -> None:
        self._values: dict[str, list[str]] = {}
        try:
            for text in encoded:
                for name, value in parse_qsl(
                    text, keep_blank_values=True, errors="replace", max_num_fields=_MAX_FIELDS
                ):
                    self._values.setdefault(name, []).append(value)
        except ValueError as error:
            raise APIError("bad_data", f"error parsing form values: {error}") from None

    def text(self, name: str) -> str:
        """Return the first value of a parameter; empty when it is missing."""
        values = self._values.get(name)
        return values[0] if values else ""

    def texts(self, name: str) -> list[str]:
        """Return every value of a parameter."""
        return self._values.get(name, [])

    def time_ms(self, name: str, default_ms: int | None = None) -> int:
        """Return a time in Unix milliseconds.

        Raises:
            APIError: It is no time, too far away, or missing where there is no default.
        """
        given = self.text(name)
        if not given and default_ms is not None:
            return default_ms
        try:
            time_ms = parse_time(given)
        except ValueError as error:
            raise invalid(name, str(error)) from None
        if abs(time_ms) > TIME_BOUND_MS:
            raise invalid(name, f"the time {quote(given)} is out of range")
        return time_ms

    def bound_ms(self, name: str, default_ms: int) -> int:
        """Return an end of a time range; one that is too far away is as good as no end.

        Raises:
            APIError: It is no time.
        """
        given = self.text(name)
        if not given:
            return default_ms
        try:
            return max(-TIME_BOUND_MS, min(TIME_BOUND_MS, parse_time(given)))
        except ValueError as error:
            raise invalid(name, f"Invalid time value for '{name}': {error}") from None

    def duration_ms(self, name: str) -> int:
        """Return a duration in milliseconds; less than one counts as none.

        Raises:
            APIError: It is no duration.
        """
        try:
            return parse_duration(self.text(name))
        except ValueError as error:
            raise invalid(name, str(error)) from None

    def limit(self) -> int:
        """Return how many results are wanted at most; 0 when all are.

        Raises:
            APIError: It is no number, or a negative one.
        """
        given = self.text("limit")
        if not given:
            return 0
        if _INTEGER.fullmatch(given) is None:
            raise invalid("limit", f"{quote(given)} is no whole number")
        if int(given) < 0:
            raise invalid("limit", "limit must be non-negative")
        return int(given)

    def number(self, name: str, default: int) -> int:
        """Return a whole number.

        Raises:
            APIError: It is none.
        """
        given = self.text(name)
        if not given:
            return default
        if _INTEGER.fullmatch(given) is None:
            raise APIError("bad_data", f"{name} must be a number")
        return int(given)

    def flag(self, name: str) -> bool:
        """Return a boolean; False when it is missing.

        Raises:
            APIError: It is none.
        """
        given = self.text(name)
        if given and given not in _BOOLEANS:
            raise invalid(name, f"{quote(given)} is neither true nor false")
        return _BOOLEANS.get(given, False)

    def matcher_sets(self, engine: Engine) -> list[tuple[Matcher, ...]]:
        """Return the selectors of ``match[]``; a series is wanted when one of them takes it.

        Raises:
            APIError: One is no selector, or takes everything.
        """
        return [_selector(text, engine) for text in self.texts(_MATCHERS)]


def invalid(name: str, reason: str) -> APIError:
    """Return the error of a parameter that cannot be used."""
    return APIError("bad_data", f"invalid parameter {quote(name)}: {reason}")


def parse_time(text: str) -> int:
    """Return the Unix milliseconds of Unix seconds with decimals, or of an RFC 3339 time.

    Raises:
        ValueError: The text is neither.
    """
    if _FLOAT.fullmatch(text):
        seconds = float(text)
        if abs(seconds) < 1e300:
            return round(seconds * 1000)
    match = _RFC3339.fullmatch(text)
    if match is not None:
        try:
            return _moment_ms(match)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"cannot parse {quote(text)} to a valid timestamp")


def _moment_ms(match: re.Match[str]) -> int:
    moment = datetime.fromisoformat(f"{match['date']}T{match['time']}+00:00")
    east = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    zone = timezone(-east if match["sign"] == "-" else east)
    whole_ms = (moment.replace(tzinfo=zone) - _EPOCH) // timedelta(milliseconds=1)
    return whole_ms + int((match["fraction"] or "0")[:3].ljust(3, "0"))


def parse_duration(text: str) -> int:
    """Return the whole milliseconds of seconds with decimals, or of a Prometheus duration.

    Raises:
        ValueError: The text is neither, or stands for more than 292 years.
    """
    if _FLOAT.fullmatch(text):
        milliseconds = float(text) * 1000
        if abs(milliseconds) > _MAX_DURATION_MS:
            raise ValueError(f"cannot parse {quote(text)} to a valid duration. It overflows int64")
        return int(milliseconds)
    try:
        return round(parse_units(text) * 1000)
    except DurationError:
        raise ValueError(f"cannot parse {quote(text)} to a valid duration") from None


def unescape_label_name(name: str) -> str:
    """Return the name that ``U__`` stands in front of, as paths of URLs carry it.

    Source: Prometheus, common/model/metric.go (UnescapeName, "values" escaping).
    """
    if not name.startswith("U__"):
        return name
    body = name.removeprefix("U__")
    pieces = re.split(r"(__|_[0-9a-fA-F]{1,8}_)", body)
    return "".join(map(_unescaped, pieces))


def _unescaped(piece: str) -> str:
    if piece == "__":
        return "_"
    if len(piece) > 2 and piece[0] == piece[-1] == "_":
        try:
            character = chr(int(piece[1:-1], 16))
            character.encode()
        except (ValueError, OverflowError):
            return piece
        return character
    return piece


def _selector(text: str, engine: Engine) -> tuple[Matcher, ...]:
    try:
        query = engine.prepare(text)
    except PromQLError as error:
        raise invalid(_MATCHERS, str(error)) from None
    if _SELECTOR.fullmatch(text) is None or query.kind != "vector" or len(query.selectors) != 1:
        raise invalid(_MATCHERS, f'{quote(text)} is no series selector such as up{{job="a"}}')
    (matchers,) = query.selectors
    if all(matcher.matches("") for matcher in matchers):
        raise invalid(_MATCHERS, "match[] must contain at least one non-empty matcher")
    return matchers


def matches_any(labels: dict[str, str], sets: Iterable[tuple[Matcher, ...]]) -> bool:
    """Tell whether all matchers of one set take the labels."""
    return any(
        all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)
        for matchers in sets
    )
