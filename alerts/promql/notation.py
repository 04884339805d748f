"""Series written as text: ``up{job="a"} 1 1+2x3 _ stale`` and metrics alone, ``up{job="a"}``.

This is how rule unit tests and PromQL test scripts give their data and their expectations.
Native histograms are read too; nothing here computes with them beyond writing series of them.

Source: Prometheus, promql/parser (``ParseSeriesDesc``, ``ParseMetric``) and its documentation,
"Unit Testing for Rules", section "series".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from alerts.durations import parse_duration
from alerts.errors import AlertsError
from alerts.escapes import resolve_escapes
from alerts.promql.native import NativeHistogram
from alerts.series.bits import STALE
from alerts.series.labels import METRIC_NAME, Labels

SequenceValue = float | NativeHistogram | None
"""A place of a series: a number (``STALE`` included), a native histogram, None for no sample."""

_MAX_VALUES: Final = 10_000_000
_SPACE: Final = re.compile(r"[ \t\r\n]+")
_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_STRING: Final = re.compile(
    r""""(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | `[^`]*`""", re.VERBOSE | re.DOTALL
)
_NUMBER: Final = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![0-9a-wyzA-Z_.])"
_DURATION: Final = r"(?:[0-9]+(?:ms|[ywdhms]))+(?![0-9a-wyzA-Z_.])"
_VALUE: Final = rf"{_DURATION}|{_NUMBER}|[iI][nN][fF](?![a-wyzA-Z])|[nN][aA][nN](?![a-wyzA-Z])"
_ITEM: Final = re.compile(
    rf"""(?:(?P<blank>_) | (?P<stale>stale) | (?P<start>[-+]?(?:{_VALUE}))
        (?P<step>[-+](?:{_VALUE}))?)
    (?:x(?P<times>[0-9]+))?(?=[ \t\r\n]|$)""",
    re.VERBOSE | re.ASCII,
)
_HISTOGRAMS: Final = re.compile(
    r"\{\{(?P<start>[^{}]*)\}\}(?:(?P<sign>[-+])\{\{(?P<step>[^{}]*)\}\})?"
    r"(?:x(?P<times>[0-9]+))?(?=[ \t\r\n]|$)",
    re.ASCII,
)


