"""Templates of labels and annotations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules.templates import Template, TemplateData, TemplateError
from alerts.series.labels import Labels

DATA = TemplateData(
    labels=Labels({"__name__": "up", "instance": "a:9", "job": "node"}),
    value=1234567.891,
    external_labels=Labels({"region": "eu"}),
    external_url="http://here",
)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{ $labels.instance }} of {{ .Labels.job }}", "a:9 of node"),
        ("{{$labels.missing}}", ""),
        ("{{ $labels }}", "map[__name__:up instance:a:9 job:node]"),
        ("{{ $value }}|{{ .Value }}", "1.234567891e+06|1.234567891e+06"),
        ("{{ $externalLabels.region }} {{ .ExternalURL }}", "eu http://here"),
        ("{{ $value | humanize }}", "1.235M"),
        ("{{ humanize $value }}", "1.235M"),
        ('{{ printf "%.1f" $value }}', "1234567.9"),
        ('{{ $value | printf "%.1f %s" }}', "1234567.9 %!s(MISSING)"),
        ('{{ $value | humanize | printf "<%s>" }}', "<1.235M>"),
        ("{{ `raw\\n` | toUpper }}", "RAW\\N"),
        ('{{ "a\\tb" }}', "a\tb"),
        ("{{ 12 }} {{ 1.5 }} {{ 0x10 }} {{ true }}", "12 1.5 16 true"),
        ("a  {{- $labels.job -}}  b", "anodeb"),
        ("a {{/* no */}} b", "a  b"),
        ("a {{- /* no */ -}} b", "ab"),
        ("{{ $labels.instance | toUpper | toLower | title }}", "A:9"),
    ],
)
def test_expand(source: str, text: str) -> None:
    """References, literals, pipelines, comments and trim markers expand as in Prometheus."""
    assert Template.parse(source).expand(DATA) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ $value", "}} is missing"),
        ("{{ if $value }}x{{ end }}", "'if' is not supported yet"),
        ("{{ range .Labels }}", "'range' is not supported yet"),
        ('{{ query "up" }}', "the function 'query' is not supported yet"),
        ("{{ humanise $value }}", "there is no function 'humanise'"),
        ("{{ $x }}", "there is no $x; known are $labels"),
        ("{{ .Foo }}", "there is no .Foo; known are .Labels"),
        ("{{ $value.x }}", "$value.x has no field 'x'"),
        ("{{ (humanize $value) }}", "parentheses are not supported yet"),
        ("{{ $x := 1 }}", "there is no $x"),
        ("{{ 1 := 2 }}", "it cannot be followed by ':='"),
        ("{{ . }}", "a bare . is not supported yet"),
        ("{{ }}", "an action is empty"),
        ("{{ $value | }}", "a command of a pipeline is empty"),
        ("{{ humanize }}", "humanize takes 1 argument(s), not 0"),
        ("{{ humanize 1 2 }}", "humanize takes 1 argument(s), not 2"),
        ("{{ printf }}", "printf takes at least 1 argument(s), not 0"),
        ("{{ $value $labels }}", "$value is no function"),
        ("{{ 1 | $value }}", "nothing can be piped into it"),
        ("{{ humanize title }}", "'title' cannot be an argument"),
        ('{{ "\\x41" }}', "an escape that is not supported"),
        ("{{ /* }}", "*/ is missing"),
        ("{{ /* a */ 1 }}", "must fill its action alone"),
        ("{{ $value ! }}", "it cannot be followed by '!'"),
        ("{{ printf ! }}", "'!' is unexpected here"),
    ],
)
def test_refused(source: str, message: str) -> None:
    """What is wrong or not covered is refused by name when it is parsed."""
    with pytest.raises(TemplateError) as caught:
        Template.parse(source)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ humanize $labels.job }}", "'node' is no number"),
        ("{{ humanize $labels }}", "is no number"),
        ("{{ $value | toUpper }}", "1.234567891e+06 is no text"),
    ],
)
def test_failure_is_in_the_text(source: str, reason: str) -> None:
    """A failure at run time becomes the text, so that the alert is not lost."""
    text = Template.parse(source).expand(DATA)

    assert text.startswith("<error expanding template: ")
    assert reason in text


def test_number_as_text() -> None:
    """A text that is a number is taken as one."""
    data = TemplateData(Labels({"size": "2048"}), 0.0)

    assert Template.parse("{{ humanize1024 $labels.size }}").expand(data) == "2ki"


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
        ("humanizeDuration", 60.0, "1m 0s"),
        ("humanizeDuration", 3600.0, "1h 0m 0s"),
        ("humanizeDuration", 86400.0, "1d 0h 0m 0s"),
        ("humanizeDuration", -90061.0, "-1d 1h 1m 1s"),
        ("humanizeDuration", float("nan"), "NaN"),
        ("humanizePercentage", 0.12345, "12.35%"),
    ],
)
def test_humanize(function: str, value: float, text: str) -> None:
    """Numbers are written for people exactly as Prometheus writes them."""
    template = Template.parse(f"{{{{ {function} $value }}}}")

    assert template.expand(TemplateData(Labels(), value)) == text


@given(st.text(alphabet='{}$.|-"` \n/*abcLelsvu()=1', max_size=40))
def test_any_text_parses_or_is_refused(source: str) -> None:
    """Every text either expands or is refused with a place inside it."""
    try:
        template = Template.parse(source)
    except TemplateError as error:
        assert 0 <= error.offset <= len(source)
    else:
        assert isinstance(template.expand(DATA), str)


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions(source: str) -> None:
    """A text without actions stays as it is."""
    assert Template.parse(source).expand(DATA) == source
