"""Unit tests for rules: the verdicts, and what a person is told."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from alerts.clock import ManualClock
from alerts.promql.features import EXPERIMENTAL_FUNCTIONS
from alerts.rules.unit_test_report import comparison, difference, junit_xml
from alerts.rules.unit_tests import FileResult, RunOptions, run_rule_tests

RULES = """\
groups:
- name: second
  rules:
  - {record: "copy:first", expr: "first:up"}
- name: first
  rules:
  - {record: "first:up", expr: sum(up), labels: {kind: total}}
  - alert: Down
    expr: up == 0
    for: 2m
    keep_firing_for: 3m
    labels: {severity: "{{ if eq $labels.job `a` }}page{{ else }}info{{ end }}"}
    annotations:
      summary: "{{ $labels.job }} {{ $externalLabels.region }} {{ $externalURL }}"
      empty: "{{ $labels.nothing }}"
  - alert: Asks
    expr: vector(1)
    annotations: {up: "{{ with query `sum(up)` }}{{ . | first | value }}{{ end }} at {{ now }}"}
"""
INPUT = """\
  input_series:
  - {series: 'up{job="a"}', values: "1 0x5 1x10"}
  - {series: 'up{job="b"}', values: "1x20"}
"""
DOWN = """\
      exp_alerts:
      - exp_labels: {job: a, severity: page}
        exp_annotations: {summary: "a eu http://x", empty: ""}
