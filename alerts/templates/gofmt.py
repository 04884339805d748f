"""Values and ``printf`` as Go's fmt package writes them, so that texts read the same here.

Not covered: ``%b`` and ``%x`` of floats, and ``%p``; they are shown as fmt shows a mistake.

Source: Go, packages fmt (print.go, format.go) and strconv (quote.go).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from alerts.templates.values import Slice, Value, go_type, text_of, to_bytes

_SHORTEST_EXPONENT_LIMIT: Final = 6
_MAX_WIDTH: Final = 1_000_000
_VERB: Final = re.compile(
    r"%(?P<flags>[-+ 0#]*)"
    r"(?P<width>(?:\[[^\]]*\])?\*|[0-9]+)?"
    r"(?:(?P<dot>\.)(?P<prec>(?:\[[^\]]*\])?\*|[0-9]*))?"
    r"(?P<index>\[[^\]]*\])?(?P<verb>.?)",
    re.DOTALL,
)
_QUOTED: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}


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
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return format_float(value)
        case int():
            return str(value)
        case _:
            return _formatted(value, _PLAIN)


def written(value: Value) -> str:
    """Return what an action writes for a value; for a pointer, what it points to."""
    if value is None:
        return "<no value>"
    text = format_value(value)
    return text if isinstance(value, str) or not text.startswith("&{") else text[1:]


def sprint(values: Sequence[Value]) -> str:
    """Return what Go's ``fmt.Sprint`` returns: spaces only between two that are no texts."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(format_value(value))
    return "".join(parts)


def sprintf(template: str, arguments: Sequence[Value]) -> str:
    """Return what Go's ``fmt.Sprintf`` returns; its way of showing mistakes included."""
    run = _Run(arguments)
    position = 0
    parts: list[str] = []
    for match in _VERB.finditer(template):
        parts.append(template[position : match.start()])
        position = match.end()
        parts.append(run.next(match))
    parts.append(template[position:])
    parts.append(run.extra())
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Format:
    """One verb with its flags."""

    verb: str
    flags: str = ""
    width: int | None = None
    precision: int | None = None

    def pad(self, text: str, *, zero: bool = True) -> str:
        """Fill a text up to the width; with zeros where the flags say and ``zero`` allows."""
        missing = (self.width or 0) - len(text)
        if missing <= 0:
            return text
        if "-" in self.flags:
            return text + " " * missing
        return ("0" if zero and "0" in self.flags else " ") * missing + text


_PLAIN: Final = _Format("v")


class _Run:
    """The arguments of one ``printf``, used up verb by verb."""

    def __init__(self, arguments: Sequence[Value]) -> None:
        self._arguments = arguments
        self._position = 0
        self._is_reordered = False
        self._is_good = True

    def next(self, match: re.Match[str]) -> str:
        self._is_good = True
        mistakes: list[str] = []
        flags, verb = match["flags"], match["verb"]
        width, flags = self._count(match["width"], flags, mistakes, "%!(BADWIDTH)")
        precision = None
        if match["dot"]:
            precision, _ = self._count(match["prec"] or "0", "", mistakes, "%!(BADPREC)")
            if precision is not None and precision < 0:
                precision = None
                mistakes.append("%!(BADPREC)")
        self._reorder(match["index"])
        shown = "".join(mistakes)
        if not verb:
            return f"{shown}%!(NOVERB)"
        if verb == "%":
            return f"{shown}%"
        if not self._is_good:
            return f"{shown}%!{verb}(BADINDEX)"
        if self._position >= len(self._arguments):
            return f"{shown}%!{verb}(MISSING)"
        value = self._arguments[self._position]
        self._position += 1
        return shown + _formatted(value, _Format(verb, flags, width, precision))

    def extra(self) -> str:
        if self._is_reordered or self._position >= len(self._arguments):
            return ""
        rest = self._arguments[self._position :]
        shown = ", ".join(_typed(value) for value in rest)
        return f"%!(EXTRA {shown})"

    def _count(
        self, text: str | None, flags: str, mistakes: list[str], mistake: str
    ) -> tuple[int | None, str]:
        """Return a width or precision, taken from the arguments if it is ``*``, and the flags."""
        if not text:
            return None, flags
        if not text.endswith("*"):
            number = int(text[:8])
            if number > _MAX_WIDTH:
                mistakes.append(mistake)
                return None, flags
            return number, flags
        self._reorder(text[:-1])
        value = None
        if self._position < len(self._arguments):
            value = self._arguments[self._position]
            self._position += 1
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_WIDTH:
            mistakes.append(mistake)
            return None, flags
        if value < 0 and mistake == "%!(BADWIDTH)":
            return -value, f"{flags}-"
        return value, flags

    def _reorder(self, index: str | None) -> None:
        if not index:
            return
        self._is_reordered = True
        digits = index[1:-1]
        number = int(digits[:8]) if digits.isdecimal() and digits.isascii() else 0
        if 1 <= number <= len(self._arguments):
            self._position = number - 1
        else:
            self._is_good = False


