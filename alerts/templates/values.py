"""The values templates work with, and what Go calls their types.

A text is a ``str``; bytes of it that are no UTF-8 (a text cut inside a character) are lone
surrogates. A missing value is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from alerts.series.labels import Labels


class Html(str):
    """A text that is known to be safe as HTML; in text templates an ordinary text."""

    __slots__ = ()


class Object(Protocol):
    """A Go struct: fields to read, methods to call, and how it is written."""

    go_type: ClassVar[str]

    def fields(self) -> Mapping[str, Value]:
        """Return the fields in the order of the struct."""

    def methods(self) -> Mapping[str, Function]:
        """Return the methods."""

    def text(self) -> str | None:
        """Return what its String method returns, None when it has none."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A Go slice, maybe of a named type with methods.

    Attributes:
        items: What is in it.
        go_type: Name of its type.
        named: Its methods.
        shown: What its String method returns; None: it has none.
    """

    items: tuple[Value, ...]
    go_type: str
    named: Mapping[str, Function] = field(default_factory=dict, compare=False, repr=False)
    shown: str | None = field(default=None, compare=False, repr=False)

    def methods(self) -> Mapping[str, Function]:
        """Return the methods."""
        return self.named

    def text(self) -> str | None:
        """Return what its String method returns, None when it has none."""
        return self.shown


Value = str | float | int | bool | None | Labels | Mapping[str, object] | Slice | Object
"""What a template can hold."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method: its types are checked before it is called.

    Attributes:
        call: Takes the arguments; raises ValueError with what Go's function would say.
        parameters: Types of the arguments; ``any`` takes everything.
        rest: Type of any number of further arguments; None: there are none.
    """

    call: Callable[..., Value]
    parameters: Sequence[str] = ()
    rest: str | None = None


ANY: Final = "interface {}"
STRING: Final = "string"
FLOAT: Final = "float64"
INT: Final = "int"

_TYPES: Final = {bool: "bool", int: INT, float: FLOAT, str: STRING, Html: "template.HTML"}


def go_type(value: Value) -> str:
    """Return the Go type of a value that is there."""
    known = _TYPES.get(type(value))
    if known is not None:
        return known
    if value is None:
        return "<nil>"
    named = getattr(value, "go_type", None)
    if named is not None:
        return str(named)
    if isinstance(value, Labels):
        return "map[string]string"
    if isinstance(value, Mapping):
        return f"map[string]{ANY}"
    return type(value).__name__


def methods_of(value: Value) -> Mapping[str, Function]:
    """Return the methods a value's type has; maps and lists of named types can have some."""
    methods = getattr(value, "methods", None)
    found: Mapping[str, Function] = {} if methods is None else methods()
    return found


def text_of(value: Value) -> str | None:
    """Return what the String method of a value returns, None when its type has none."""
    text = getattr(value, "text", None)
    found: str | None = None if text is None else text()
    return found


def is_true(value: Value) -> bool:
    """Whether Go templates take a value as true: not false, zero, empty or missing."""
    match value:
        case None:
            return False
        case bool() | int() | float():
            return value != 0
        case str() | Mapping():
            return len(value) > 0
        case Slice():
            return len(value.items) > 0
        case _:
            return True


def byte_length(text: str) -> int:
    """Return how many bytes a text has in UTF-8."""
    return len(text) if text.isascii() else len(to_bytes(text))


def to_bytes(text: str) -> bytes:
    """Return the bytes of a text."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """Return the text that bytes are."""
    return data.decode("utf-8", "surrogateescape")
