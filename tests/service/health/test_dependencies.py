"""Which check depends on which."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.health.dependencies import Dependencies, find_cycle

NAMES = [f"c{number}" for number in range(8)]
GRAPHS = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), unique=True, max_size=4)
)


def reaches(graph: dict[str, list[str]], start: str) -> set[str]:
    """Return what can be reached from a name, the slow and certain way."""
    found = set(graph.get(start, ()))
    for _ in NAMES:
        found |= {following for name in found for following in graph.get(name, ())}
    return found


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({}, None),
        ({"a": ["b"], "b": ["c"]}, None),
        ({"a": ["b", "c"], "b": ["c"]}, None),
        ({"a": ["a"]}, ("a", "a")),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ("b", "c", "b")),
    ],
)
def test_a_cycle_is_found(graph, cycle):
    """The names along it are told, in the order in which one needs the next."""
    assert find_cycle(graph) == cycle


def test_a_chain_may_be_long():
    """A thousand checks that need one another are no problem."""
    graph = {f"c{number}": [f"c{number + 1}"] for number in range(1_500)}

    assert find_cycle(graph) is None
    assert len(Dependencies(graph).above("c0")) == 1_500


@given(GRAPHS)
def test_cycles_and_only_cycles(graph):
    """A cycle is told exactly when a name can be reached from itself, and its steps are real."""
    cycle = find_cycle(graph)

    assert (cycle is not None) == any(name in reaches(graph, name) for name in graph)
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert all(after in graph[before] for before, after in itertools.pairwise(cycle))


@given(GRAPHS)
def test_above_and_below(graph):
    """Above is all that can be reached, nearest first; below is the same from the other end."""
    if find_cycle(graph) is not None:
        return
    dependencies = Dependencies(graph)

    for name in graph:
        above = dependencies.above(name)
        assert set(above) == reaches(graph, name)
        assert list(above[: len(graph[name])]) == graph[name]
        assert all(name in dependencies.below(other) for other in above)
    assert set(dependencies.causes) == {name for needs in graph.values() for name in needs}