class NotationError(AlertsError, ValueError):
    """A text that is no series.

    Attributes:
        offset: 0-based character where it goes wrong.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def parse_series(text: str) -> tuple[Labels, list[SequenceValue]]:
    """Return the labels and the values of a series, such as ``up{job="a"} 0+1x5``.

    Raises:
        NotationError: It is no series.
    """
    reader = _Reader(text)
    labels = reader.metric()
    if not reader.is_at_end() and not reader.skip_space():
        raise reader.error("a space is missing between the metric and its values")
    return labels, reader.values()


def parse_metric(text: str) -> Labels:
    """Return the labels of a metric, such as ``up{job="a"}``, ``{job="a"}`` or nothing at all.

    Raises:
        NotationError: It is no metric.
    """
    reader = _Reader(text)
    labels = reader.metric()
    reader.skip_space()
    if not reader.is_at_end():
        raise reader.error("a metric ends before this")
    return labels


def parse_leading_metric(text: str) -> Labels:
    """Return the labels of the metric that a text begins with, whatever follows it.

    Raises:
        NotationError: The metric does not end in the text, or is none.
    """
    return _Reader(text).metric()


def parse_values(text: str) -> list[SequenceValue]:
    """Return the values of a series, such as ``1 _ 3+2x4 stale``.

    Raises:
        NotationError: They are no values.
    """
    return _Reader(text).values()


@dataclass(slots=True)
class _Reader:
    text: str
    position: int = 0

    def error(self, message: str) -> NotationError:
        shown = self.text[self.position : self.position + 20]
        where = f"{shown!r}" if shown else "the end"
        return NotationError(f"{message}: {where}", self.position)

    def is_at_end(self) -> bool:
        return self.position >= len(self.text)

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.position)
        if found is not None:
            self.position = found.end()
        return found

    def take(self, literal: str) -> bool:
        if not self.text.startswith(literal, self.position):
            return False
        self.position += len(literal)
        return True

    def skip_space(self) -> bool:
        return self.match(_SPACE) is not None

    def metric(self) -> Labels:
        self.skip_space()
        pairs: dict[str, str] = {}
        name = self.match(_METRIC)
        if name is not None:
            pairs[METRIC_NAME] = name[0]
        after_name = self.position
        self.skip_space()
        if not self.text.startswith("{{", self.position) and self.take("{"):
            self._entries(pairs)
        else:
            self.position = after_name
        return Labels(pairs)

    def _entries(self, pairs: dict[str, str]) -> None:
        self.skip_space()
        while not self.take("}"):
            self._entry(pairs)
            self.skip_space()
            if self.take(","):
                self.skip_space()
            elif not self.text.startswith("}", self.position):
                raise self.error('a label is followed by "," or "}"')

    def _entry(self, pairs: dict[str, str]) -> None:
        is_quoted = self.text[self.position : self.position + 1] in ('"', "'", "`")
        if is_quoted:
            name = self.string()
        else:
            word = self.match(_METRIC)
            if word is None:
                raise self.error("a label name is missing")
            name = word[0]
        self.skip_space()
        if self.take("="):
            self.skip_space()
            pairs[name] = self.string()
        elif is_quoted and METRIC_NAME not in pairs:
            pairs[METRIC_NAME] = name
        else:
            raise self.error('a label name is followed by "="')

    def string(self) -> str:
        start = self.position
        found = self.match(_STRING)
        if found is None:
            raise self.error("a text in quotes is missing")
        if found[0][0] == "`":
            return found[0][1:-1]
        try:
            return unquote(found[0][1:-1])
        except ValueError as error:
            self.position = start
            raise self.error(str(error)) from error

    def values(self) -> list[SequenceValue]:
        values: list[SequenceValue] = []
        self.skip_space()
        while not self.is_at_end():
            values += (
                self._histograms() if self.text.startswith("{{", self.position) else self._item()
            )
            if len(values) > _MAX_VALUES:
                raise self.error(f"more than {_MAX_VALUES} values before")
            self.skip_space()
        return values

    def _item(self) -> list[SequenceValue]:
        found = self.match(_ITEM)
        if found is None:
            raise self.error(
                "a value is a number, a+bxN, a-bxN, axN, _, _xN, stale or {{a histogram}}"
            )
        times = self._times(found)
        if found["blank"]:
            return [None] * (1 if times is None else times)
        if found["stale"]:
            return [STALE] * (1 if times is None else times + 1)
        if times is None and found["step"]:
            self.position = found.start()
            raise self.error("a step needs the number of times, a+bxN")
        try:
            value = _number(found["start"])
            step = _number(found["step"]) if found["step"] else 0.0
        except ValueError as error:
            self.position = found.start()
            raise self.error(str(error)) from error
        values: list[SequenceValue] = []
        for _ in range((times or 0) + 1):
            values.append(value)
            # Added up one by one, as Prometheus does: a multiple would round differently.
            value += step
        return values

    def _histograms(self) -> list[SequenceValue]:
        found = self.match(_HISTOGRAMS)
        if found is None:
            raise self.error("a histogram is written {{sum:1 count:2 buckets:[1 1]}}")
        times = self._times(found)
        if times is None and found["step"] is not None:
            self.position = found.start()
            raise self.error("a step needs the number of times, {{a}}+{{b}}xN")
        try:
            value = NativeHistogram.parse(found["start"])
            step = None if found["step"] is None else NativeHistogram.parse(found["step"])
            factor = -1.0 if found["sign"] == "-" else 1.0
            values: list[SequenceValue] = [value]
            for _ in range(times or 0):
                value = value if step is None else value.plus(step, factor)
                values.append(value)
        except ValueError as error:
            self.position = found.start()
            raise self.error(str(error)) from error
        return values

    def _times(self, found: re.Match[str]) -> int | None:
        if found["times"] is None:
            return None
        digits = found["times"].lstrip("0")
        if len(digits) > len(str(_MAX_VALUES)) or int(digits or "0") > _MAX_VALUES:
            self.position = found.start("times")
            raise self.error(f"more than {_MAX_VALUES} values")
        return int(digits or "0")


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if math.isinf(number) and text[-1] in "0123456789.":
            raise ValueError("the number is out of range")
        return number
    sign = -1.0 if text.startswith("-") else 1.0
    return sign * parse_duration(text.lstrip("+-"))


def unquote(text: str) -> str:
    """Return what stands between the quotes of a PromQL string, escapes resolved.

    Raises:
        ValueError: An escape is none of PromQL's (Go's).
    """
    if "\\" not in text:
        return text
    return resolve_escapes(text, quotes="'\"").decode(errors="replace")
