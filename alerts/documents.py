"""YAML documents that know where each of their values stands.

Every file a person writes is read through here, so that an error can name line and column even
when it is found long after parsing, by a schema or by the PromQL planner.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import yaml

from alerts.errors import DocumentError, Problem

ValuePath = tuple[str | int, ...]
"""Where a value stands: keys and list indexes from the top of the document."""


_TAG = "tag:yaml.org,2002:"
_MERGE_TAG = f"{_TAG}merge"
_REFUSED_TAGS = frozenset(f"{_TAG}{kind}" for kind in ("binary", "omap", "pairs", "set"))
_MAX_VALUES = 300_000
_DOCUMENT_START: Final = re.compile(r"---(?:[ \t].*)?")
_OUTSIDE_DOCUMENTS: Final = re.compile(r"[ \t]*(?:#.*)?|%.*|\.\.\.(?:[ \t].*)?")


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
        source: The text of the file.
    """

    file: str
    data: object
    keys: dict[ValuePath, Position]
    values: dict[ValuePath, Position]
    texts: dict[ValuePath, str] = field(default_factory=dict)
    source: str = field(default="", compare=False, repr=False)

    def position(self, path: ValuePath, *, of_key: bool = False) -> Position:
        """Return the place of a value (or of its key), or of the nearest thing around it."""
        for length in range(len(path), -1, -1):
            inner = path[:length]
            places = self.keys if of_key or length < len(path) else self.values
            found = places.get(inner) or self.values.get(inner)
            if found is not None:
                return found
        return Position(1, 1)

    def position_after(self, path: ValuePath, before: str) -> Position | None:
        """Return the place inside a text that comes after the part of it given.

        Blanks do not count, so folded and indented texts are followed through their lines.

        Returns:
            The place; None when the text is not written as it reads, with escapes or an anchor.
        """
        start = self.values.get(path)
        if start is None or path not in self.texts:
            return None
        lines = self.source.splitlines(keepends=True)
        at = sum(map(len, lines[: start.line - 1])) + start.column - 1
        opening = self.source[at : at + 1]
        if opening in ("|", ">"):
            at += len(lines[start.line - 1]) - (start.column - 1)
        elif opening in ("'", '"'):
            at += 1
        read = "".join(before.split())
        spots = (spot for spot in range(at, len(self.source)) if not self.source[spot].isspace())
        written = list(islice(spots, len(read) + 1))
        total = len("".join(self.texts[path].split()))
        if "".join(self.source[spot] for spot in written[: len(read)]) != read or not written:
            return None
        is_inside = len(read) < total and len(read) < len(written)
        spot = written[len(read)] if is_inside else written[max(len(read) - 1, 0)] + 1
        line = self.source.count("\n", 0, spot) + 1
        return Position(line, spot - self.source.rfind("\n", 0, spot))

    def second(self) -> Position | None:
        """Return where a second document of the file starts, which is not read; None: nowhere."""
        is_inside = False
        for number, line in enumerate(self.source.splitlines(), 1):
            if _DOCUMENT_START.fullmatch(line):
                if is_inside:
                    return Position(number, 1)
                is_inside = True
            elif not _OUTSIDE_DOCUMENTS.fullmatch(line):
                is_inside = True
        return None

    def problem(self, path: ValuePath, message: str, *, of_key: bool = False) -> Problem:
        """Return a problem at the place of a value (or of its key)."""
        position = self.position(path, of_key=of_key)
        return Problem(self.file, position.line, position.column, message)


def read_document(path: Path, *, name: str | None = None) -> Document:
    """Read a YAML file.

    Args:
        path: Where it is.
        name: What to call it in problems, if not by its path.

    Raises:
        DocumentError: The file cannot be read or is no YAML.
    """
    file = name or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DocumentError([Problem(file, 0, 0, f"cannot read it: {reason}")]) from error
    return parse_document(text, file)


