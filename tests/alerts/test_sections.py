"""Reading mappings strictly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alerts.documents import parse_document
from alerts.errors import Problem
from alerts.sections import Keys, Section, open_section, unknown_key


def section(text: str) -> Section:
    """Return a text's mapping."""
    document = parse_document(text, "f")
    problems: list[Problem] = []
    found = open_section(document, (), document.data, problems, "it")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "read", "wanted"),
    [
        ("a: x", lambda it: it.text("a"), "x"),
        ("a: 007", lambda it: it.text("a"), "007"),
        ("b: 1", lambda it: it.text("a", "none"), "none"),
        ("a: 5m", lambda it: it.duration("a", 1.0), 300.0),
        ("a:", lambda it: it.duration("a", 1.0), 1.0),
        ("a: 3", lambda it: it.count("a"), 3),
        ("a: false", lambda it: it.flag("a", default=True), False),
        ("a: [x, 1]", lambda it: it.texts("a"), ["x", "1"]),
        ("a: {b: 1, c:}", lambda it: it.text_map("a"), {"b": "1", "c": ""}),
        ("a:", lambda it: it.text_map("a"), {}),
        ("a:", lambda it: it.section("a", Keys(())), None),
    ],
)
def test_read(text: str, read: Callable[[Section], object], wanted: object) -> None:
    """Values of the right kind are returned, absent ones are the default."""
    it = section(text)

    assert read(it) == wanted
    assert it.problems == []


@pytest.mark.parametrize(
    ("text", "read", "problem"),
    [
        ("a: []", lambda it: it.text("a"), "f:1:4: a must be a text, not a list"),
        ("b: 1", lambda it: it.required_text("a"), "f:1:1: a is missing"),
        ("a: ''", lambda it: it.required_text("a"), "f:1:4: a must not be empty"),
        ("a: 5", lambda it: it.duration("a", 1.0), "f:1:4: a: '5' is not a duration"),
        ("a: 0", lambda it: it.positive_duration("a", 1.0), "f:1:4: a must be longer than 0s"),
        ("a: true", lambda it: it.count("a"), "f:1:4: a must be a whole number of 0 or more, not"),
        (
            "a: {}",
            lambda it: it.count("a"),
            "f:1:4: a must be a whole number of 0 or more, not a m",
        ),
        ("a: 1", lambda it: it.flag("a", default=True), "f:1:4: a must be true or false, not 1"),
        ("a: x", lambda it: it.items("a"), "f:1:4: a must be a list, not a single value"),
        ("a: [[]]", lambda it: it.texts("a"), "f:1:5: an item of a must be a text, not a list"),
        ("a: [{b: 1}]", lambda it: it.sections("a", Keys("c"), "an a"), "f:1:6: an a has no key"),
        ("a: {b: 1}", lambda it: it.section("a", Keys((), "b")), "f:1:5: b is not supported yet"),
    ],
)
def test_report(text: str, read: Callable[[Section], object], problem: str) -> None:
    """Values of the wrong kind are reported with their place."""
    it = section(text)

    read(it)

    (found,) = it.problems
    assert str(found).startswith(problem)


def test_unknown_key() -> None:
    """The nearest known key is suggested; where none is near, all are listed."""
    assert unknown_key("intervall", "it", ("interval", "name")).endswith("did you mean 'interval'?")
    assert unknown_key("x", "it", ("interval", "name")).endswith("known are interval, name")
