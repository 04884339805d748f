"""Problems and the errors that carry them."""

import pytest

from alerts.errors import DocumentError, Problem


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("a.yaml", 3, 7, "wrong"), "a.yaml:3:7: wrong"),
        (Problem("a.yaml", 3, 0, "wrong"), "a.yaml:3: wrong"),
        (Problem("a.yaml", 0, 0, "wrong"), "a.yaml: wrong"),
    ],
)
def test_a_problem_says_its_place(problem: Problem, text: str):
    """A problem prints as editors expect it, as far as its place is known."""
    assert str(problem) == text


def test_problems_are_listed_by_place():
    """A document error lists its problems in the order of the file, one a line."""
    error = DocumentError([Problem("a", 10, 1, "second"), Problem("a", 9, 1, "first")])

    assert str(error) == "a:9:1: first\na:10:1: second"
