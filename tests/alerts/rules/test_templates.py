"""Templates of labels and annotations, held against what Prometheus itself makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.promql.errors import PromQLError
from alerts.promql.values import Sample
from alerts.rules.template_functions import humanize_duration, title, to_time
from alerts.rules.templates import Template, TemplateData, TemplateError
from alerts.series.labels import Labels

CASES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("templates_of_prometheus.json").read_text(encoding="utf-8")
)
"""Printed by Prometheus's own template package over the same data as ``DATA``."""


def query(expression: str) -> tuple[Sample, ...]:
    """Answer as the program did that printed the cases."""
    if expression == "bad":
        raise PromQLError("bad query")
    if expression == "none":
        return ()
    metric = {"__name__": "metric"}
    return (
        Sample(Labels({**metric, "instance": "b", "n": "10"}), 11.0),
        Sample(Labels({**metric, "instance": "a", "n": "9"}), 21.5),
    )


DATA = TemplateData(
    labels=Labels({"__name__": "up", "instance": "a:9", "job": "node", "size": "2048"}),
    value=1234567.891,
    external_labels=Labels({"region": "eu"}),
    external_url="http://here:9090/prom",
    timestamp_ms=1_700_000_000_000,
    alert="x",
    query=query,
)


@pytest.mark.parametrize("case", CASES, ids=[case["template"] for case in CASES])
def test_as_prometheus(case: dict[str, Any]) -> None:
    """A template is refused, fails or expands exactly as in Prometheus."""
    if case.get("refused"):
        with pytest.raises(TemplateError):
            Template.parse(case["template"])
        return

    text = Template.parse(case["template"]).expand(DATA)

    assert text == case.get("text", f"<error expanding template: {case.get('error')}>")


@pytest.mark.parametrize(
    ("source", "message", "offset"),
    [
        ("{{ $value", "}} is missing", 0),
        ("{{ if $value }}x", "{{end}} is missing", 3),
        ("{{ humanise $value }}", "there is no function 'humanise'; known are and", 3),
        ("{{ $x }}", "there is no $x; known are $, $externalLabels", 3),
        ("{{ }}", "a value is missing for command", 3),
        ("a {{ 1 | 2 }}", "nothing can be piped into 2", 9),
        ('{{ "\\q" }}', "\\q is no escape", 3),
        ("{{ /* a */ }}", "'/' is unexpected in command", 3),
        ("{{/* a }}", "*/ is missing", 2),
        ("{{/* a */ 1 }}", "}} must follow */", 9),
        ('{{ "abc }}', "the quoted text has no end", 3),
        ("{{ (1 }}", "a parenthesis is not closed", 6),
        ("{{ 1) }}", "this parenthesis was never opened", 4),
        ("{{ break }}", "break is outside of any range", 3),
        ("{{ else }}", "'else' has nothing to belong to", 3),
        ("{{ $a, $b := 1 }}", "too many variables in command", 5),
        ("{{ if 1 }}{{ define `x` }}{{ end }}{{ end }}", "define must stand outside", 13),
        ("{{" + "(" * 100 + "1" + ")" * 100 + "}}", "more than 60 levels are nested", 62),
        ("{{ 'ab' }}", "'ab' is not one character", 3),
        ("{{ 1x }}", "'1x' is no number", 3),
        ("{{ 99999999999999999999 }}", "does not fit into 64 bits", 3),
    ],
)
def test_refused(source: str, message: str, offset: int) -> None:
    """What is no template is refused with a reason and the character where it goes wrong."""
    with pytest.raises(TemplateError) as caught:
        Template.parse(source)

    assert message in str(caught.value)
    assert caught.value.offset == offset


