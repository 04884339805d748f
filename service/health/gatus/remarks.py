"""A place in a Gatus file, and what is said of what stands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alerts.documents import Document, ValuePath
from alerts.durations import format_duration
from alerts.errors import Problem
from service.health.conditions.values import milliseconds


@dataclass(frozen=True, slots=True)
class Place:
    """A mapping in the file, with remarks on what cannot be carried over.

    Attributes:
        document: The file.
        path: Where in it.
        data: What stands there.
        remarks: Where remarks go; shared by all places of a file.
    """

    document: Document
    path: ValuePath
    data: Mapping[str, object]
    remarks: list[Problem] = field(default_factory=list)

    def remark(self, key: str | None, message: str) -> None:
        """Say something of a key, or of the whole place."""
        path = self.path if key is None else (*self.path, key)
        self.remarks.append(self.document.problem(path, message, of_key=key is not None))

    def text(self, key: str) -> str:
        """Return a text; of another scalar, how it is written."""
        value = self.data.get(key)
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | int | float):
            return self._unescaped(key, str(value))
        self.remark(key, f"{key} is not text; left out")
        return ""

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return whether something is switched on."""
        value = self.data.get(key, default)
        return value if isinstance(value, bool) else default

    def duration(self, key: str) -> str:
        """Return a duration as gatewatch writes it; empty when there is none."""
        text = self.text(key)
        if not text:
            return ""
        found_ms = milliseconds(text)
        if found_ms is None or found_ms < 1:
            self.remark(key, f"{text!r} is not a duration; left out")
            return ""
        return format_duration(found_ms / 1000)

    def texts(self, key: str) -> dict[str, str]:
        """Return a mapping of texts."""
        inner = self.inside(key)
        return {} if inner is None else {name: inner.text(name) for name in inner.data}

    def inside(self, key: str) -> Place | None:
        """Return the mapping under a key; None when there is none."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.remark(key, f"{key} is no mapping of keys to values; left out")
            return None
        return Place(self.document, (*self.path, key), _text_keys(value), self.remarks)

    def items(self, key: str) -> list[Place]:
        """Return the mappings in a list."""
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.remark(key, f"{key} is no list; left out")
            return []
        found = []
        for index, item in enumerate(value):
            path = (*self.path, key, index)
            if isinstance(item, dict):
                found.append(Place(self.document, path, _text_keys(item), self.remarks))
            else:
                self.remarks.append(self.document.problem(path, "no mapping; left out"))
        return found

    def leave_out(self, *keys: str, why: str) -> None:
        """Say of keys that are there that they are not carried over."""
        for key in keys:
            if self.data.get(key) not in (None, False, "", [], {}):
                self.remark(key, f"{key}: {why}")

    def leave_out_others(self, *known: str) -> None:
        """Say of every key but some that it is not carried over."""
        for key in self.data:
            if key not in known:
                self.leave_out(key, why="not carried over")

    def _unescaped(self, key: str, text: str) -> str:
        """Return a text with ``$$`` as Gatus reads it; variables stay as they are."""
        plain = text.replace("$$", "")
        if "$" in plain:
            self.remark(key, f"{key}: the variable in it is not filled in; write its value")
        return text.replace("$$", "$")


def _text_keys(data: Mapping[object, object]) -> dict[str, object]:
    return {str(key): value for key, value in data.items()}
