"""Values from several sources, merged per key, each remembering where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alerts.documents import Document, ValuePath
from alerts.errors import Problem


@dataclass(frozen=True, slots=True)
class Source:
    """Where values come from: a file, an environment variable or an option.

    Attributes:
        name: The file as the user gave it, the variable or the option.
        directory: What relative paths in these values are relative to.
        document: The file's places; None for a variable or an option.
        key: The key that the name of an option has in it already, which is not said twice.
    """

    name: str
    directory: Path
    document: Document | None = None
    key: str = ""

    def problem(self, path: ValuePath, message: str, *, of_key: bool = False) -> Problem:
        """Return a problem at a value (or its key), as near as the source can tell."""
        if self.document is None:
            said = f"{self.key}: " if self.key else ""
            return Problem(self.name, 0, 0, message.removeprefix(said))
        return self.document.problem(path, message, of_key=of_key)

    def place(self, path: ValuePath) -> str:
        """Return where a value stands, for people: ``gatewatch.yaml:4`` or the variable."""
        if self.document is None:
            return self.name
        return f"{self.name}:{self.document.position(path, of_key=True).line}"


class Layers:
    """A tree of plain values: later layers win, mappings are merged, lists replace lists."""

    def __init__(self, fallback: Source) -> None:
        """Start empty.

        Args:
            fallback: The source named for values that nobody gave.
        """
        self.values: dict[str, object] = {}
        """The merged tree; shared, not copied."""
        self._fallback = fallback
        self._sources: dict[ValuePath, Source] = {}

    def put(self, path: tuple[str, ...], value: object, source: Source) -> None:
        """Lay a value over what is there.

        Where something that should be a mapping is none, it stays, so that it is reported.
        """
        parent: object = self.values
        for step in path[:-1]:
            parent = parent.setdefault(step, {}) if isinstance(parent, dict) else None
        if not isinstance(parent, dict):
            return
        if not isinstance(value, dict):
            self._forget(path)
            self._sources[path] = source
            parent[path[-1]] = value
            return
        self._sources.setdefault(path, source)
        if not isinstance(parent.setdefault(path[-1], {}), dict):
            self._forget(path)
            self._sources[path] = source
            parent[path[-1]] = {}
        for key, inner in value.items():
            self.put((*path, key), inner, source)

    def source(self, path: ValuePath) -> Source:
        """Return where the value at a path, or the nearest thing around it, came from."""
        for length in range(len(path), 0, -1):
            found = self._sources.get(path[:length])
            if found is not None:
                return found
        return self._fallback

    def directory(self, path: ValuePath) -> Path:
        """Return what a relative path at this place is relative to."""
        return (self.source(path) if self.is_given(path) else self._fallback).directory

    def is_given(self, path: ValuePath) -> bool:
        """Whether anybody gave a value at this path."""
        value: object = self.values
        for step in path:
            if isinstance(value, list):
                value = dict(enumerate(value))
            if not isinstance(value, dict) or step not in value:
                return False
            value = value[step]
        return True

    def given(self) -> Iterator[tuple[ValuePath, Source]]:
        """Yield every value that was given, sections aside, with its source."""
        for path, source in self._sources.items():
            if not isinstance(self._get(path), dict):
                yield path, source

    def _get(self, path: ValuePath) -> object:
        value: object = self.values
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def _forget(self, path: ValuePath) -> None:
        for covered in [known for known in self._sources if known[: len(path)] == path]:
            del self._sources[covered]
