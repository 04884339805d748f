"""The label index: which series carry which label values, and when that last changed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from alerts.series.labels import METRIC_NAME, Labels
from alerts.series.matchers import Matcher, MatchOp

if TYPE_CHECKING:
    from alerts.series.source import Source


class Entry:
    """One series: its labels, and the row of the source that holds its samples."""

    __slots__ = ("labels", "row", "source")

    def __init__(self, labels: Labels, source: Source, row: int) -> None:
        self.labels: Final = labels
        self.source: Final = source
        self.row: Final = row


Postings = dict[Entry, None]  # insertion-ordered set


class Index:
    """Entries by label pair. Not locked: the store's lock guards it.

    Every change of the set of series gives the metric name concerned, and the index as a whole, a
    new version number; numbers are never used twice, so an equal version means an equal set.
    """

    def __init__(self) -> None:
        self._entries: dict[Labels, Entry] = {}
        self._postings: dict[str, dict[str, Postings]] = {}
        self._counter = itertools.count(1)
        self._version = 0
        self._versions: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, labels: Labels) -> Entry | None:
        """Return the entry of a label set."""
        return self._entries.get(labels)

    def version(self, metric_name: str = "") -> int:
        """Return the version of one metric's series, or of all when no name is given."""
        return self._versions.get(metric_name, 0) if metric_name else self._version

    def add(self, entry: Entry) -> None:
        """Add a series whose label set is not held yet."""
        self._entries[entry.labels] = entry
        for name, value in entry.labels.pairs:
            self._postings.setdefault(name, {}).setdefault(value, {})[entry] = None
        self._version = next(self._counter)
        self._versions[entry.labels.metric_name] = self._version

    def remove(self, entry: Entry) -> None:
        """Remove a series that is held."""
        del self._entries[entry.labels]
        for name, value in entry.labels.pairs:
            values = self._postings[name]
            del values[value][entry]
            if not values[value]:
                del values[value]
                if not values:
                    del self._postings[name]
        self._version = next(self._counter)
        metric_name = entry.labels.metric_name
        if metric_name in self._postings.get(METRIC_NAME, {}):
            self._versions[metric_name] = self._version
        else:
            self._versions.pop(metric_name, None)

    def select(self, matchers: Sequence[Matcher]) -> list[Entry]:
        """Return the series that satisfy every matcher, in the order they were added."""
        positive = [matcher for matcher in matchers if not matcher.matches("")]
        best: tuple[int, int, list[Postings]] | None = None
        for position, matcher in enumerate(positive):
            postings = self._candidates(matcher)
            size = sum(map(len, postings))
            if best is None or size < best[0]:
                best = (size, position, postings)
            if size == 0:
                return []
        if best is None:
            candidates: Iterable[Entry] = self._entries.values()
            rest = list(matchers)
        else:
            candidates = itertools.chain.from_iterable(best[2])
            rest = [matcher for matcher in matchers if matcher is not positive[best[1]]]
        return [entry for entry in candidates if _satisfies(entry.labels, rest)]

    def names(self) -> list[str]:
        """Return every label name in use, sorted."""
        return sorted(self._postings)

    def values(self, name: str) -> list[str]:
        """Return every value of a label in use, sorted."""
        return sorted(self._postings.get(name, {}))

    def count(self, name: str, value: str) -> int:
        """Return how many series carry a label pair."""
        return len(self._postings.get(name, {}).get(value, ()))

    def members(self, name: str, value: str) -> Iterable[Entry]:
        """Return the series that carry a label pair."""
        return self._postings.get(name, {}).get(value, ())

    def largest(self, name: str) -> str:
        """Return the value of a label that most series carry, empty when none does."""
        values = self._postings.get(name, {})
        return max(values, key=lambda value: len(values[value]), default="")

    def _candidates(self, matcher: Matcher) -> list[Postings]:
        values = self._postings.get(matcher.name, {})
        if matcher.op is MatchOp.EQUAL:
            postings = values.get(matcher.value)
            return [postings] if postings else []
        return [postings for value, postings in values.items() if matcher.matches(value)]


def _satisfies(labels: Labels, matchers: list[Matcher]) -> bool:
    return all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)