"""
EXTERNAL = "  external_labels: {region: eu}\n  external_url: http://x\n"


def run(
    directory: Path, tests: str, *, rules: str = RULES, head: str = "", with_series: bool = False
) -> FileResult:
    """Write rules and tests and run them."""
    (directory / "rules.yml").write_text(rules, encoding="utf-8")
    file = directory / "tests.yml"
    file.write_text(f"rule_files: [rules.yml]\n{head}{tests}", encoding="utf-8")
    return run_rule_tests(file, clock=ManualClock(), with_series=with_series)


def alert_at(time: str, expected: str, name: str = "Down") -> str:
    """Return a file with one alert test."""
    case = f"    - eval_time: {time}\n      alertname: {name}\n{expected}"
    return f"tests:\n- name: t\n{INPUT}{EXTERNAL}  alert_rule_test:\n{case}"


def query(expression: str, time: str, expected: str, extra: str = INPUT) -> str:
    """Return a file with one query test."""
    case = f"  - {{expr: '{expression}', eval_time: {time}, exp_samples: {expected}}}\n"
    return f"tests:\n- name: t\n{extra}  promql_expr_test:\n{case}"


NONE = "      exp_alerts: []\n"
ASKS = "      exp_alerts: [{exp_annotations: {up: '2 at 0'}}]\n"
UP_A = "{labels: 'up{job=\"a\"}', value: 1}"
UP_B = "{labels: 'up{job=\"b\"}', value: 1}"
START = "  start_timestamp: 2024-01-01"
NOT_RESET = "{{count:1 counter_reset_hint:not_reset buckets:[1]}}"
HISTOGRAM = "  input_series: [{series: h, values: '{{count:1 buckets:[1]}}x3 stale'}]\n"


@pytest.mark.parametrize(
    ("tests", "passes"),
    [
        ("", True),
        ("tests: []", True),
        ("tests: [{}]", True),
        (alert_at("2m59s", NONE), True),
        (alert_at("3m", DOWN), True),
        (alert_at("3m30s", DOWN), True),
        (alert_at("3m", NONE), False),
        (alert_at("8m", DOWN), True),
        (alert_at("9m", NONE), False),
        (alert_at("10m", NONE), True),
        (alert_at("3m", DOWN.replace(', empty: ""', "")), False),
        (alert_at("3m", DOWN.replace("severity: page", 'severity: page, x: ""')), False),
        (alert_at("3m", DOWN.replace("severity: page", "severity: info")), False),
        (alert_at("0", ASKS, "Asks"), True),
        (alert_at("3m", NONE, "Unknown"), True),
        (alert_at("3m", DOWN, '""'), False),
        (query("up", "0", f"[{UP_B}, {UP_A}]"), True),
        (query("up", "0", f"[{UP_B}]"), False),
        (query("copy:first", "1m", "[]"), False),
        (query("first:up", "1m", "[{labels: 'first:up{kind=\"total\"}', value: 1}]"), True),
        (query("vector(NaN)", "0", "[{value: .nan}]"), False),
        (query("vector(Inf)", "0", "[{value: .inf}]"), True),
        (query("vector(-1000)", "0", "[{value: -1e3}]"), True),
        (query("1", "0", '[{labels: "{}", value: 1}]'), True),
        (query("1", "0", "[{value: 0x1}]"), True),
        (query("up[5m]", "0", "[]"), False),
        (query("up +", "0", "[]"), False),
        (query('"text"', "0", "[]"), False),
        (query("sum(up) by (job", "0", "[]"), False),
        (query("1", "0", "[{labels: 'x{', value: 1}]"), False),
        (
            query(
                "count_over_time(first:up[3m:])", "3m", "[{labels: '{kind=\"total\"}', value: 3}]"
            ),
            True,
        ),
        (query("h", "1m", f"[{{labels: h, histogram: '{NOT_RESET}'}}]", HISTOGRAM), True),
        (query("h", "0", "[{labels: h, histogram: '{{count:1 buckets:[1]}}'}]", HISTOGRAM), True),
        (query("h", "0", "[{labels: h, histogram: '{{count:2 buckets:[1]}}'}]", HISTOGRAM), False),
        (query("h", "0", "[{labels: h, histogram: '1'}]", HISTOGRAM), False),
        (query("h", "4m", "[]", HISTOGRAM), True),
        (query("time()", "1m", "[{value: 60}]", "  start_timestamp: 0\n"), True),
        (query("time()", "1m", "[{value: 61.5}]", "  start_timestamp: 1.5\n"), True),
        (query("time()", "0", "[{value: 1704063600}]", START + "T00:00:00+01:00\n"), True),
        (query("time()", "0", "[{value: 1704067200.5}]", START + "T00:00:00.5Z\n"), True),
        (query("time()", "0", "[]", "  start_timestamp: yesterday\n"), False),
        ("tests:\n- input_series: [{series: x, values: '1 b'}]\n", False),
        ("tests:\n- {intervall: 1m}\n", False),
        ("test: []\n", False),
        ("group_eval_order: [a, a]\n", False),
        ("evaluation_interval: 1\n", False),
    ],
)
def test_verdict(tmp_path: Path, tests: str, passes: bool) -> None:
    """A file of tests passes and fails as it does with promtool."""
    assert run(tmp_path, tests).passed == passes


def test_group_order(tmp_path: Path) -> None:
    """Groups are evaluated in the order the file wants."""
    tests = query("copy:first", "0", "[{labels: 'copy:first{kind=\"total\"}', value: 2}]")

    assert not run(tmp_path, tests).passed
    assert run(tmp_path, tests, head="group_eval_order: [first, second]\n").passed


@pytest.mark.parametrize(("value", "passes"), [("1.0000000000000002", True), ("1.000001", False)])
def test_fuzzy(tmp_path: Path, value: str, passes: bool) -> None:
    """With ``fuzzy_compare`` the next float counts as equal, no other."""
    tests = query("1", "0", f"[{{value: {value}}}]")

    assert run(tmp_path, tests, head="fuzzy_compare: true\n").passed == passes
    assert not run(tmp_path, tests).passed


def test_evaluation_interval(tmp_path: Path) -> None:
    """All groups are evaluated at the interval of the test file, whatever they say themselves."""
    rules = "groups: [{name: g, interval: 7s, rules: [{record: t, expr: time()}]}]"
    tests = query("t", "80s", "[{labels: t, value: 60}]")

    assert run(tmp_path, tests, rules=rules, head="evaluation_interval: 30s\n").passed


def test_a_rule_that_fails_ends_the_test(tmp_path: Path) -> None:
    """When a rule fails, nothing else is compared, and the test says which rule and when."""
    rules = "groups: [{name: g, rules: [{record: r, expr: up * on() up}]}]"

    result = run(tmp_path, query("1", "0", "[]"), rules=rules)

    (failure,) = result.tests[0].failures
    assert str(failure.problem).startswith(f"{tmp_path}/tests.yml:3:3: t: the rule r fails at 0s: ")


def test_bad_rules_fail_only_tests_that_are_run(tmp_path: Path) -> None:
    """Rule files are read when there is a test to run."""
    assert run(tmp_path, "tests: []", rules="groups: 1").passed

    result = run(tmp_path, "tests: [{}]", rules="groups: 1")

    assert str(result.problems[0]).startswith(f"{tmp_path}/rules.yml:1:9: groups must be a list")


def test_patterns_without_files_are_warned_about(tmp_path: Path) -> None:
    """A pattern that matches no file is a warning, with or without wildcards."""
    file = tmp_path / "tests.yml"
    file.write_text("rule_files: [none.yml, '*.yaml']\ntests: [{}]\n", encoding="utf-8")

    result = run_rule_tests(file, clock=ManualClock())

    assert result.passed
    assert [warning.message for warning in result.warnings] == [
        "no rule file matches none.yml",
        "no rule file matches *.yaml",
    ]


def test_only_wanted_tests_run(tmp_path: Path) -> None:
    """Tests are chosen by name; one without a name has the empty one."""
    file = tmp_path / "tests.yml"
    file.write_text("tests: [{name: a}, {name: b}, {}]\n", encoding="utf-8")

    ran = run_rule_tests(file, clock=ManualClock(), wants=lambda name: name != "a")

    assert [each.name for each in ran.tests] == ["b", "unnamed#2"]


def test_native_histograms_are_not_computed_with(tmp_path: Path) -> None:
    """An expression over native histograms says that it cannot be answered."""
    result = run(tmp_path, query("rate(h[5m])", "1m", "[]", HISTOGRAM))

    assert "h is a native histogram: it can be looked up" in str(
        result.tests[0].failures[0].problem
    )


def test_what_a_person_is_told(tmp_path: Path) -> None:
    """A failure names its place and shows both sides, sorted, or only the difference."""
    result = run(tmp_path, query("up", "0", "[{labels: 'up{job=\"b\"}', value: 1}, {value: 0.5}]"))

    (failure,) = result.tests[0].failures
    assert str(failure.problem) == f"{tmp_path}/tests.yml:8:5: t: up at 0s is not as expected"
    assert comparison(failure) == [
        "expected: {} 0.5",
        '          up{job="b"} 1',
        'got:      up{job="a"} 1',
        '          up{job="b"} 1',
    ]
    assert difference(failure) == ['+ up{job="a"} 1', '  up{job="b"} 1', "- {} 0.5"]


@pytest.mark.parametrize(("features", "passes"), [(set(), False), ({EXPERIMENTAL_FUNCTIONS}, True)])
def test_features(tmp_path: Path, features: set[str], passes: bool) -> None:
    """Experimental functions are there for rules and queries once they are enabled."""
    (tmp_path / "rules.yml").write_text(
        "groups: [{name: g, rules: [{record: r, expr: 'mad_over_time(up[5m])'}]}]"
    )
    file = tmp_path / "tests.yml"
    case = query("mad_over_time(up[5m]) > 1", "0", "[]")
    file.write_text(f"rule_files: [rules.yml]\n{case}", encoding="utf-8")

    result = run_rule_tests(
        file, clock=ManualClock(), options=RunOptions(features=frozenset(features))
    )

    assert result.passed is passes


def test_alert_texts(tmp_path: Path) -> None:
    """Alerts are shown with their labels and annotations, no alerts as nothing."""
    result = run(tmp_path, alert_at("3m", NONE))

    assert comparison(result.tests[0].failures[0]) == [
        "expected: nothing",
        'got:      {alertname="Down", job="a", severity="page"} annotations '
        '{empty="", summary="a eu http://x"}',
    ]


@pytest.mark.parametrize(
    ("series", "values", "place"),
    [
        ('up{job="a"', "0x5", '4:13: series: a label is followed by "," or "}": the end'),
        ("up{job=", "0x5", "4:13: series: a text in quotes is missing: the end"),
        ("up{job", "0x5", '4:13: series: a label name is followed by "=": the end'),
        ("up{job=}", "0x5", "4:13: series: a text in quotes is missing: '}'"),
        ("up", "0x5 b", "5:13: values: a value is a number, "),
        ("up{}", "b", "5:13: values: a value is a number, "),
    ],
)
def test_a_bad_series_is_told_at_its_key(
    tmp_path: Path, series: str, values: str, place: str
) -> None:
    """The metric and its values are read as one text; a metric that has no end is told there."""
    text = f"tests:\n- input_series:\n  - series: '{series}'\n    values: {values}\n"

    (result,) = run(tmp_path, text).tests
    (failure,) = result.failures
    assert str(failure.problem).startswith(f"{tmp_path}/tests.yml:{place}")


def test_every_series_can_be_shown(tmp_path: Path) -> None:
    """For debugging a result carries what the store held at the end."""
    tests = query("h", "1m", "[]", HISTOGRAM.replace("}]", "}, {series: x, values: 1 2}]"))

    result = run(tmp_path, tests, rules="groups: []", with_series=True)

    assert result.tests[0].series == (
        "x 1 @0 2 @60",
        "h {{count:1 buckets:[1]}} @0 {{count:1 counter_reset_hint:not_reset buckets:[1]}} @60",
    )


def test_junit(tmp_path: Path) -> None:
    """Build servers get a suite for each file and a case for each test."""
    failed = run(tmp_path, query("vector(1)", "0", "[]"))
    bad = run(tmp_path, "tests: 1")

    root = ET.fromstring(junit_xml([failed, bad]))

    assert [(each.get("tests"), each.get("failures"), each.get("errors")) for each in root] == [
        ("1", "1", "0"),
        ("0", "0", "1"),
    ]
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.text == "expected: nothing\ngot:      {} 1"
    assert root.find("testsuite/testcase/error") is not None


VERDICTS = {
    "at-modifier-test.yml": True,
    "bad-input-series.yml": False,
    "bad-promql.yml": False,
    "bad-rules-error-test.yml": False,
    "bad-rules-syntax-test.yml": False,
    "failing.yml": False,
    "long-period.yml": True,
    "negative-offset-test.yml": True,
    "no-test-group-interval.yml": True,
    "rules_run.yml": False,
    "rules_run_extrafields.yml": False,
    "rules_run_fuzzy.yml": False,
    "rules_run_no_fuzzy.yml": False,
    "start-time-test.yml": True,
    "unittest.yml": True,
}
"""What promtool says to its own fixtures."""


@pytest.mark.skipif(
    "GATEWATCH_PROMTOOL_DIR" not in os.environ,
    reason="GATEWATCH_PROMTOOL_DIR, the folder of promtool's fixtures, is not set",
)
@pytest.mark.parametrize("name", VERDICTS)
def test_fixture(name: str) -> None:
    """The verdict on a fixture of promtool is promtool's."""
    file = Path(os.environ["GATEWATCH_PROMTOOL_DIR"]) / name

    assert run_rule_tests(file, clock=ManualClock()).passed == VERDICTS[name]


