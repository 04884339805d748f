"""The functions the templates of rules may call, besides those every Go template has.

Source: Prometheus, template/template.go; prometheus/common, helpers/templates.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import urlsplit

import re2  # type: ignore[import-untyped]  # google-re2 ships no type information

from alerts.durations import parse_duration
from alerts.errors import AlertsError, DurationError
from alerts.series.labels import Labels
from alerts.templates.builtins import BUILTINS, query_escape
from alerts.templates.gofmt import format_float, sprintf
from alerts.templates.gotime import GoDuration, GoTime
from alerts.templates.values import ANY, STRING, Function, Html, Slice, Value, go_type

_LARGE: Final = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_LARGE_1024: Final = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL: Final = ("m", "u", "n", "p", "f", "a", "z", "y")
_MAX_NS: Final = 2**63
_MAX_REGEX_MEMORY_BYTES: Final = 8 << 20
_MAX_REPLACED: Final = 4_000_000
_RESULT: Final = "template.queryResult"
_SAMPLE: Final = "*template.sample"
_NUMBER: Final = re.compile(
    r"[-+]?(?:(?:[0-9](?:_?[0-9])*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|inf|infinity|nan)",
    re.IGNORECASE | re.ASCII,
)
_HEX_NUMBER: Final = re.compile(
    r"[-+]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][-+]?[0-9]+", re.ASCII
)
_REGEX_ERRORS: Final = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid named capture group": "invalid named capture",
    "trailing \\": "trailing backslash at end of expression",
}
"""What Go calls the mistakes RE2 finds."""

_REFERENCE: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)


class ResultSample(Protocol):
    """One element of the result of a query."""

    @property
    def labels(self) -> Labels:
        """Its labels."""

    @property
    def value(self) -> float:
        """Its number."""


QueryFunction = Callable[[str], Sequence[ResultSample]]
"""Evaluates PromQL for ``query``, at the time of the alert; raises AlertsError."""


@dataclass(frozen=True, slots=True)
class QuerySample:
    """One sample of the result of ``query``."""

    go_type: ClassVar[str] = _SAMPLE
    labels: Labels
    value: float

    def fields(self) -> Mapping[str, Value]:
        """Return labels and value."""
        return {"Labels": self.labels, "Value": self.value}

    def methods(self) -> Mapping[str, Function]:
        """Return no methods."""
        return {}

    def text(self) -> None:
        """Say that it is written as a struct."""


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
        return f"{_four_digits(seconds)}s"
    if abs(seconds) < 1:
        return f"{_scale_down(seconds)}s"
    sign = "-" if seconds < 0 else ""
    if abs(seconds) < 60:
        return f"{sign}{_four_digits(abs(seconds))}s"
    # Go's int64 of what does not fit is its smallest number.
    whole = int(abs(seconds)) if abs(seconds) < _MAX_NS else -_MAX_NS
    minutes, second = _divided(whole, 60)
    hours, minute = _divided(minutes, 60)
    day, hour = _divided(hours, 24)
    days = f"{day}d " if day else ""
    return f"{sign}{days}{f'{hour}h ' if day or hour else ''}{minute}m {second}s"


def humanize_percentage(value: float) -> str:
    """Return a ratio as a percentage: 0.1234 becomes 12.34%."""
    return f"{_four_digits(value * 100)}%"


def humanize_timestamp(seconds: float) -> str:
    """Return Unix time as date and time."""
    return to_time(seconds).text() if math.isfinite(seconds) else _four_digits(seconds)


def to_time(seconds: float) -> GoTime:
    """Return Unix time as a time, to the millisecond."""
    if not math.isfinite(seconds):
        raise ValueError("value is NaN or Inf")
    if not -_MAX_NS <= seconds * 1e9 <= _MAX_NS:
        raise ValueError(
            f"{format_float(seconds)} cannot be represented as a nanoseconds timestamp "
            "since it overflows int64"
        )
    nanoseconds = min(int(seconds * 1e9), _MAX_NS - 1)
    return GoTime(int(nanoseconds / 1_000_000) * 1_000_000)


def to_duration(seconds: float) -> GoDuration:
    """Return a number of seconds as a duration."""
    nanoseconds = seconds * 1e9
    fits = math.isfinite(nanoseconds) and -_MAX_NS <= nanoseconds < _MAX_NS
    return GoDuration(int(nanoseconds) if fits else -_MAX_NS)


def title(text: str) -> str:
    """Return a text with the first letter of each word in upper case, the others as they are."""
    letters: list[str] = []
    starts_word = True
    for position, character in enumerate(text):
        is_letter = character.isalnum() or character == "_"
        if is_letter:
            letters.append(character.title() if starts_word else character)
            starts_word = starts_word and not character.isalpha()
        else:
            letters.append(character)
            # A word goes on after one of these between two letters: don't, 1.5, a:b.
            goes_on = character in "'.:\u2019" and text[position + 1 : position + 2].isalpha()
            starts_word = starts_word or not goes_on or not text[position - 1].isalnum()
    return "".join(letters)


def strip_port(host_port: str) -> str:
    """Return the host of ``host:port``, the text itself when it is none."""
    found = _split_host_port(host_port)
    return host_port if found is None else found[0]


def strip_domain(host_port: str) -> str:
    """Return ``host.domain:port`` without the domain; addresses stay as they are."""
    host, port = _split_host_port(host_port) or (host_port, "")
    if _is_address(host):
        return host_port
    host = host.partition(".")[0]
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def replace_all(pattern: str, replacement: str, text: str) -> str:
    """Return a text with every match of an RE2 pattern replaced; ``$1`` is the first group."""
    regex = _regex(pattern, "regexp: Compile({0}): error parsing regexp: {1}")
    pieces: list[str] = []
    length = copied = searched = 0
    while searched <= len(text) and (match := regex.search(text, searched)) is not None:
        start, end = match.span()
        pieces.append(text[copied:start])
        if end > copied or start == 0:
            pieces.append(_expanded(replacement, match))
            length += len(pieces[-1])
            if length > _MAX_REPLACED:
                raise ValueError(f"more than {_MAX_REPLACED} characters")
        copied = end
        searched = end if end > searched else searched + 1
    return "".join((*pieces, text[copied:]))


def _expanded(replacement: str, match: Any) -> str:
    def group(reference: re.Match[str]) -> str:
        if reference[0] == "$$":
            return "$"
        name = reference[1] or reference[2]
        try:
            found = match.group(int(name) if name.isdecimal() else name)
        except (IndexError, KeyError, OverflowError):
            return ""
        return str(found or "")

    return _REFERENCE.sub(group, replacement) if "$" in replacement else replacement


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_REGEX_MEMORY_BYTES
    return re2.compile(pattern, options)


def _regex(pattern: str, message: str) -> Any:
    try:
        return _compiled(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        what, _, where = text.partition(": ")
        shown = f"{_REGEX_ERRORS.get(what, what)}: `{where or pattern}`"
        raise ValueError(message.format(f"`{pattern}`", shown)) from None


def _match(pattern: str, text: str) -> bool:
    return _regex(pattern, "error parsing regexp: {1}").search(text) is not None


def _mapped(text: str, change: Callable[[str], str]) -> str:
    """Change letters one by one; Go leaves alone what would become several."""
    if text.isascii():
        return change(text)
    changed = [change(letter) for letter in text]
    return "".join(new if len(new) == 1 else old for old, new in zip(text, changed, strict=True))


def _divided(number: int, by: int) -> tuple[int, int]:
    """Divide as Go does, towards zero."""
    quotient = abs(number) // by * (1 if number >= 0 else -1)
    return quotient, number - quotient * by


def _split_host_port(text: str) -> tuple[str, str] | None:
    """Return host and port as Go's net.SplitHostPort; None where that gives an error."""
    host, colon, port = text.rpartition(":")
    if not colon:
        return None
    if host.startswith("["):
        if not host.endswith("]") or "[" in host[1:] or "]" in host[:-1] or set(port) & set("[]"):
            return None
        return host[1:-1], port
    if set(":[]") & set(host) or set("[]") & set(port):
        return None
    return host, port


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


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
    """Return a number, or a text or duration that stands for one."""
    match value:
        case bool():
            pass
        case float() | int():
            return float(value)
        case str() if type(value) is str:
            if _NUMBER.fullmatch(value) and "_" not in value:
                number = float(value)
                if math.isinf(number) and "n" not in value.lower():
                    raise ValueError(
                        f"strconv.ParseFloat: parsing {sprintf('%q', [value])}: value out of range"
                    )
                return number
            if _HEX_NUMBER.fullmatch(value):
                return float.fromhex(value)
            raise ValueError(
                f"strconv.ParseFloat: parsing {sprintf('%q', [value])}: invalid syntax"
            )
        case _:
            pass
    raise ValueError(f"can't convert {go_type(value)} to float")


