"""The functions templates may call, and the names of those that are not supported yet.

Source: Prometheus, template/template.go; Go, package strings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from alerts.rules.gofmt import Value, format_float, format_value, sprintf
from alerts.series.labels import Labels

_LARGE: Final = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_LARGE_1024: Final = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL: Final = ("m", "u", "n", "p", "f", "a", "z", "y")


@dataclass(frozen=True, slots=True)
class TemplateFunction:
    """A function by name: ``call`` takes its arguments, raising ValueError for wrong ones.

    Attributes:
        call: The function itself.
        minimum: Fewest arguments.
        maximum: Most arguments; None: any number.
    """

    call: Callable[[tuple[Value, ...]], Value]
    minimum: int = 1
    maximum: int | None = 1

    def arity_problem(self, given: int) -> str:
        """Return what is wrong with a number of arguments, empty when nothing is."""
        if given < self.minimum or (self.maximum is not None and given > self.maximum):
            wanted = str(self.minimum) if self.maximum else f"at least {self.minimum}"
            return f"takes {wanted} argument(s), not {given}"
        return ""


def humanize(value: float) -> str:
    """Return a number with a metric prefix: 1234567 becomes 1.235M."""
    if value == 0 or not math.isfinite(value):
        return _four_digits(value)
    if abs(value) >= 1:
        return _scale_up(value, _LARGE, 1000)
    return _scale_down(value)


def humanize_1024(value: float) -> str:
    """Return a number with a binary prefix: 2048 becomes 2ki."""
    if abs(value) <= 1 or not math.isfinite(value):
        return _four_digits(value)
    return _scale_up(value, _LARGE_1024, 1024)


def humanize_duration(seconds: float) -> str:
    """Return a number of seconds in days, hours, minutes and seconds."""
    if not math.isfinite(seconds):
        return _four_digits(seconds)
    if seconds == 0:
        return "0s"
    if abs(seconds) < 1:
        return f"{_scale_down(seconds)}s"
    sign = "-" if seconds < 0 else ""
    if abs(seconds) < 60:
        return f"{sign}{_four_digits(abs(seconds))}s"
    minutes, second = divmod(int(abs(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    days = f"{day}d " if day else ""
    return f"{sign}{days}{f'{hour}h ' if hours else ''}{minute}m {second}s"


def humanize_percentage(value: float) -> str:
    """Return a ratio as a percentage: 0.1234 becomes 12.34%."""
    return f"{_four_digits(value * 100)}%"


def title(text: str) -> str:
    """Return a text with the first letter of each word in upper case, as Go's strings.Title."""
    letters: list[str] = []
    starts_word = True
    for character in text:
        letters.append(character.title() if starts_word else character)
        starts_word = not (character.isalnum() or character == "_") and (
            character.isascii() or character.isspace()
        )
    return "".join(letters)


def _scale_up(value: float, prefixes: tuple[str, ...], base: int) -> str:
    shown = ""
    for prefix in prefixes:
        if abs(value) < base:
            break
        shown = prefix
        value /= base
    return f"{_four_digits(value)}{shown}"


def _scale_down(value: float) -> str:
    shown = ""
    for prefix in _SMALL:
        if abs(value) >= 1:
            break
        shown = prefix
        value *= 1000
    return f"{_four_digits(value)}{shown}"


def _four_digits(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else format_float(value)


def _number(value: Value) -> float:
    if isinstance(value, bool | Labels):
        raise ValueError(f"{format_value(value)} is no number")  # noqa: TRY004 - a wrong value of a template, not of our caller
    try:
        return float(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no number") from error


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{format_value(value)} is no text")  # noqa: TRY004 - as above
    return value


def _of_number(function: Callable[[float], str]) -> TemplateFunction:
    return TemplateFunction(lambda arguments: function(_number(arguments[0])))


def _of_text(function: Callable[[str], str]) -> TemplateFunction:
    return TemplateFunction(lambda arguments: function(_text(arguments[0])))


FUNCTIONS: Final = {
    "humanize": _of_number(humanize),
    "humanize1024": _of_number(humanize_1024),
    "humanizeDuration": _of_number(humanize_duration),
    "humanizePercentage": _of_number(humanize_percentage),
    "title": _of_text(title),
    "toUpper": _of_text(str.upper),
    "toLower": _of_text(str.lower),
    "printf": TemplateFunction(
        lambda arguments: sprintf(_text(arguments[0]), arguments[1:]), maximum=None
    ),
}
"""Every function a template may call, by name."""

UNSUPPORTED_FUNCTIONS: Final = frozenset(
    [
        "query",
        "first",
        "label",
        "value",
        "strvalue",
        "sortByLabel",
        "humanizeTimestamp",
        "toTime",
        "toDuration",
        "now",
        "parseDuration",
        "stripPort",
        "stripDomain",
        "match",
        "reReplaceAll",
        "urlQueryEscape",
        "graphLink",
        "tableLink",
        "externalURL",
        "pathPrefix",
        "args",
        "safeHtml",
        "tmpl",
        "and",
        "or",
        "not",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "len",
        "index",
        "slice",
        "print",
        "println",
        "html",
        "js",
        "urlquery",
        "call",
    ]
)
"""Functions of Prometheus and Go that are refused by name."""
