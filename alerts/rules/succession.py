"""Which rule goes on with which series when the rule files are read again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from alerts.rules.group import RuleGroup


def hand_over_series(new: Sequence[RuleGroup], before: Mapping[str, RuleGroup]) -> tuple[str, ...]:
    """Have rules that moved to another group, or whose group was renamed, go on with their series.

    Series of a rule that left a group which is still there end with the next pass of that group,
    unless they were taken up.

    Args:
        new: The groups there are now; those that changed have taken over from those before.
        before: The groups there were, by key.

    Returns:
        The sources of removed groups whose series nobody goes on with: they end at once.
    """
    in_use = {
        group.sources[identity]
        for group in new
        for identity in group.sources.keys() - _new(group, before)
    }
    free: dict[str, list[str]] = {}
    for group in before.values():
        for identity, source in group.sources.items():
            if source not in in_use:
                free.setdefault(identity, []).append(source)
    adopted: set[str] = set()
    for group, identity in _fresh(new, before):
        source = free[identity].pop(0) if free.get(identity) else group.sources[identity]
        source = _unused(source, in_use)
        group.adopt(identity, source)
        in_use.add(source)
        adopted.add(source)
    for group in new:
        group.keep_series(adopted)
    there = {group.definition.key for group in new}
    return tuple(
        source
        for key, group in before.items()
        if key not in there
        for source in group.sources.values()
        if source not in in_use
    )


def _fresh(
    new: Sequence[RuleGroup], before: Mapping[str, RuleGroup]
) -> Iterator[tuple[RuleGroup, str]]:
    """Return the rules that were not in their group before."""
    for group in new:
        for identity in group.sources:
            if identity in _new(group, before):
                yield group, identity


def _new(group: RuleGroup, before: Mapping[str, RuleGroup]) -> set[str]:
    old = before.get(group.definition.key)
    return set(group.sources) - (set() if old is None else set(old.sources))


def _unused(source: str, in_use: set[str]) -> str:
    """Return a name that no other rule writes under: a rule that moved has kept its own."""
    names = (f"{source};{count}" for count in itertools.count(2))
    return source if source not in in_use else next(name for name in names if name not in in_use)
