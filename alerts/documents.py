"""YAML documents that know where each of their values stands.

Every file a person writes is read through here, so that an error can name line and column even
when it is found long after parsing, by a schema or by the PromQL planner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from alerts.errors import DocumentError, Problem

ValuePath = tuple[str | int, ...]
"""Where a value stands: keys and list indexes from the top of the document."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """The data of a YAML file and the place of every value in it.

    Attributes:
        file: The path as the user gave it.
        data: Plain dicts, lists and scalars; None for an empty document.
        keys: Where the key of a mapping entry stands, by the entry's path.
        values: Where a value begins, by its path.
        texts: Scalars as they are written (``007`` stays ``007``), by their path.
    """

    file: str
    data: object
    keys: dict[ValuePath, Position]
    values: dict[ValuePath, Position]
    texts: dict[ValuePath, str] = field(default_factory=dict)

    def position(self, path: ValuePath, *, of_key: bool = False) -> Position:
        """Return the place of a value (or of its key), or of the nearest thing around it."""
        for length in range(len(path), -1, -1):
            inner = path[:length]
            places = self.keys if of_key or length < len(path) else self.values
            found = places.get(inner) or self.values.get(inner)
            if found is not None:
                return found
        return Position(1, 1)

    def problem(self, path: ValuePath, message: str, *, of_key: bool = False) -> Problem:
        """Return a problem at the place of a value (or of its key)."""
        position = self.position(path, of_key=of_key)
        return Problem(self.file, position.line, position.column, message)


def read_document(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        DocumentError: The file cannot be read or is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DocumentError([Problem(str(path), 0, 0, f"cannot read it: {reason}")]) from error
    return parse_document(text, str(path))


def parse_document(text: str, file: str) -> Document:
    """Parse the first document of a YAML text.

    Raises:
        DocumentError: Not YAML, a key that stands twice, or a value of a custom tag.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = next(_nodes(loader), None)
        keys: dict[ValuePath, Position] = {}
        values: dict[ValuePath, Position] = {}
        texts: dict[ValuePath, str] = {}
        problems: list[Problem] = []
        data: object = None
        if node is not None:
            _Locator(file, keys, values, texts, problems).locate(node, ())
            data = None if problems else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = ", ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError([Problem(file, line, column, f"not valid YAML: {message}")]) from error
    except yaml.YAMLError as error:
        raise DocumentError([Problem(file, 0, 0, f"not valid YAML: {error}")]) from error
    except ValueError as error:  # SafeLoader's own constructors, such as a date 2026-13-01
        raise DocumentError([Problem(file, 0, 0, f"not valid YAML: {error}")]) from error
    finally:
        loader.dispose()
    if problems:
        raise DocumentError(problems)
    return Document(file, data, keys, values, texts)


def _nodes(loader: yaml.SafeLoader) -> Iterator[yaml.Node]:
    while loader.check_node():
        node = loader.get_node()
        if node is not None:
            yield node


@dataclass(frozen=True, slots=True)
class _Locator:
    """Walks the node graph once; what an alias points at is located where it was anchored."""

    file: str
    keys: dict[ValuePath, Position]
    values: dict[ValuePath, Position]
    texts: dict[ValuePath, str]
    problems: list[Problem]
    visited: set[int] = field(default_factory=set)

    def locate(self, node: yaml.Node, path: ValuePath) -> None:
        self.values[path] = _start(node)
        if isinstance(node, yaml.ScalarNode):
            self.texts[path] = node.value
        if id(node) in self.visited:
            return
        self.visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.locate(item, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            self._locate_entries(node, path)

    def _locate_entries(self, node: yaml.MappingNode, path: ValuePath) -> None:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            place = _start(key_node)
            if key in seen and key != "<<":
                message = f"the key {key!r} stands here twice"
                self.problems.append(Problem(self.file, place.line, place.column, message))
            seen.add(key)
            self.keys[*path, key] = place
            self.locate(value_node, (*path, key))


def _start(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