def _typed(value: Value) -> str:
    return "<nil>" if value is None else f"{go_type(value)}={format_value(value)}"


def _bad(value: Value, form: _Format) -> str:
    if value is None:
        return f"%!{form.verb}(<nil>)"
    return f"%!{form.verb}({go_type(value)}={_formatted(value, replace(form, verb='v'))})"


def _formatted(value: Value, form: _Format) -> str:
    if form.verb == "T":
        return form.pad(go_type(value))
    match value:
        case None | bool():
            shown = "<nil>" if value is None else str(value).lower()
            fits = form.verb in ("v" if value is None else "vt")
            return form.pad(shown) if fits else _bad(value, form)
        case int():
            return _integer(value, form)
        case float():
            return _float(value, form)
        case str():
            return _string(value, form)
        case _:
            return _composite(value, form)


def _composite(value: Value, form: _Format) -> str:
    shown = text_of(value)
    if shown is not None and form.verb in "vsqxX":
        return _string(shown, form)
    match value:
        case Mapping():
            entries = sorted(value.items(), key=lambda entry: to_bytes(entry[0]))
            inside = " ".join(
                f"{_formatted(name, form)}:{_formatted(_as_value(item), form)}"
                for name, item in entries
            )
            return f"map[{inside}]"
        case Slice():
            return f"[{' '.join(_formatted(item, form) for item in value.items)}]"
        case None | str() | int() | float():
            return _formatted(value, form)
        case _:
            fields = value.fields().items()
            named = "+" in form.flags
            inside = " ".join(
                f"{name}:{_formatted(item, form)}" if named else _formatted(item, form)
                for name, item in fields
            )
            pointer = "&" if value.go_type.startswith("*") else ""
            return f"{pointer}{{{inside}}}"


def _as_value(item: object) -> Value:
    return item  # type: ignore[return-value]  # a mapping in a template holds template values


def _integer(value: int, form: _Format) -> str:
    render = _INTEGERS.get(form.verb)
    if render is not None:
        return _signed_integer(value, render, form)
    is_point = 0 <= value <= 0x10FFFF and not 0xD800 <= value <= 0xDFFF
    character = chr(value) if is_point else "\N{REPLACEMENT CHARACTER}"
    match form.verb:
        case "c":
            return form.pad(character)
        case "q":
            return form.pad(_quoted(character, "'", is_ascii="+" in form.flags))
        case "U":
            known = f" '{character}'" if "#" in form.flags and character.isprintable() else ""
            return form.pad(f"U+{value:04X}{known}", zero=False)
        case _:
            return _bad(value, form)


_INTEGERS: Final[dict[str, tuple[str, str]]] = {
    "v": ("d", ""),
    "d": ("d", ""),
    "b": ("b", "0b"),
    "o": ("o", "0"),
    "O": ("o", ""),
    "x": ("x", "0x"),
    "X": ("X", "0X"),
}