@pytest.mark.skipif(
    "GATEWATCH_PROMTOOL_DIR" not in os.environ,
    reason="GATEWATCH_PROMTOOL_DIR, the folder of promtool's fixtures, is not set",
)
@pytest.mark.parametrize("name", VERDICTS)
def test_fixture_with_unknown_fields_ignored(name: str) -> None:
    """As ``promtool test rules --ignore-unknown-fields``, which is about rule files only."""
    file = Path(os.environ["GATEWATCH_PROMTOOL_DIR"]) / name
    options = RunOptions(ignores_unknown_keys=True)

    verdict = run_rule_tests(file, clock=ManualClock(), options=options).passed

    assert verdict == (VERDICTS[name] or name == "rules_run_extrafields.yml")


@pytest.mark.skipif(
    "GATEWATCH_PROMTOOL_DIR" not in os.environ,
    reason="GATEWATCH_PROMTOOL_DIR, the folder of promtool's fixtures, is not set",
)
def test_no_fixture_is_forgotten() -> None:
    """Every fixture that is a file of unit tests has a verdict here."""
    folder = Path(os.environ["GATEWATCH_PROMTOOL_DIR"])

    found = {
        file.name
        for file in folder.glob("*.yml")
        if any(line.startswith("tests:") for line in file.read_text("utf-8").splitlines())
    }

    assert found == set(VERDICTS)
