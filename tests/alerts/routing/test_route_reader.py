"""The tree of routes as a file gives it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.errors import DocumentError
from alerts.routing.matchers import format_matchers
from alerts.routing.model import Route
from tests.support.routing import routing

RECEIVERS = "receivers: [{name: a}, {name: b}]\ntime_intervals: [{name: t, time_intervals: []}]\n"


def root(text: str) -> Route:
    """Return the tree of a route written as YAML."""
    return routing(f"{RECEIVERS}route: {text}").route


def test_root() -> None:
    """The root route has Alertmanager's defaults."""
    assert root("{receiver: a}") == Route("a", (), 30.0, 300.0, 14400.0, path="{}", id="{}")


def test_every_key() -> None:
    """A route says all of it itself."""
    (route,) = root(
        "{receiver: a, routes: [{receiver: b, group_by: [x, y], group_wait: 0s, "
        "group_interval: 1m, repeat_interval: 2h, matchers: [x=1], continue: true, "
        "mute_time_intervals: [t], active_time_intervals: [t], labels: {z: '1', k: v}}]}"
    ).routes

    assert (route.receiver, route.group_by, route.continues) == ("b", ("x", "y"), True)
    assert (route.group_wait_s, route.group_interval_s, route.repeat_interval_s) == (0, 60, 7200)
    assert (route.mute_time_intervals, route.active_time_intervals) == (("t",), ("t",))
    assert route.labels == (("k", "v"), ("z", "1"))
    assert format_matchers(route.matchers) == '{x="1"}'


def test_what_is_inherited() -> None:
    """Receiver, grouping, waits and labels come from above; continue and intervals do not."""
    (parent,) = root(
        "{receiver: a, group_by: [w], routes: [{receiver: b, group_by: [x], group_wait: 1s, "
        "group_interval: 2m, repeat_interval: 3h, continue: true, labels: {k: v, l: w}, "
        "mute_time_intervals: [t], active_time_intervals: [t], "
        "routes: [{receiver: '', group_by: , labels: {l: x}}]}]}"
    ).routes
    (child,) = parent.routes

    assert (child.receiver, child.group_by) == ("b", ("x",))
    assert (child.group_wait_s, child.group_interval_s, child.repeat_interval_s) == (1, 120, 10800)
    assert child.labels == (("k", "v"), ("l", "x"))
    assert (child.mute_time_intervals, child.active_time_intervals) == ((), ())
    assert not child.continues


def test_grouping() -> None:
    """An empty list is one group, and ``...`` is a group for every alert; both override."""
    routes = root(
        "{receiver: a, group_by: [x], routes: [{group_by: []}, "
        "{group_by: ['...'], routes: [{}, {group_by: [y]}]}]}"
    )

    assert [route.group_by for route in routes.walk()] == [
        *(("x",), (), ("...",), ("...",), ("y",))
    ]


