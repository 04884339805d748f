"""What evaluations of one query remember: everything about labels that samples do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


class Memo:
    """One remembered result per name, good as long as its inputs are the same objects.

    Selections stay the same object until the store's index changes, and what is derived from them
    here is again the same object, so one change of the index renews exactly what depends on it.
    Several threads may use a memo at once: entries are replaced whole, at worst worked out twice.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[object, tuple[tuple[object, ...], object]] = {}

    def recall(self, name: object, inputs: tuple[object, ...], work: Callable[[], T]) -> T:
        """Return what ``work`` returned for these inputs, compared by identity."""
        entry = self._entries.get(name)
        if entry is not None and all(map(_is, entry[0], inputs)):
            return cast("T", entry[1])
        result = work()
        self._entries[name] = (inputs, result)
        return result

    def latest(self, name: object) -> object | None:
        """Return what was remembered last under a name, whatever its inputs were."""
        entry = self._entries.get(name)
        return None if entry is None else entry[1]

    def remember(self, name: object, result: object) -> None:
        """Remember a result that has no inputs, for ``latest``."""
        self._entries[name] = ((), result)


def _is(one: object, other: object) -> bool:
    return one is other
