"""Conditions: what can be written, what is refused, and what holds."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codec import encode
from service.health.conditions.evaluation import unmet
from service.health.conditions.findings import Findings
from service.health.conditions.parser import ConditionError, parse_condition


def failures(text: str, **found: object) -> list[str]:
    return unmet([parse_condition(text)], Findings(**found))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "[STATUS] == any(200, 201, 202, 203)",
        "any(200, 429) == [STATUS]",
        "[STATUS] == [BODY].status",
        "[status] == 200",
        "[CONNECTED] == true",
        "[RESPONSE_TIME] < 500",
        "[RESPONSE_TIME] < 1.5s",
        "[IP] == 127.0.0.1",
        "[BODY] == 1",
        "[BODY].test.wat == wat",
        '[BODY].status == "up"',
        "[BODY].message == all is well",
        "[BODY].users[0].id == 1",
        "[BODY].users[?@.id == 1].name == john",
        "[BODY].a-b.c_d[1][2] != x",
        "len([BODY].users) == 100",
        "has([BODY].errors) == false",
        "[BODY].name == pat(john*)",
        "[BODY] == pat(*a == b*)",
        "[CERTIFICATE_EXPIRATION] > 48h",
        "[CERTIFICATE_EXPIRATION] > 7d",
        "[HEADER].Content-Type == pat(application/json*)",
        "[DNS_RCODE] == NOERROR",
        "  [STATUS]   ==   200  ",
    ],
)
def test_conditions_that_can_be_written(text):
    """Gatus's form, quotes, and JSONPath selectors are understood."""
    assert parse_condition(text).text == text.strip()


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 1, "is empty"),
        ("[STATUS]", 9, "an operator is missing"),
        ("[STATUS] ? 201", 15, "an operator is missing"),
        ("[STATUS]==201", 9, "put blanks on both sides of =="),
        ("[STATUS] ==201", 10, "put blanks on both sides of =="),
        ("[STATUS] = = 201", 17, "an operator is missing"),
        ("[STATUS] ==", 12, "nothing behind =="),
        ("[STATSU] == 200", 1, "did you mean [STATUS]?"),
        ("[FOO] == 200", 1, "[FOO] is no placeholder"),
        ("[STATUS].x == 200", 9, "nothing may stand behind [STATUS]"),
        ("[HEADER] == x", 9, "name the header"),
        ("[DOMAIN_EXPIRATION] > 720h", 1, "WHOIS"),
        ("[STATUS] == [CONTEXT].x", 13, "no suites"),
        ("len([BODY].users == 100", 17, "the ) of len( is missing"),
        ("length([BODY].users) == 100", 1, "did you mean len()?"),
        ("len(users) == 100", 5, "asks about a placeholder"),
        ("[BODY].ids[wat] == 1", 7, "no path into a body"),
        ("[BODY]. == 1", 7, "a name is missing"),
        ("[BODY].a[0 == 1", 11, "a ] is missing"),
        ("[BODY].a[?match(@.b, 'x+')] == 1", 7, "no path into a body"),
        ("[BODY] == pat([a)", 15, "[ has no ]"),
        ("[RESPONSE_TIME] < potato", 17, "compared with a number or a duration"),
        ("[BODY].a < potato", 10, "potato is no number"),
        ("[STATUS] == OK", 10, "compared with a number"),
        ("[CONNECTED] == yes", 13, "true or false, never yes"),
        ("[CONNECTED] > 1", 13, "true or false"),
        ("[IP] > 1", 6, "is text"),
        ("[STATUS] < any(1, 2)", 10, "any() is compared with == or !="),
        ("1 == 2", 3, "neither side is a placeholder"),
        ("[BODY].a[*] == [BODY].b[*]", 13, "only one path"),
        ("[BODY].a == b == c", 15, "one operator"),
        ('[BODY].a == "b', 13, "is not closed"),
        ('[BODY].a == "b" c', 16, "ends here"),
    ],
)
def test_what_is_refused_says_where_and_what_would_be_right(text, position, message):
    """Errors have a place in the condition."""
    with pytest.raises(ConditionError) as caught:
        parse_condition(text)

    assert message in caught.value.message
    assert caught.value.position == min(position, len(text) + 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[STATUS] < 300", {"status": 204}),
        ("[STATUS] == pat(4*)", {"status": 404}),
        ("[STATUS] == any(200, 429)", {"status": 429}),
        ("any(200, 429) == [STATUS]", {"status": 200}),
        ("[RESPONSE_TIME] < 500", {"response_time_s": 0.4999}),
        ("[RESPONSE_TIME] > 1s", {"response_time_s": 1.5}),
        ("[IP] == pat(10.*)", {"ip": "10.1.2.3"}),
        ("[CONNECTED] == true", {"connected": True}),
        ("[CONNECTED] == false", {}),
        ("[CERTIFICATE_EXPIRATION] > 7d", {"certificate_expires_in_s": 8 * 86400.0}),
        ("[CERTIFICATE_EXPIRATION] > 2419200000", {"certificate_expires_in_s": 60 * 86400.0}),
        ("[DNS_RCODE] == NXDOMAIN", {"dns_rcode": "NXDOMAIN"}),
        ("[HEADER].content-type == pat(*json*)", {"headers": {"Content-Type": "application/json"}}),
        ("has([HEADER].x-a) == false", {"headers": {}}),
        ("len([HEADER].x-a) == 3", {"headers": {"X-A": "abc"}}),
        ("[BODY] == test", {"body": b" test\n"}),
        ("[BODY] < 124", {"body": b"123"}),
        ("[BODY] == pat(*<b>x</b>*)", {"body": b"<p>\n<b>x</b></p>"}),
        ("[BODY] == pat([!a]?\\*)", {"body": b"bc*"}),
        ("len([BODY]) == 3", {"body": b"[1,2,3]"}),
        ("len([BODY]) == 8", {"body": b"john.doe"}),
        ("has([BODY]) == true", {"body": b"x"}),
        ("has([BODY]) == false", {"body": b" "}),
    ],
)
def test_conditions_on_what_was_found(text, found):
    """Placeholders, functions and units mean what they mean in Gatus."""
    assert failures(text, **found) == []


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("[BODY].status == UP", {"status": "UP"}),
        ('[BODY].status == "UP"', {"status": "UP"}),
        ("[BODY].data.id == 1", {"data": {"id": 1}}),
        ("[BODY].data.id == 1", {"data": {"id": 1.0}}),
        ("[BODY].data[1].id == 2", {"data": [{"id": 1}, {"id": 2}]}),
        ("[BODY][0].id == 1", [{"id": 1}]),
        ("[BODY][1][0] == 3", [[1, 2], [3]]),
        ("[BODY].on == true", {"on": True}),
        ("[BODY].data == 15", {"data": "0xF"}),
        ("[BODY].data == 0b10", {"data": "0b0010"}),
        ("[BODY].data == 8", {"data": "010"}),
        ("[BODY].balance > 100", {"balance": "123.40000000000005"}),
        ("[BODY].ratio < 0.5", {"ratio": 0.25}),
        ("[BODY].took < 1s", {"took": "250ms"}),
        ("[BODY].user.first != [BODY].user.last", {"user": {"first": "john", "last": "doe"}}),
        ("[BODY].data == pat(*Whatever*)", {"data": ["hello", "Whatever"]}),
        ("[BODY].name == any(john, 'jane, doe')", {"name": "john"}),
        ("[BODY].my-key == 1", {"my-key": 1}),
        ("[BODY]['a.b'] == 1", {"a.b": 1}),
        ("[BODY].items[*].ok == true", {"items": [{"ok": True}, {"ok": True}]}),
        ("[BODY].items[?@.id == 2].ok == true", {"items": [{"id": 1}, {"id": 2, "ok": True}]}),
        ("[BODY]..id != 3", [{"id": 1}, {"x": [{"id": 2}]}]),
        ("len([BODY].data) == 3", {"data": [1, 2, 3]}),
        ("len([BODY].age) == 2", {"age": 18}),
        ("len([BODY].adult) == 4", {"adult": True}),
        ("len([BODY][0]) == 23", [{"age": 18, "adult": True}]),
        ("has([BODY].errors) == false", {}),
        ("has([BODY].errors) == false", {"errors": None}),
        ("has([BODY].errors[0]) == true", {"errors": ["x"]}),
    ],
)
def test_conditions_on_json(text, body):
    """Paths lead into the body; of several places all have to agree."""
    assert failures(text, body=encode(body)) == []


