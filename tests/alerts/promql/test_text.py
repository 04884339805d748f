"""Bytes that are no UTF-8 get into no answer and no message."""

import pytest

from alerts.promql.errors import PromQLError
from tests.support.promql import at, loaded


@pytest.mark.parametrize(
    "expression",
    [
        r'absent(m{a="\xff"})',
        r'absent({"\xff"="a"})',
        r'label_replace(m, "a", "\xff", "", "")',
        r'label_join(m, "a", "\xff", "b", "b")',
        r'count_values by ("\xff") ("a", m)',
        'm{a!="\ud800"}',
    ],
)
def test_answers_are_utf8(expression):
    """Stray bytes in literals are replaced in what comes out."""
    for labels in at(loaded({"m": [1.0]}), expression, 0):
        labels.encode()


def test_strings_are_utf8():
    """A string as an answer has its stray bytes replaced."""
    engine = loaded({})

    assert engine.instant(engine.prepare(r'"a\xffb"'), 0).text == "a\ufffdb"


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        (r'm{a=~"\xff("}', "missing"),
        (r'm "\xff"', r"\\xff"),
        ('m "\ud800"', r"\\ud800"),
        (r'm{"\xff" "a"}', "label matching"),
        (r'count_values("\xff", m)', r"\\xff"),
    ],
)
def test_messages_are_utf8(expression, shown):
    """Stray bytes in messages are shown as escapes."""
    engine = loaded({"m": [1.0]})

    with pytest.raises(PromQLError, match=shown) as caught:
        engine.instant(engine.prepare(expression), 0)
    str(caught.value).encode()