def _of_number(function: Callable[[float], Value]) -> Function:
    return Function(lambda value: function(_number(value)), (ANY,))


def _of_text(function: Callable[[str], Value]) -> Function:
    return Function(function, (STRING,))


def _first(result: Slice | None) -> Value:
    if result is None or not result.items:
        raise ValueError("first() called on vector with no elements")
    return result.items[0]


def _label(name: str, sample: QuerySample | None) -> str:
    return _present(sample).labels.get(name, "")


def _present(sample: QuerySample | None) -> QuerySample:
    if sample is None:
        raise ValueError("runtime error: invalid memory address or nil pointer dereference")
    return sample


def _sorted_by_label(label: str, result: Slice | None) -> Slice:
    items = () if result is None else result.items
    found = [item for item in items if isinstance(item, QuerySample)]
    found.sort(key=lambda sample: sample.labels.get(label, ""))
    return Slice(tuple(found), _RESULT)


def _parse_duration(text: str) -> float:
    try:
        if text.startswith("-"):
            return -parse_duration(text[1:])
        return parse_duration(text)
    except DurationError:
        message = (
            "empty duration string"
            if not text
            else f"not a valid duration string: {sprintf('%q', [text])}"
        )
        raise ValueError(message) from None


def _link(tab: int) -> Callable[[str], Value]:
    return lambda expression: f"/graph?g0.expr={query_escape(expression)}&g0.tab={tab}"