@pytest.mark.parametrize(
    ("text", "found", "shown"),
    [
        ("[STATUS] < 300", {"status": 503}, "[STATUS] (503) < 300"),
        ("[STATUS] == 200", {}, "[STATUS] (0) == 200"),
        ("[RESPONSE_TIME] <= 500", {"response_time_s": 0.75}, "[RESPONSE_TIME] (750) <= 500"),
        (
            "[CERTIFICATE_EXPIRATION] > 7d",
            {"certificate_expires_in_s": 86400.9},
            "[CERTIFICATE_EXPIRATION] (1d) > 7d",
        ),
        (
            "[CERTIFICATE_EXPIRATION] > 7d",
            {},
            "[CERTIFICATE_EXPIRATION] (no certificate) > 7d",
        ),
        ("[BODY].a == 1", {"body": b"{}"}, "[BODY].a (missing) == 1"),
        ("[BODY].a < 5", {"body": b"{}"}, "[BODY].a (missing) < 5"),
        ("[BODY].a != 5", {"body": b"{}"}, "[BODY].a (missing) != 5"),
        ("[BODY].a < 5", {"body": b'{"a": "x"}'}, "[BODY].a (x) < 5"),
        ("[BODY].a == 1", {"body": b'{"a": null}'}, "[BODY].a (null) == 1"),
        ("[BODY].a == 1", {"body": b"<html>"}, "[BODY].a (the body is not JSON) == 1"),
        ("[BODY].a == 1", {"body": b'{"a": "\xff"}'}, "[BODY].a (the body is not JSON) == 1"),
        ("[BODY].a == 1", {}, "[BODY].a (no body) == 1"),
        ("[BODY].v == 1.10", {"body": b'{"v": "1.1"}'}, "[BODY].v (1.1) == 1.10"),
        ('[BODY].v == "1"', {"body": b'{"v": "01"}'}, '[BODY].v (01) == "1"'),
        ("[BODY] == pat(ok*)", {"body": b"x" * 100}, f"[BODY] ({'x' * 60}...) == pat(ok*)"),
        ("[BODY] == ok", {"body": b"a\n\nb"}, "[BODY] (a b) == ok"),
        (
            "[BODY].items[*].ok == true",
            {"body": b'{"items": [{"ok": true}, {"ok": false}]}'},
            "[BODY].items[*].ok (false) == true",
        ),
        (
            "[BODY].items[*].ok == true",
            {"body": b'{"items": []}'},
            "[BODY].items[*].ok (missing) == true",
        ),
        (
            "has([BODY].errors) == false",
            {"body": b'{"errors": ["1"]}'},
            "has([BODY].errors) (true) == false",
        ),
        (
            "[BODY].first == [BODY].last",
            {"body": b'{"first": "a", "last": "b"}'},
            "[BODY].first (a) == [BODY].last (b)",
        ),
    ],
)
def test_a_condition_that_fails_shows_what_was_found(text, found, shown):
    """Both sides stand in the reason; what is missing never makes a comparison hold."""
    assert failures(text, **found) == [shown]


