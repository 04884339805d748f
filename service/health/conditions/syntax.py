"""What a condition consists of once it was read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.health.conditions.body_path import BodyPath
from service.health.conditions.findings import Placeholder
from service.health.conditions.pattern import Pattern


class Operator(StrEnum):
    """How the two sides of a condition are compared."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS_OR_EQUAL = "<="
    GREATER_OR_EQUAL = ">="
    LESS = "<"
    GREATER = ">"

    @property
    def orders(self) -> bool:
        """Whether it asks which side is larger, which only numbers have an answer to."""
        return self not in (Operator.EQUAL, Operator.NOT_EQUAL)


class Function(StrEnum):
    """What is asked about a placeholder instead of its value."""

    LENGTH = "len"
    HAS = "has"


@dataclass(frozen=True, slots=True)
class Lookup:
    """A placeholder, with what stands behind and around it.

    Attributes:
        text: As it was written.
        placeholder: What was found is looked at.
        path: Of ``[BODY]``: where to look; None for the whole body and other placeholders.
        header: Of ``[HEADER]``: the name.
        function: What is asked about it; None for its value.
    """

    text: str
    placeholder: Placeholder
    path: BodyPath | None = None
    header: str = ""
    function: Function | None = None

    @property
    def is_singular(self) -> bool:
        """Whether it stands for one value at most; ``has()`` always does."""
        return self.path is None or self.path.is_singular or self.function is Function.HAS


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands for itself.

    Attributes:
        text: As it was written.
        value: Without its quotes, if it had any.
        quoted: Whether it had quotes, and so is a text even if it looks like a number.
    """

    text: str
    value: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class PatternCall:
    """``pat(...)``: equal to every text that the pattern stands for."""

    text: str
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class ChoiceCall:
    """``any(...)``: equal to each of its options."""

    text: str
    options: tuple[str, ...]


Operand = Lookup | Literal | PatternCall | ChoiceCall


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison that has to hold.

    Attributes:
        text: As it was written.
        left: Its left side.
        operator: How the sides are compared.
        right: Its right side.
    """

    text: str
    left: Operand
    operator: Operator
    right: Operand

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """The placeholders in it."""
        return tuple(side for side in (self.left, self.right) if isinstance(side, Lookup))
