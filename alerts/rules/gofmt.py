"""Numbers and ``printf`` as Go's fmt package writes them, so that rule texts read the same here.

Source: Go, packages fmt and strconv (verbs v s q t d f F e E g G, flags ``-+ 0#``, width and
precision; ``*`` and argument indexes are not covered and are shown the way fmt shows a mistake).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from alerts.series.labels import Labels

Value = str | float | int | bool | Labels
"""What a template can hold: a text, a number, true or false, or a label set."""

_VERB: Final = re.compile(
    r"%(?P<flags>[-+ 0#]*)(?P<width>\d*)(?P<dot>\.(?P<prec>\d*))?(?P<verb>.?)", re.DOTALL
)
_SHORTEST_EXPONENT_LIMIT: Final = 6
_GO_TYPES: Final = {str: "string", float: "float64", int: "int", bool: "bool"}


def format_float(value: float) -> str:
    """Return a float64 as Go's ``%v``: shortest digits, an exponent below 1e-04 and from 1e+06."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    prefix = "-" if sign else ""
    text = "".join(map(str, digits)).lstrip("0")
    point = len(text) + int(exponent)
    text = text.rstrip("0")
    if not text:
        return f"{prefix}0"
    if not -4 <= point - 1 < _SHORTEST_EXPONENT_LIMIT:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{prefix}{text[0]}{fraction}e{point - 1:+03d}"
    if point <= 0:
        return f"{prefix}0.{'0' * -point}{text}"
    whole = text[:point].ljust(point, "0")
    return f"{prefix}{whole}.{text[point:]}" if text[point:] else f"{prefix}{whole}"


def format_value(value: Value) -> str:
    """Return a value as Go's ``%v``."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return format_float(value)
        case Labels():
            return f"map[{' '.join(f'{name}:{text}' for name, text in value.pairs)}]"
        case _:
            return str(value)


def sprintf(template: str, arguments: Sequence[Value]) -> str:
    """Return what Go's ``fmt.Sprintf`` returns; its way of showing mistakes included."""
    position = 0
    used = 0
    parts: list[str] = []
    for match in _VERB.finditer(template):
        parts.append(template[position : match.start()])
        position = match.end()
        verb = match["verb"]
        if verb == "%":
            parts.append("%")
        elif not verb:
            parts.append("%!(NOVERB)")
        elif used >= len(arguments):
            parts.append(f"%!{verb}(MISSING)")
        else:
            parts.append(_format(match, arguments[used]))
            used += 1
    parts.append(template[position:])
    if used < len(arguments):
        extra = ", ".join(f"{_go_type(item)}={format_value(item)}" for item in arguments[used:])
        parts.append(f"%!(EXTRA {extra})")
    return "".join(parts)


def _format(match: re.Match[str], value: Value) -> str:
    verb, flags = match["verb"], match["flags"]
    precision = None if match["dot"] is None else int(match["prec"] or 0)
    text = _text_of(verb, value, precision, sharp="#" in flags)
    if text is None:
        return f"%!{verb}({_go_type(value)}={format_value(value)})"
    is_number = not isinstance(value, bool | str | Labels) and verb in "vdxXfFeEgG"
    if is_number and text[0] not in "+-":
        text = ("+" if "+" in flags else " " if " " in flags else "") + text
    width = int(match["width"] or 0)
    if "-" in flags:
        return text.ljust(width)
    is_finite = text[-1:].isalnum() and not text.endswith(("Inf", "NaN"))
    if "0" in flags and is_number and is_finite:
        return text.zfill(width)
    return text.rjust(width)


def _text_of(verb: str, value: Value, precision: int | None, *, sharp: bool) -> str | None:
    """Return a value by one verb, without sign flags and padding; None if they do not fit."""
    match value:
        case bool():
            return format_value(value) if verb in "vt" else None
        case str():
            return _text_of_string(verb, value[:precision], value)
        case int():
            return _text_of_int(verb, value, sharp=sharp)
        case float():
            return _text_of_float(verb, value, precision)
        case _:
            return format_value(value) if verb in "vs" else None


def _text_of_string(verb: str, cut: str, value: str) -> str | None:
    match verb:
        case "v" | "s":
            return cut
        case "q":
            return json.dumps(cut, ensure_ascii=False)
        case "x":
            return value.encode().hex()
        case _:
            return None


def _text_of_int(verb: str, value: int, *, sharp: bool) -> str | None:
    match verb:
        case "v" | "d":
            return str(value)
        case "x" | "X":
            return f"{value:#{verb}}" if sharp else f"{value:{verb}}"
        case _:
            return None


def _text_of_float(verb: str, value: float, precision: int | None) -> str | None:
    if verb not in "vfFeEgG":
        return None
    if math.isnan(value) or math.isinf(value) or (verb in "vgG" and precision is None):
        text = format_float(value)
        return text.upper() if verb == "G" and "e" in text else text
    kind = "g" if verb == "v" else verb
    return f"{value:.{6 if precision is None else precision}{kind}}"


def _go_type(value: Value) -> str:
    return _GO_TYPES.get(type(value), "map[string]string")