def test_every_condition_that_fails_is_listed():
    """All of them in their order, and none of those that hold."""
    conditions = [
        parse_condition(text)
        for text in ("[STATUS] == 200", "[CONNECTED] == true", "[RESPONSE_TIME] < 10")
    ]

    assert unmet(conditions, Findings(connected=True, status=500, response_time_s=1.0)) == [
        "[STATUS] (500) == 200",
        "[RESPONSE_TIME] (1000) < 10",
    ]


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("text", ["[BODY]..id == 1", "[BODY].a == 1", "len([BODY][0]) == 7"])
def test_a_body_nested_without_end_fails_the_condition_alone(opening, text):
    """Thousands of brackets cost a condition and nothing else."""
    for depth in (150, 900, 5000):
        closing = b"]" if opening == b"[" else b"}"
        body = opening * depth + b"1" + closing * depth

        assert len(failures(text, body=body)) == 1


@given(st.text(alphabet=string.printable, max_size=60))
def test_any_text_is_a_condition_or_refused_with_a_place(text):
    """The parser raises nothing else, and its places are inside the text."""
    try:
        condition = parse_condition(text)
    except ConditionError as error:
        assert 1 <= error.position <= len(text) + 1
    else:
        unmet([condition], Findings(body=b'{"a": [1, "x"]}'))


_PIECES = st.sampled_from(
    (
        *("[STATUS]", "[BODY]", ".a", "[0]", "[*]", "..", "len(", "has(", "pat(", "any(", ")"),
        *(" == ", " != ", " < ", ">=", " ", "1", "x", "[", "]", "?@.a", "[?", "500ms", "true"),
        *('"', "'", "\\"),
    )
)


@given(st.lists(_PIECES, max_size=12).map("".join), st.binary(max_size=30))
def test_pieces_of_conditions_in_any_order_are_conditions_or_refused(text, body):
    """What looks nearly right is evaluated without an error or refused with one."""
    try:
        condition = parse_condition(text)
    except ConditionError as error:
        assert 1 <= error.position <= len(text) + 1
    else:
        unmet([condition], Findings(body=body))


@given(st.text(min_size=1).filter(lambda text: text == text.strip()))
def test_a_quoted_text_equals_itself(text):
    """Every text can be compared, whatever is in it."""
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    if len(quoted) < 1900:
        assert failures(f"[BODY].a == {quoted}", body=encode({"a": text})) == []


@given(st.text(alphabet="ab*?[]\\-!^é\n/.+", max_size=10))
def test_a_pattern_of_escaped_letters_matches_exactly_them(text):
    """A backslash makes any character stand for itself."""
    pattern = "".join(f"\\{letter}" for letter in text)

    assert failures(f"[BODY].a == pat({pattern})", body=encode({"a": text})) == []


@given(st.integers(-(2**60), 2**60), st.integers(-(2**60), 2**60))
def test_whole_numbers_are_compared_exactly(one, other):
    """Large numbers do not become equal on the way through floats."""
    body = encode({"a": one})

    assert (failures(f"[BODY].a < {other}", body=body) == []) is (one < other)
    assert (failures(f"[BODY].a == {other}", body=body) == []) is (one == other)
