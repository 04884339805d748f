"""Lists whose items report problems at their own place."""

from __future__ import annotations

import pytest

from alerts.documents import parse_document
from alerts.errors import Problem
from alerts.routing.reading import open_sections, placed_texts, undefined
from alerts.sections import Section, open_section


def section(text: str) -> Section:
    """Return a text's mapping."""
    document = parse_document(text, "f")
    problems: list[Problem] = []
    found = open_section(document, (), document.data, problems, "it")
    assert found is not None
    return found


def test_texts() -> None:
    """Texts are as they are written; what is none is reported where it stands."""
    it = section("a: [x, 007, [y], null, {z: 1}]")

    assert [placed.text for placed in placed_texts(it, "a")] == ["x", "007"]
    assert [str(problem) for problem in it.problems] == [
        "f:1:13: an item of a must be a text, not a list",
        "f:1:18: an item of a must be a text, not nothing",
        "f:1:24: an item of a must be a text, not a mapping",
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [abc]", "f:1:7: here"),
        ("a: ['abc']", "f:1:8: here"),
        ("a:\n- >\n  a\n  b c", "f:4:3: here"),
        (r'a: ["\x61bc"]', "f:1:5: here (character 3 of the text)"),
    ],
)
def test_a_place_inside_a_text(text: str, place: str) -> None:
    """A problem is reported at its character, or at the text if escapes hide where that is."""
    it = section(text)
    (placed,) = placed_texts(it, "a")

    placed.report_inside("here", 2)

    assert [str(problem) for problem in it.problems] == [place]


def test_sections() -> None:
    """Mappings are returned with any keys; what is none is reported where it stands."""
    it = section("a: [{x: 1}, y]")

    assert [found.data for found in open_sections(it, "a", "an item")] == [{"x": 1}]
    assert [str(problem) for problem in it.problems] == [
        "f:1:13: an item must be a mapping, not a single value"
    ]


@pytest.mark.parametrize(
    ("name", "defined", "message"),
    [
        ("pagr", ["pager", "team"], "there is no receiver 'pagr'; did you mean 'pager'?"),
        ("xyz", ["pager", "team"], "there is no receiver 'xyz'; defined are pager, team"),
        ("pager", [], "there is no receiver 'pager'; none is defined"),
    ],
)
def test_undefined(name: str, defined: list[str], message: str) -> None:
    """A name that stands for nothing is answered with the nearest, or with all there are."""
    assert undefined("receiver", name, defined) == message