def _signed_integer(value: int, render: tuple[str, str], form: _Format) -> str:
    kind, prefix = render
    sign = "-" if value < 0 else "+" if "+" in form.flags else " " if " " in form.flags else ""
    digits = format(abs(value), kind)
    if form.precision is not None:
        digits = digits.zfill(form.precision) if form.precision or value else ""
    elif "0" in form.flags and "-" not in form.flags and form.width is not None:
        digits = digits.zfill(form.width - len(sign))
    if form.verb == "O":
        prefix = "0o"
    elif "#" not in form.flags or (prefix == "0" and digits.startswith("0")):
        prefix = ""
    if form.precision == 0 and not value:
        return form.pad("", zero=False)
    return form.pad(f"{sign}{prefix}{digits}", zero=False)


def _float(value: float, form: _Format) -> str:
    if form.verb not in "vfFeEgG":
        return _bad(value, form)
    text = _digits(value, form)
    sign = text[0] if text[0] in "+-" else "+"
    number = text.lstrip("+-")
    if " " in form.flags and sign == "+" and "+" not in form.flags:
        sign = " "
    is_finite = math.isfinite(value)
    if not is_finite:
        shown = number if number == "NaN" and not {"+", " "} & set(form.flags) else sign + number
        return form.pad(shown, zero=False)
    if sign == "+" and "+" not in form.flags:
        sign = ""
    if "0" in form.flags and "-" not in form.flags and form.width is not None:
        return sign + number.rjust(form.width - len(sign), "0")
    return form.pad(sign + number)


def _digits(value: float, form: _Format) -> str:
    if not math.isfinite(value) or (form.verb in "vgG" and form.precision is None):
        text = format_float(value)
        if "#" in form.flags and form.verb != "v" and math.isfinite(value):
            padded = format(value, "#.6g")
            text = padded if float(padded) == value else text
        return text.replace("e", "E") if form.verb == "G" else text
    kind = "g" if form.verb == "v" else form.verb
    precision = 6 if form.precision is None else form.precision
    sharp = "#" if "#" in form.flags and form.verb != "v" else ""
    # No double has more digits than these; what Go adds to them is zeros.
    exact = min(precision, 1_100)
    text = format(value, f"{sharp}.{exact}{kind}")
    return text + "0" * (precision - exact) if kind in "fF" else text


def _string(value: str, form: _Format) -> str:
    cut = value if form.precision is None else value[: form.precision]
    match form.verb:
        case "v" if "#" in form.flags:
            return form.pad(_quoted(cut, '"'))
        case "v" | "s":
            return form.pad(cut)
        case "q":
            if "#" in form.flags and "`" not in cut and cut.isprintable():
                return form.pad(f"`{cut}`")
            return form.pad(_quoted(cut, '"', is_ascii="+" in form.flags))
        case "x" | "X":
            return form.pad(_hexadecimal(to_bytes(value), form))
        case _:
            return _bad(value, form)


def _hexadecimal(data: bytes, form: _Format) -> str:
    data = data if form.precision is None else data[: form.precision]
    if not data:
        return ""
    sharp = "#" in form.flags
    text = data.hex(" ") if " " in form.flags else data.hex()
    if sharp:
        text = "0x" + text.replace(" ", " 0x")
    return text.upper() if form.verb == "X" else text


def _quoted(text: str, quote: str, *, is_ascii: bool = False) -> str:
    return quote + "".join(_escaped(letter, quote, is_ascii) for letter in text) + quote


def _escaped(letter: str, quote: str, is_ascii: bool) -> str:
    if letter in (quote, "\\"):
        return f"\\{letter}"
    if letter.isprintable() and (not is_ascii or letter.isascii()):
        return letter
    if letter in _QUOTED:
        return _QUOTED[letter]
    point = ord(letter)
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