def parse_document(text: str, file: str) -> Document:
    """Parse the first document of a YAML text.

    Raises:
        DocumentError: Not YAML, a key that stands twice, an alias inside its own anchor, or a
            value of a custom tag.
    """
    try:
        return _parse(text, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = ", ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError([Problem(file, line, column, f"not valid YAML: {message}")]) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"not valid YAML: the character U+{error.character:04X} is not allowed"
        raise DocumentError([Problem(file, line, column, message)]) from error
    except RecursionError as error:
        raise DocumentError([Problem(file, 0, 0, "values are nested too deeply")]) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with a place in the errors of its scalar constructors."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag in _REFUSED_TAGS:
            problem = f"the tag {node.tag!r} is not used here"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            # What SafeConstructor raises for a scalar that its (possibly explicit) tag does not
            # allow: ValueError for 2026-13-01, KeyError for !!bool x, AttributeError for
            # !!timestamp x, IndexError for an empty !!int.
            kind = node.tag.rsplit(":", 1)[-1]
            problem = f"this is no valid {kind}; put it in quotes if it is text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


def _compose(text: str) -> yaml.Node | None:
    """Return the nodes of the first document; None when there is none."""
    if yaml.__with_libyaml__:
        # Several times as quick; where it finds fault, PyYAML's own parser finds better words.
        # A little more is YAML to it: tabs between values, `?` in a flow, a tag of nothing.
        with suppress(yaml.YAMLError, UnicodeEncodeError):
            return _first_node(yaml.CSafeLoader(text))
    return _first_node(yaml.SafeLoader(text))


def _first_node(loader: yaml.SafeLoader | yaml.CSafeLoader) -> yaml.Node | None:
    try:
        node: yaml.Node | None = loader.get_node() if loader.check_node() else None
    finally:
        loader.dispose()
    return node


def _parse(text: str, file: str) -> Document:
    node = _compose(text)
    loader = _Loader("")
    try:
        keys: dict[ValuePath, Position] = {}
        values: dict[ValuePath, Position] = {}
        texts: dict[ValuePath, str] = {}
        problems: list[Problem] = []
        if node is None:
            return Document(file, None, keys, values, texts, text)
        _Locator(file, keys, values, texts, problems).locate(node, ())
        if problems:
            raise DocumentError(problems)
        return Document(file, loader.construct_document(node), keys, values, texts, text)
    finally:
        loader.dispose()


@dataclass(slots=True)
class _Locator:
    """Walks the node graph; what an alias brings in is located where it was anchored."""

    file: str
    keys: dict[ValuePath, Position]
    values: dict[ValuePath, Position]
    texts: dict[ValuePath, str]
    problems: list[Problem]
    around: set[int] = field(default_factory=set)

    def locate(self, node: yaml.Node, path: ValuePath) -> None:
        if id(node) in self.around:
            self._refuse(node, "the value with this anchor contains an alias of itself")
            return
        if len(self.values) > _MAX_VALUES:
            # Aliases of aliases can make a short file stand for billions of values.
            raise yaml.MarkedYAMLError(
                problem=f"more than {_MAX_VALUES} values", problem_mark=node.start_mark
            )
        self.values[path] = _start(node)
        self.around.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            self.texts[path] = node.value
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.locate(item, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            self._locate_entries(node, path)
        self.around.discard(id(node))

    def _locate_entries(self, node: yaml.MappingNode, path: ValuePath) -> None:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key_node.tag == _MERGE_TAG:
                continue
            if key in seen:
                self._refuse(key_node, f"the key {key!r} stands here twice")
            seen.add(key)
            self.keys[*path, key] = _start(key_node)
            self.locate(value_node, (*path, key))
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE_TAG:
                self._locate_merged(value_node, path)

    def _locate_merged(self, node: yaml.Node, path: ValuePath) -> None:
        """Locate what ``<<`` brings in, except the keys that are already there."""
        if id(node) in self.around:
            self._refuse(node, "the value with this anchor contains an alias of itself")
            return
        self.around.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._locate_merged(item, path)
        elif isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                key = str(key_node.value)
                if key_node.tag == _MERGE_TAG:
                    self._locate_merged(value_node, path)
                elif (*path, key) not in self.keys:
                    self.keys[*path, key] = _start(key_node)
                    self.locate(value_node, (*path, key))
        self.around.discard(id(node))

    def _refuse(self, node: yaml.Node, message: str) -> None:
        place = _start(node)
        self.problems.append(Problem(self.file, place.line, place.column, message))


def _start(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
