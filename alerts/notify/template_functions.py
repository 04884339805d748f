"""The functions the templates of notifications may call, besides those every Go template has.

Source: Alertmanager, template/template.go (DefaultFuncs).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from zoneinfo import ZoneInfo

from alerts.notify.go_layouts import parse_time
from alerts.notify.template_data import TEXTS, texts_slice
from alerts.rules.template_functions import FUNCTIONS as RULE_FUNCTIONS
from alerts.rules.template_functions import humanize_duration, title
from alerts.templates.builtins import BUILTINS
from alerts.templates.gofmt import sprintf
from alerts.templates.gotime import ZERO_TIME_NS, GoDuration, GoTime
from alerts.templates.values import ANY, STRING, Function, Html, Slice, Value, from_bytes

_TIME: Final = "*time.Time"
_LIST: Final = "[]interface {}"
_JSON_ESCAPES: Final = str.maketrans(
    {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
)


class Url(str):
    """A text that is known to be safe as a URL; in text templates an ordinary text."""

    __slots__ = ()


def as_data(value: Value) -> object:  # noqa: PLR0911 - a case for each kind
    """Return a value of a template as JSON has it."""
    as_json = getattr(value, "as_json", None)
    if as_json is not None:
        return as_json()
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return str(value)
        case Mapping():
            return {name: as_data(item) for name, item in sorted(value.items())}  # type: ignore[arg-type]  # maps hold template values
        case Slice():
            return [as_data(item) for item in value.items]
        case GoTime():
            layout = "2006-01-02T15:04:05.999999999Z07:00"
            return value.format(layout)
        case GoDuration():
            return value.nanoseconds
        case _:
            return {name: as_data(item) for name, item in value.fields().items()}


def to_value(data: object) -> Value:
    """Return plain data, such as JSON or YAML gives it, as a value of a template."""
    match data:
        case None | bool() | int() | float() | str():
            return data
        case Mapping():
            return {str(name): to_value(item) for name, item in data.items()}
        case list() | tuple():
            return Slice(tuple(to_value(item) for item in data), _LIST)
        case _:
            return str(data)


def to_json(value: Value) -> str:
    """Return a value as JSON, written as Go does."""
    try:
        text = json.dumps(
            as_data(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )
    except ValueError:
        raise ValueError("json: unsupported value: NaN or Inf") from None
    return text.translate(_JSON_ESCAPES)


def _humanized(value: Value) -> str:
    if isinstance(value, GoDuration):
        return humanize_duration(value.nanoseconds / 1e9)
    return str(RULE_FUNCTIONS["humanizeDuration"].call(value))


def _joined(separator: str, texts: Slice | None) -> str:
    return separator.join(str(text) for text in (() if texts is None else texts.items))


def _unescaped(text: str) -> str:
    for place, letter in enumerate(text):
        pair = text[place + 1 : place + 3]
        is_code = len(pair) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in pair)
        if letter == "%" and not is_code:
            shown = sprintf("%q", [text[place : place + 3]])
            raise ValueError(f"invalid URL escape {shown}")
    return from_bytes(unquote_to_bytes(text.replace("+", " ")))


def _in_zone(name: str, moment: GoTime) -> GoTime:
    if name in ("", "UTC"):
        return GoTime(moment.nanoseconds)
    if name == "Local":
        raise ValueError("the zone Local depends on the machine; name one, such as Europe/Paris")
    try:
        return GoTime(moment.nanoseconds, ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name}") from None


def _to_date(layout: str, text: str) -> GoTime:
    try:
        return parse_time(layout, text)
    except ValueError:
        return GoTime(ZERO_TIME_NS)


def _decoded(text: str) -> str:
    try:
        return from_bytes(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("illegal base64 data") from None


def _dictionary(*values: Value) -> dict[str, Any]:
    if len(values) % 2:
        raise ValueError("dict requires an even number of arguments")
    names = values[::2]
    if not all(isinstance(name, str) for name in names):
        raise ValueError("dict keys must be strings")
    return dict(zip(map(str, names), values[1::2], strict=True))


FUNCTIONS: Final[dict[str, Function]] = {
    **BUILTINS,
    **{name: RULE_FUNCTIONS[name] for name in ("toUpper", "toLower", "match", "reReplaceAll")},
    "title": Function(lambda text: title(text.lower()), (STRING,)),
    "trimSpace": Function(str.strip, (STRING,)),
    "join": Function(_joined, (STRING, TEXTS)),
    "safeHtml": Function(Html, (STRING,)),
    "safeUrl": Function(Url, (STRING,)),
    "urlUnescape": Function(_unescaped, (STRING,)),
    "stringSlice": Function(lambda *texts: texts_slice(texts), (), STRING),
    "date": Function(lambda layout, moment: moment.format(layout), (STRING, _TIME)),
    "tz": Function(_in_zone, (STRING, _TIME)),
    "toDate": Function(_to_date, (STRING, STRING)),
    "mustToDate": Function(parse_time, (STRING, STRING)),
    "humanizeDuration": Function(_humanized, (ANY,)),
    "toJson": Function(to_json, (ANY,)),
    "base64encode": Function(
        lambda text: base64.urlsafe_b64encode(text.encode("utf-8", "surrogateescape")).decode(),
        (STRING,),
    ),
    "base64decode": Function(_decoded, (STRING,)),
    "list": Function(lambda *items: Slice(items, _LIST), (), ANY),
    "append": Function(lambda found, *items: Slice((*found.items, *items), _LIST), (_LIST,), ANY),
    "dict": Function(_dictionary, (), ANY),
}
"""The functions that need nothing but their arguments."""

BOUND_FUNCTIONS: Final = ("now", "since", "routeLabels")
"""The functions ``bound_functions`` makes."""


def bound_functions(now_s: float, route_labels: Mapping[str, str]) -> dict[str, Function]:
    """Return the functions that depend on the moment and on the notification.

    Args:
        now_s: Unix time in seconds.
        route_labels: The labels of the route.
    """
    now_ns = round(now_s * 1e9)
    return {
        "now": Function(lambda: GoTime(now_ns)),
        "since": Function(lambda moment: GoDuration(now_ns - moment.nanoseconds), (_TIME,)),
        "routeLabels": Function(lambda name: route_labels.get(name, ""), (STRING,)),
    }


def split(text: str) -> Slice:
    """Return the parts of a text between commas, without blanks around them and empty ones."""
    return texts_slice(part.strip() for part in text.split(",") if part.strip())