def test_failure_names_the_alert() -> None:
    """A failure at run time becomes the text, with alert, line and column, as in Prometheus."""
    data = TemplateData(Labels(), 1.0, alert="Down")

    text = Template.parse("a\n{{ $value | toUpper }}").expand(data)

    assert text == (
        "<error expanding template: error executing template __alert_Down: template: "
        '__alert_Down:2:12: executing "__alert_Down" at <toUpper>: wrong type for value; '
        "expected string; got float64>"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ query `up` }}", "queries cannot be answered here"),
        ("{{ range 2000000 }}{{ end }}", "more than 1000000 steps"),
        ("{{ define `a` }}{{ template `a` }}{{ end }}{{ template `a` }}", "template depth"),
        ("{{ $x := `aaaaaaaa` }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}", "characters"),
        ("{{ range 9000 }}{{ printf `%1000d` 1 }}{{ end }}", "more than 4000000 characters"),
    ],
)
def test_limits(source: str, reason: str) -> None:
    """A template that would take for ever, or all memory, fails like any other."""
    text = Template.parse(source).expand(TemplateData(Labels(), 0.0))

    assert text.startswith("<error expanding template: ")
    assert reason in text


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("humanize", 0.0, "0"),
        ("humanize", 0.0012, "1.2m"),
        ("humanize", -1500.0, "-1.5k"),
        ("humanize", 1e30, "1e+06Y"),
        ("humanize", float("inf"), "+Inf"),
        ("humanize1024", 1.0, "1"),
        ("humanize1024", 1048576.0, "1Mi"),
        ("humanizeDuration", 0.0, "0s"),
        ("humanizeDuration", 0.0005, "500us"),
        ("humanizeDuration", 59.5, "59.5s"),
        ("humanizeDuration", 86400.0, "1d 0h 0m 0s"),
        ("humanizeDuration", -90061.0, "-1d 1h 1m 1s"),
        ("humanizeDuration", float("nan"), "NaN"),
        ("humanizePercentage", 0.12345, "12.35%"),
        ("humanizeTimestamp", 1e9, "2001-09-09 01:46:40 +0000 UTC"),
    ],
)
def test_humanize(function: str, value: float, text: str) -> None:
    """Numbers are written for people exactly as Prometheus writes them."""
    template = Template.parse(f"{{{{ {function} $value }}}}")

    assert template.expand(TemplateData(Labels(), value)) == text


PARTS = st.sampled_from(
    [
        *("{{", "}}", "{{-", "-}}", "|", "(", ")", ",", ":=", "=", "\n", "é"),
        *("$labels", ".Labels.job", "$value", "$x", ".", "1", "1.5", "'a'", "`b`", '"T"', "nil"),
        *("if", "range", "with", "else", "end", "define", "template", "break", "true"),
        *("printf", "eq", "index", "len", "query", "first", "humanize"),
    ]
)


@given(
    st.text(alphabet='{}$.|-"` \n/*abcLelsvu()=1', max_size=40)
    | st.lists(PARTS, max_size=25).map(" ".join)
)
@example("{{ range $labels }}{{ . | printf `%[9]d` }}{{ else }}{{ end }}")
def test_any_text_parses_or_is_refused(source: str) -> None:
    """Every text either expands or is refused with a place inside it."""
    try:
        template = Template.parse(source)
    except TemplateError as error:
        assert 0 <= error.offset <= len(source)
    else:
        template.expand(DATA).encode()


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions(source: str) -> None:
    """A text without actions stays as it is."""
    assert Template.parse(source).expand(DATA) == source


@given(st.floats() | st.integers().map(float))
def test_functions_of_any_number(value: float) -> None:
    """No number breaks the functions that write numbers."""
    assert humanize_duration(value)
    try:
        assert to_time(value).text()
    except ValueError as error:
        assert "NaN or Inf" in str(error) or "cannot be represented" in str(error)


@given(st.text(st.characters(max_codepoint=0xFF)))
def test_title_keeps_all_but_case(text: str) -> None:
    """Only the case of letters changes."""
    assert title(text).casefold() == text.casefold()