FUNCTIONS: Final[dict[str, Function]] = {
    **BUILTINS,
    "first": Function(_first, (_RESULT,)),
    "label": Function(_label, (STRING, _SAMPLE)),
    "value": Function(lambda sample: _present(sample).value, (_SAMPLE,)),
    "strvalue": Function(lambda sample: _label("__value__", sample), (_SAMPLE,)),
    "sortByLabel": Function(_sorted_by_label, (STRING, _RESULT)),
    "humanize": _of_number(humanize),
    "humanize1024": _of_number(humanize_1024),
    "humanizeDuration": _of_number(humanize_duration),
    "humanizePercentage": _of_number(humanize_percentage),
    "humanizeTimestamp": _of_number(humanize_timestamp),
    "toTime": _of_number(to_time),
    "toDuration": _of_number(to_duration),
    "parseDuration": _of_text(_parse_duration),
    "title": _of_text(title),
    "toUpper": _of_text(lambda text: _mapped(text, str.upper)),
    "toLower": _of_text(lambda text: _mapped(text, str.lower)),
    "stripPort": _of_text(strip_port),
    "stripDomain": _of_text(strip_domain),
    "match": Function(_match, (STRING, STRING)),
    "reReplaceAll": Function(replace_all, (STRING, STRING, STRING)),
    "urlQueryEscape": _of_text(query_escape),
    "graphLink": _of_text(_link(0)),
    "tableLink": _of_text(_link(1)),
    "args": Function(
        lambda *values: {f"arg{index}": value for index, value in enumerate(values)}, (), ANY
    ),
    "safeHtml": _of_text(Html),
}
"""The functions that need nothing but their arguments."""

CONTEXT_FUNCTIONS: Final = ("query", "now", "externalURL", "pathPrefix")
"""The functions ``bound_functions`` makes."""

MOMENT_FUNCTIONS: Final = ("query", "now")
"""Those of them that give something else at another time."""


def bound_functions(
    query: QueryFunction | None, timestamp_ms: int, external_url: str
) -> dict[str, Function]:
    """Return the functions that depend on when and where a template is expanded.

    Args:
        query: Evaluates PromQL; None: ``query`` fails.
        timestamp_ms: What ``now`` returns, in Unix milliseconds.
        external_url: Where people reach this process.
    """

    def run_query(expression: str) -> Slice:
        if query is None:
            raise ValueError("queries cannot be answered here")
        try:
            samples = query(expression)
        except AlertsError as error:
            raise ValueError(str(error)) from error
        return Slice(tuple(QuerySample(item.labels, item.value) for item in samples), _RESULT)

    return {
        "query": Function(run_query, (STRING,)),
        "now": Function(lambda: timestamp_ms / 1000),
        "externalURL": Function(lambda: external_url),
        "pathPrefix": Function(lambda: urlsplit(external_url).path),
    }
