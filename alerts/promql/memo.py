"""What evaluations of one query remember: everything about labels that samples do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakValueDictionary

T = TypeVar("T")


class _Sharing(Protocol):
    """A selection or a frame: what follows from it is kept with it."""

    @property
    def shared(self) -> WeakValueDictionary[object, Any]:
        """What has been worked out."""


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

    def share(self, slot: int, name: object, owner: _Sharing, work: Callable[[], T]) -> T:
        """Return what ``work`` returned for an input, here or in another query.

        Rules are often alike but for a number, and the labels of many series are a lot of work
        and memory. What is shared lives as long as one of the queries remembers it.

        Args:
            slot: The node that needs it.
            name: What it is, with everything it depends on but the input.
            owner: The input.
            work: Works it out; gives what can be referred to weakly.
        """
        entry = self._entries.get((slot, name))
        if entry is not None and entry[0][0] is owner:
            return cast("T", entry[1])
        result = cast("T | None", owner.shared.get(name))
        if result is None:
            result = owner.shared[name] = work()
        self._entries[slot, name] = ((owner,), result)
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
