"""Which check depends on which: a graph without cycles. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def find_cycle(depends_on: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """Return the names along a cycle, the first of them also at its end; None: there is none.

    Args:
        depends_on: What each name depends on. Names that are no keys depend on nothing.
    """
    done: set[str] = set()
    for name in depends_on:
        cycle = _cycle_from(name, depends_on, done)
        if cycle is not None:
            return cycle
    return None


def _cycle_from(
    start: str, depends_on: Mapping[str, Sequence[str]], done: set[str]
) -> tuple[str, ...] | None:
    """Walk depth first without recursion, as a chain may be as long as there are checks."""
    if start in done:
        return None
    path = [start]
    left: list[Iterator[str]] = [iter(depends_on.get(start, ()))]
    while left:
        name = next(left[-1], None)
        if name is None:
            left.pop()
            done.add(path.pop())
        elif name in path:
            return (*path[path.index(name) :], name)
        elif name not in done:
            path.append(name)
            left.append(iter(depends_on.get(name, ())))
    return None


class Dependencies:
    """What hangs below what, however indirectly.

    Args:
        depends_on: What each check depends on directly; there must be no cycle.
    """

    __slots__ = ("_above", "_below")

    def __init__(self, depends_on: Mapping[str, Sequence[str]]) -> None:
        self._above = {name: _reachable(name, depends_on) for name in depends_on}
        below: dict[str, list[str]] = {}
        for name, above in self._above.items():
            for dependency in above:
                below.setdefault(dependency, []).append(name)
        self._below = {name: tuple(names) for name, names in below.items()}

    def above(self, name: str) -> tuple[str, ...]:
        """Return everything a check depends on, what it names itself first."""
        return self._above.get(name, ())

    def below(self, name: str) -> tuple[str, ...]:
        """Return every check that depends on a name, in their order."""
        return self._below.get(name, ())

    @property
    def causes(self) -> tuple[str, ...]:
        """The names something depends on."""
        return tuple(self._below)


def _reachable(start: str, depends_on: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return what can be reached from a name, breadth first."""
    found: dict[str, None] = {}
    left = list(depends_on.get(start, ()))
    while left:
        found.update(dict.fromkeys(left))
        left = [
            following
            for name in left
            for following in depends_on.get(name, ())
            if following not in found
        ]
    return tuple(found)
