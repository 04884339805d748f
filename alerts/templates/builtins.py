"""The functions every Go template has. ``and``, ``or`` and ``call`` are the executor's.

Source: Go, text/template/funcs.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_plus

from alerts.templates.gofmt import format_value, sprint, sprintf
from alerts.templates.values import (
    ANY,
    STRING,
    Function,
    Slice,
    Value,
    byte_length,
    from_bytes,
    go_type,
    is_true,
    to_bytes,
)

VALUE: Final = "reflect.Value"
"""The type of a parameter that takes anything, a missing value included."""

_HTML: Final = str.maketrans(
    {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
)
_JS: Final = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "<": "\\u003C",
    ">": "\\u003E",
    "&": "\\u0026",
    "=": "\\u003D",
}
_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (str, "string"),
)


def _kind(value: Value) -> str:
    """Return the basic kind of a value, empty for what has none."""
    return next((kind for python, kind in _KINDS if isinstance(value, python)), "")


def equal(first: Value, *others: Value) -> bool:
    """Return whether the first value equals one of the others."""
    if not others:
        raise ValueError("missing argument for comparison")
    return any(_equal(first, other) for other in others)


def _equal(one: Value, other: Value) -> bool:
    kind = _kind(one)
    if kind != _kind(other):
        if one is not None and other is not None:
            raise ValueError(
                f"incompatible types for comparison: {go_type(one)} and {go_type(other)}"
            )
        return False
    if kind:
        return one == other
    if one is None or other is None:
        return one is other
    if go_type(one).partition("[")[0] != go_type(other).partition("[")[0]:
        raise ValueError(f"non-comparable types {go_type(one)} and {go_type(other)}")
    if isinstance(other, Mapping | Slice):
        raise ValueError(  # noqa: TRY004 - a wrong value of a template, not of our caller
            f"non-comparable type {format_value(other)}: {go_type(other)}"
        )
    return one is other


def less(one: Value, other: Value) -> bool:
    """Return whether one value is less than another of the same kind."""
    kinds = _kind(one), _kind(other)
    if "" in kinds:
        raise ValueError("invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise ValueError(f"incompatible types for comparison: {go_type(one)} and {go_type(other)}")
    if isinstance(one, str) and isinstance(other, str):
        return to_bytes(one) < to_bytes(other)
    if isinstance(one, bool) or not isinstance(one, int | float):
        raise ValueError("invalid type for comparison")  # noqa: TRY004 - as above
    return isinstance(other, int | float) and one < other


def _less_or_equal(one: Value, other: Value) -> bool:
    return less(one, other) or equal(one, other)


def length(value: Value) -> int:
    """Return how many entries, or bytes, a value has."""
    match value:
        case str():
            return byte_length(value)
        case Mapping():
            return len(value)
        case Slice():
            return len(value.items)
        case None:
            raise ValueError("reflect: call of reflect.Value.Type on zero Value")
        case _:
            raise ValueError(f"len of type {go_type(value)}")


def index(value: Value, *indexes: Value) -> Value:
    """Return an entry of a map or list or a byte of a text, one index after the other."""
    if value is None:
        raise ValueError("index of untyped nil")
    for at in indexes:
        value = _entry(value, at)
    return value


def _entry(value: Value, at: Value) -> Value:
    match value:
        case str():
            data = to_bytes(value)
            return data[_position(at, len(data), is_slice=False)]
        case Slice():
            return value.items[_position(at, len(value.items), is_slice=False)]
        case Mapping():
            if at is None:
                raise ValueError("value is nil; should be of type string")
            if not isinstance(at, str):
                raise ValueError(f"value has type {go_type(at)}; should be string")  # noqa: TRY004 - as above
            return map_entry(value, at)
        case None:
            raise ValueError("index of nil pointer")
        case _:
            raise ValueError(f"can't index item of type {go_type(value)}")


def map_entry(value: Mapping[str, object], key: str) -> Value:
    """Return an entry of a map, the zero of its type when there is none."""
    missing = None if isinstance(value, dict) else ""
    return value.get(key, missing)  # type: ignore[return-value]  # maps hold template values


def _position(at: Value, size: int, *, is_slice: bool) -> int:
    if at is None:
        raise ValueError("cannot index slice/array with nil")
    if isinstance(at, bool) or not isinstance(at, int):
        raise ValueError(f"cannot index slice/array with type {go_type(at)}")  # noqa: TRY004 - as above
    if at < 0 or at > size or (at == size and not is_slice):
        raise ValueError(f"index out of range: {at}")
    return at


def cut(value: Value, *indexes: Value) -> Value:
    """Return a part of a text, by bytes, or of a list."""
    if value is None:
        raise ValueError("slice of untyped nil")
    if len(indexes) > 3:
        raise ValueError(f"too many slice indexes: {len(indexes)}")
    match value:
        case str():
            if len(indexes) == 3:
                raise ValueError("cannot 3-index slice a string")
            data = to_bytes(value)
            start, end = _bounds(indexes, len(data))
            return from_bytes(data[start:end])
        case Slice():
            start, end = _bounds(indexes, len(value.items))
            return Slice(value.items[start:end], value.go_type)
        case _:
            raise ValueError(f"can't slice item of type {go_type(value)}")


def _bounds(indexes: tuple[Value, ...], size: int) -> tuple[int, int]:
    given = [_position(at, size, is_slice=True) for at in indexes]
    bounds = [0, size, size]
    bounds[: len(given)] = given
    for low, high in ((0, 1), (1, 2))[: max(1, len(given) - 1)]:
        if bounds[low] > bounds[high]:
            raise ValueError(f"invalid slice index: {bounds[low]} > {bounds[high]}")
    return bounds[0], bounds[1]


def _text(values: tuple[Value, ...]) -> str:
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return sprint(["<no value>" if value is None else value for value in values])


def html(*values: Value) -> str:
    """Return values as text for HTML."""
    return _text(values).translate(_HTML)


def javascript(*values: Value) -> str:
    """Return values as text inside a JavaScript string."""
    return "".join(map(_javascript, _text(values)))


def _javascript(letter: str) -> str:
    if letter in _JS:
        return _JS[letter]
    if letter < " ":
        return f"\\u{ord(letter):04X}"
    if letter.isprintable():
        return letter
    return f"\\u{ord(letter):04X}"


def query_escape(text: str) -> str:
    """Return a text for the query of a URL."""
    return quote_plus(to_bytes(text), safe="~")


def _by_executor(*values: Value) -> Value:
    raise ValueError(f"the executor does this itself, with {len(values)} values")


BUILTINS: Final[dict[str, Function]] = {
    "call": Function(_by_executor, (VALUE,), VALUE),
    "and": Function(_by_executor, (VALUE,), VALUE),
    "or": Function(_by_executor, (VALUE,), VALUE),
    "not": Function(lambda value: not is_true(value), (VALUE,)),
    "eq": Function(equal, (VALUE,), VALUE),
    "ne": Function(lambda one, other: not equal(one, other), (VALUE, VALUE)),
    "lt": Function(less, (VALUE, VALUE)),
    "le": Function(_less_or_equal, (VALUE, VALUE)),
    "gt": Function(lambda one, other: not _less_or_equal(one, other), (VALUE, VALUE)),
    "ge": Function(lambda one, other: not less(one, other), (VALUE, VALUE)),
    "len": Function(length, (VALUE,)),
    "index": Function(index, (VALUE,), VALUE),
    "slice": Function(cut, (VALUE,), VALUE),
    "print": Function(lambda *values: sprint(values), (), ANY),
    "printf": Function(lambda form, *values: sprintf(form, values), (STRING,), ANY),
    "println": Function(lambda *values: " ".join(map(format_value, values)) + "\n", (), ANY),
    "html": Function(html, (), ANY),
    "js": Function(javascript, (), ANY),
    "urlquery": Function(lambda *values: query_escape(_text(values)), (), ANY),
}
"""The functions by name."""