def test_paths() -> None:
    """The path is that of Alertmanager's group keys; the id tells routes with one path apart."""
    routes = root(
        "{receiver: a, routes: ["
        "{matchers: ['b=2, a=~1'], match: {c: '3'}, routes: [{match_re: {d: '4'}}, {}]}, "
        "{matchers: [c=3, b=2, 'a=~1']}]}"
    )

    assert [route.path for route in routes.walk()] == [
        "{}",
        '{}/{a=~"1",b="2",c="3"}',
        '{}/{a=~"1",b="2",c="3"}/{d=~"4"}',
        '{}/{a=~"1",b="2",c="3"}/{}',
        '{}/{a=~"1",b="2",c="3"}',
    ]
    assert [route.id for route in routes.walk()] == [
        "{}",
        '{}/{a=~"1",b="2",c="3"}/0',
        '{}/{a=~"1",b="2",c="3"}/0/{d=~"4"}/0',
        '{}/{a=~"1",b="2",c="3"}/0/{}/1',
        '{}/{a=~"1",b="2",c="3"}/1',
    ]


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ("{}", "3:8: receiver is missing"),
        ("{receiver: []}", "3:19: receiver must be a text, not a list"),
        ("{receiver: a1}", "3:19: there is no receiver 'a1'; did you mean 'a'?"),
        ("{receiver: c}", "3:19: there is no receiver 'c'; defined are a, b"),
        (
            "{receiver: a, groupby: [x]}",
            "3:22: a route has no key 'groupby'; did you mean 'group_",
        ),
        (
            "{receiver: a, matchers: [a=b]}",
            "3:22: the root route takes every alert at any time, so",
        ),
        ("{receiver: a, match: {a: b}}", "3:22: the root route takes every alert"),
        ("{receiver: a, match_re: {a: b}}", "3:22: the root route takes every alert"),
        ("{receiver: a, mute_time_intervals: [t]}", "3:22: the root route takes every alert"),
        ("{receiver: a, active_time_intervals: [t]}", "3:22: the root route takes every alert"),
        ("{receiver: a, continue: true}", "3:32: continue has no meaning in the root route"),
        ("{receiver: a, group_by: ['...', x]}", "3:32: '...' groups by all labels and must stand"),
        ("{receiver: a, group_by: [x, x]}", "3:36: the label 'x' stands here twice"),
        ("{receiver: a, group_by: ['']}", "3:33: '' cannot be the name of a label"),
        ("{receiver: a, group_wait: 5}", "3:34: group_wait: '5' is not a duration"),
        ("{receiver: a, group_interval: 0s}", "3:38: group_interval must be longer than 0s"),
        ("{receiver: a, repeat_interval: 0s}", "3:39: repeat_interval must be longer than 0s"),
        ("{receiver: a, labels: {'': x}}", "3:30: '' cannot be the name of a label"),
        ("{receiver: a, routes: {}}", "3:30: routes must be a list, not a mapping"),
        ("{receiver: a, routes: [b]}", "3:31: a route must be a mapping, not a single value"),
        ("{receiver: a, routes: [{receiver: c}]}", "3:42: there is no receiver 'c'"),
        ("{receiver: a, routes: [{reciver: b}]}", "3:32: a route has no key 'reciver'; did you"),
        ("{receiver: a, routes: [{continue: 1}]}", "3:42: continue must be true or false, not 1"),
        (
            "{receiver: a, routes: [{mute_time_intervals: [t, u]}]}",
            "3:57: there is no time interval 'u'; defined are t",
        ),
        (
            "{receiver: a, routes: [{matchers: ['a=b,,c']}]}",
            "3:48: ',' stands where the name of a label is expected",
        ),
        (
            "{receiver: a, routes: [{matchers: a=b}]}",
            "3:42: matchers must be a list, not a single",
        ),
        (
            "{receiver: a, routes: [{match: {a-b: c}}]}",
            "3:40: 'a-b' is no name of letters, digits",
        ),
        (
            "{receiver: a, routes: [{match_re: {a: '('}}]}",
            "3:46: '(' is no RE2 regular expression",
        ),
        ("{receiver: a, routes: [{match_re: {a: }}]}", "3:46: a needs a regular expression"),
    ],
)
def test_wrong(route: str, problem: str) -> None:
    """What is wrong with a route is said with its place and what would be right."""
    with pytest.raises(DocumentError) as caught:
        root(route)

    (found,) = caught.value.problems
    assert str(found).startswith(f"am.yml:{problem}")


def test_a_deep_tree() -> None:
    """Routes in routes as deep as YAML can be read are read."""
    depth = 60
    deepest = list(
        root("{receiver: a, routes: [" + "{routes: [" * depth + "]}" * depth + "]}").walk()
    )[-1]

    assert deepest.path.count("/") == depth


@given(st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=3), max_leaves=12))
@settings(max_examples=25)
def test_ids_are_unique(shape: list[object]) -> None:
    """Whatever the tree, no two routes have the same id."""

    def written(children: object) -> str:
        assert isinstance(children, list)
        return f"{{receiver: a, routes: [{', '.join(map(written, children))}]}}"

    ids = [route.id for route in root(written(shape)).walk()]
    assert len(set(ids)) == len(ids)
