"""The syntax tree of a template. ``str`` of a node is how Go writes it in error messages.

Source: Go, text/template/parse/node.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Text:
    """Text outside of actions."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Boolean:
    """``true`` or ``false``."""

    value: bool
    offset: int

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(frozen=True, slots=True)
class String:
    """A text in quotes."""

    value: str
    source: str
    offset: int

    def __str__(self) -> str:
        return self.source


@dataclass(frozen=True, slots=True)
class Number:
    """A number; constants have no type before they are used.

    Attributes:
        source: As it was written.
        integer: Its value as int64, if it is one.
        real: Its value as float64, if it is one.
        is_real: Whether it is written as a float.
    """

    source: str
    integer: int | None
    real: float | None
    is_real: bool
    offset: int

    def __str__(self) -> str:
        return self.source


@dataclass(frozen=True, slots=True)
class Nil:
    """``nil``."""

    offset: int

    def __str__(self) -> str:
        return "nil"


@dataclass(frozen=True, slots=True)
class Dot:
    """``.``."""

    offset: int

    def __str__(self) -> str:
        return "."


@dataclass(frozen=True, slots=True)
class Field:
    """Fields of the dot: ``.Labels.job``."""

    names: tuple[str, ...]
    offset: int

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, with fields: ``$labels.job``."""

    name: str
    names: tuple[str, ...]
    offset: int

    def __str__(self) -> str:
        return ".".join((self.name, *self.names))


@dataclass(frozen=True, slots=True)
class Identifier:
    """The name of a function."""

    name: str
    offset: int

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Chain:
    """Fields of something in parentheses or of a function's result: ``(first .x).Value``."""

    node: Operand
    names: tuple[str, ...]
    offset: int

    def __str__(self) -> str:
        inner = f"({self.node})" if isinstance(self.node, Pipeline) else str(self.node)
        return inner + "".join(f".{name}" for name in self.names)


@dataclass(frozen=True, slots=True)
class Command:
    """One stage of a pipeline: an operand, or a function with its arguments."""

    arguments: tuple[Operand, ...]
    offset: int

    def __str__(self) -> str:
        return " ".join(
            f"({argument})" if isinstance(argument, Pipeline) else str(argument)
            for argument in self.arguments
        )


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands that pass their values on, and the variables that take the last one."""

    commands: tuple[Command, ...]
    offset: int
    variables: tuple[str, ...] = ()
    is_assignment: bool = False

    def __str__(self) -> str:
        left = ", ".join(self.variables)
        sign = (" = " if self.is_assignment else " := ") if left else ""
        return f"{left}{sign}{' | '.join(map(str, self.commands))}"


Operand = Boolean | String | Number | Nil | Dot | Field | Variable | Identifier | Chain | Pipeline


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is written, unless variables take it."""

    pipeline: Pipeline
    offset: int

    def __str__(self) -> str:
        return f"{{{{{self.pipeline}}}}}"


@dataclass(frozen=True, slots=True)
class Branch:
    """``if``, ``with`` or ``range``, as ``keyword`` says, with its ``else``."""

    keyword: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Jump:
    """``break`` or ``continue``."""

    keyword: str
    offset: int


@dataclass(frozen=True, slots=True)
class Call:
    """``template`` (or ``block``): another template, with a dot of its own."""

    name: str
    pipeline: Pipeline | None
    offset: int


Node = Text | Action | Branch | Jump | Call


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed template.

    Attributes:
        source: The text.
        body: What it does.
        defined: The templates it defines, by name.
        functions: The names of the functions it calls.
    """

    source: str
    body: tuple[Node, ...]
    defined: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    functions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Definition:
    """A named template of a library.

    Attributes:
        body: What it does.
        tree: The file it stands in, for the places of errors.
        file: What errors call that file.
    """

    body: tuple[Node, ...]
    tree: Tree
    file: str
