"""Reading the mappings of a document strictly: typed getters that collect every problem.

Nothing here raises for what a person wrote: each getter reports the problem with its place and
returns a harmless value, so that one run shows all that is wrong with a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass

from alerts.documents import Document, ValuePath
from alerts.durations import parse_duration
from alerts.errors import DurationError, Problem


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys a mapping may have.

    Attributes:
        known: Keys that mean something here.
        unsupported: Keys of the file format that are not supported yet; refused by name.
        ignores_others: Whether any further keys may stand there, which mean nothing.
    """

    known: Collection[str]
    unsupported: Collection[str] = ()
    ignores_others: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping in a document.

    Attributes:
        document: Where it stands.
        path: Its place in the document.
        data: Its entries.
        problems: Where problems are collected; shared by all sections of a reading.
    """

    document: Document
    path: ValuePath
    data: dict[str, object]
    problems: list[Problem]

    def report(self, key: str | None, message: str, *, of_key: bool = False) -> None:
        """Add a problem at the value (or the key) of an entry, or at the section itself."""
        path = self.path if key is None else (*self.path, key)
        self.problems.append(self.document.problem(path, message, of_key=of_key))

    def has(self, key: str) -> bool:
        """Whether an entry is there and not null."""
        return self.data.get(key) is not None

    def text(self, key: str, default: str = "") -> str:
        """Return a scalar as it is written, the default when it is absent."""
        value = self.data.get(key)
        if value is None:
            return default
        if isinstance(value, dict | list):
            self.report(key, f"{key} must be a text, not a {_kind(value)}")
            return default
        return self.document.texts.get((*self.path, key), str(value))

    def required_text(self, key: str) -> str:
        """Return a scalar as it is written; absent or empty is a problem."""
        text = self.text(key)
        if not text and not isinstance(self.data.get(key), dict | list):
            message = f"{key} is missing" if key not in self.data else f"{key} must not be empty"
            self.report(key if key in self.data else None, message)
        return text

    def duration(self, key: str, default_s: float) -> float:
        """Return a Prometheus duration in seconds, the default when it is absent."""
        if not self.has(key):
            return default_s
        try:
            return parse_duration(self.text(key))
        except DurationError as error:
            self.report(key, f"{key}: {error}")
            return default_s

    def positive_duration(self, key: str, default_s: float) -> float:
        """Return a duration in seconds that must be longer than nothing."""
        seconds = self.duration(key, default_s)
        if self.has(key) and seconds == 0:
            self.report(key, f"{key} must be longer than 0s")
            return default_s
        return seconds

    def count(self, key: str, default: int = 0) -> int:
        """Return a whole number that is not negative, the default when it is absent."""
        value = self.data.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.report(key, f"{key} must be a whole number of 0 or more, not {_shown(value)}")
            return default
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false, the default when it is absent."""
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.report(key, f"{key} must be true or false, not {_shown(value)}")
            return default
        return value

    def text_map(self, key: str) -> dict[str, str]:
        """Return a mapping of texts, empty when it is absent."""
        section = self.open_section(key)
        return {} if section is None else {name: section.text(name) for name in section.data}

    def items(self, key: str) -> list[object]:
        """Return a list, empty when it is absent."""
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.report(key, f"{key} must be a list, not {_article(value)}")
            return []
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of texts, empty when it is absent."""
        texts: list[str] = []
        for index, item in enumerate(self.items(key)):
            path = (*self.path, key, index)
            if item is None or isinstance(item, dict | list):
                message = f"an item of {key} must be a text, not {_article(item)}"
                self.problems.append(self.document.problem(path, message))
            else:
                texts.append(self.document.texts.get(path, str(item)))
        return texts

    def sections(self, key: str, keys: Keys, what: str) -> list[Section]:
        """Return a list of mappings, leaving out (and reporting) what is none."""
        found = [
            open_section(self.document, (*self.path, key, index), item, self.problems, what)
            for index, item in enumerate(self.items(key))
        ]
        sections = [section for section in found if section is not None]
        for section in sections:
            section.check_keys(keys, what)
        return sections

    def section(self, key: str, keys: Keys) -> Section | None:
        """Return a mapping with known keys, None when it is absent or none."""
        section = self.open_section(key)
        if section is not None:
            section.check_keys(keys, key)
        return section

    def open_section(self, key: str) -> Section | None:
        """Return a mapping with any keys, None when it is absent or none."""
        if not self.has(key):
            return None
        return open_section(self.document, (*self.path, key), self.data[key], self.problems, key)

    def check_keys(self, keys: Keys, what: str) -> None:
        """Report every key that is not known, with the nearest one that is."""
        for key in self.data:
            if key in keys.unsupported:
                self.report(key, f"{key} is not supported yet; remove it", of_key=True)
            elif key not in keys.known and not keys.ignores_others:
                self.report(key, unknown_key(key, what, keys.known), of_key=True)


def open_section(
    document: Document, path: ValuePath, value: object, problems: list[Problem], what: str
) -> Section | None:
    """Return a value as a section, or report that it is no mapping and return None."""
    if isinstance(value, dict):
        return Section(document, path, {str(key): item for key, item in value.items()}, problems)
    problems.append(document.problem(path, f"{what} must be a mapping, not {_article(value)}"))
    return None


def unknown_key(key: str, what: str, known: Collection[str]) -> str:
    """Return the message for a key that is not known, with the nearest one that is."""
    nearest = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(sorted(known))}"
    return f"{what} has no key {key!r}; {hint}"


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "mapping"
        case list():
            return "list"
        case _:
            return "single value"


def _article(value: object) -> str:
    return "nothing" if value is None else f"a {_kind(value)}"


def _shown(value: object) -> str:
    return _article(value) if isinstance(value, dict | list) else repr(value)
