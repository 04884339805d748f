"""What the readers of this package share: lists whose items report problems at their own place."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from alerts.documents import ValuePath
from alerts.errors import Problem
from alerts.sections import Section, open_section


@dataclass(frozen=True, slots=True)
class PlacedText:
    """A text in a list of a section.

    Attributes:
        text: As it is written.
        path: Its place in the document.
        section: Where its problems are reported.
    """

    text: str
    path: ValuePath
    section: Section

    def report(self, message: str) -> None:
        """Add a problem at the text."""
        self.section.problems.append(self.section.document.problem(self.path, message))

    def report_inside(self, message: str, offset: int) -> None:
        """Add a problem at a character of the text, as far as that can be told."""
        document = self.section.document
        place = document.position_after(self.path, self.text[:offset])
        if place is None:
            self.report(f"{message} (character {offset + 1} of the text)")
        else:
            self.section.problems.append(Problem(document.file, place.line, place.column, message))


def placed_texts(section: Section, key: str) -> Iterator[PlacedText]:
    """Yield the texts of a list; what is none is reported."""
    for index, item in enumerate(section.items(key)):
        path = (*section.path, key, index)
        placed = PlacedText(section.document.texts.get(path, str(item)), path, section)
        if item is None or isinstance(item, dict | list):
            kind = {type(None): "nothing", dict: "a mapping"}.get(type(item), "a list")
            placed.report(f"an item of {key} must be a text, not {kind}")
        else:
            yield placed


def undefined(what: str, name: str, defined: Collection[str]) -> str:
    """Return the message for a name that stands for nothing, with the nearest one that does."""
    nearest = difflib.get_close_matches(name, defined, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"defined are {', '.join(defined)}"
    return f"there is no {what} {name!r}; {hint if defined else 'none is defined'}"


def open_sections(section: Section, key: str, what: str) -> Iterator[Section]:
    """Yield the mappings of a list, whose keys somebody else checks; what is none is reported."""
    for index, item in enumerate(section.items(key)):
        path = (*section.path, key, index)
        found = open_section(section.document, path, item, section.problems, what)
        if found is not None:
            yield found
