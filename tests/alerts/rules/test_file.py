"""Rule files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alerts.clock import ManualClock
from alerts.errors import DocumentError
from alerts.promql.engine import Engine
from alerts.rules.file import FoundFiles, check_rules, find_rule_files, load_rules
from alerts.rules.model import AlertingDefinition, GroupDefinition, RecordingDefinition
from alerts.rules.templates import Template
from alerts.series.store import SeriesStore
from tests.support.alerts import FakeEngine


def load(directory: Path, *texts: str) -> tuple[GroupDefinition, ...]:
    """Write texts as rule files and load them."""
    files = []
    for index, text in enumerate(texts):
        files.append(directory / f"rules{index}.yaml")
        files[-1].write_text(text)
    return load_rules(files, engine=FakeEngine(), default_interval_s=15.0)


def problems(directory: Path, *texts: str) -> list[str]:
    """Return what is wrong with texts as rule files, without the directory."""
    with pytest.raises(DocumentError) as caught:
        load(directory, *texts)
    return [str(problem).removeprefix(f"{directory}/") for problem in caught.value.problems]


FULL = """\
groups:
- name: full
  interval: 30s
  query_offset: 5s
  limit: 10
  labels: {team: core, tier: "1"}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
    labels: {tier: 2}
  - alert: Down
    expr: up == 0
    for: 5m
    keep_firing_for: 1m
    labels: {severity: page, tier: "3"}
    annotations: {summary: "{{ $labels.instance }} is down"}
"""


def test_every_key(tmp_path: Path) -> None:
    """Every key of the format is read; the rule's labels win over the group's."""
    (group,) = load(tmp_path, FULL)

    recording, alerting = group.rules
    assert (group.name, group.interval_s, group.limit, group.query_offset_s) == ("full", 30, 10, 5)
    assert group.key == f"{tmp_path}/rules0.yaml;full"
    assert isinstance(recording, RecordingDefinition)
    assert recording.labels == (("team", "core"), ("tier", "2"))
    assert isinstance(alerting, AlertingDefinition)
    assert (alerting.alert, alerting.for_s, alerting.keep_firing_for_s) == ("Down", 300, 60)
    assert dict(alerting.labels)["tier"] == Template.parse("3")
    assert dict(alerting.labels)["team"] == Template.parse("core")
    assert alerting.query == "up == 0"


def test_unquoted_scalars_are_texts(tmp_path: Path) -> None:
    """Numbers and truths without quotes are taken as they are written, as Prometheus does."""
    text = (
        "groups: [{name: 007, rules: [{alert: yes, expr: 1, for: 0, annotations: {runbook: 1e3}}]}]"
    )

    (group,) = load(tmp_path, text)

    (rule,) = group.rules
    assert isinstance(rule, AlertingDefinition)
    assert (group.name, rule.alert, rule.expression, rule.for_s) == ("007", "yes", "1", 0.0)
    assert rule.annotations == (("runbook", Template.parse("1e3")),)


@pytest.mark.parametrize("text", ["", "# nothing\n", "groups:\n", "groups: []\n"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    """A file without groups is legal."""
    assert load(tmp_path, text) == ()


def test_defaults(tmp_path: Path) -> None:
    """What a group leaves out has Prometheus's default, the interval the one given."""
    (group,) = load(tmp_path, "groups: [{name: g}]")

    assert (group.interval_s, group.limit, group.query_offset_s, group.rules) == (15.0, 0, 0.0, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "rules0.yaml:1:1: a rule file must be a mapping, not a list"),
        ("group: []", "rules0.yaml:1:1: a rule file has no key 'group'; did you mean 'groups'?"),
        ("groups: {}", "rules0.yaml:1:9: groups must be a list, not a mapping"),
        ("groups: [1]", "rules0.yaml:1:10: a group must be a mapping, not a single value"),
        ("groups:\n- rules: []", "rules0.yaml:2:3: name is missing"),
        (
            "groups:\n- {name: a}\n- {name: a}",
            "rules0.yaml:3:10: a group named 'a' is in this file already",
        ),
        (
            "groups:\n- {name: a, labels: {'': x}}",
            "rules0.yaml:2:22: one of the labels has an empty name",
        ),
        (
            "groups:\n- {name: a, intervall: 1m}",
            "rules0.yaml:2:13: a group has no key 'intervall'; did you mean 'interval'?",
        ),
        (
            "groups:\n- {name: a, limit: -1}",
            "rules0.yaml:2:20: limit must be a whole number of 0 or more, not -1",
        ),
    ],
)
def test_wrong_groups(tmp_path: Path, text: str, problem: str) -> None:
    """What is wrong with a group is said with its place and what would be right."""
    assert problems(tmp_path, text) == [problem]


def test_groups_without_a_name_are_not_twins(tmp_path: Path) -> None:
    """A name that is missing is said once for each of them, and nothing more."""
    assert problems(tmp_path, "groups:\n- {rules: []}\n- {rules: []}\n") == [
        "rules0.yaml:2:3: name is missing",
        "rules0.yaml:3:3: name is missing",
    ]


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("{expr: up}", "1:28: a rule has either record or alert; this one has neither"),
        (
            "{record: a, alert: b, expr: up}",
            "1:28: a rule has either record or alert; this one has both",
        ),
        ("{alert: a}", "1:28: expr is missing"),
        ("{alert: a, expr: ''}", "1:45: expr must not be empty"),
        ("{alert: a, expr: bad}", "1:45: expr: cannot parse 'bad'"),
        ("{alert: a, expr: {}}", "1:45: expr must be a text, not a mapping"),
        ("{alert: a, expr: up, for: 5}", "1:54: for: '5' is not a duration; write numbers with"),
        ("{record: 'a{b}', expr: up}", "1:37: 'a{b}' has braces: does it belong into expr?"),
        (
            "{record: a, expr: up, for: 5m}",
            "1:50: for belongs to alerting rules; 'a' is a recording rule",
        ),
        ("{alert: a, expr: up, labels: {'': x}}", "1:58: one of the labels has an empty name"),
        (
            '{alert: a, expr: up, labels: {b: "\\ud800"}}',
            "1:61: the value of the label 'b' is not UTF-8 text",
        ),
        ("{alert: '', expr: up}", "1:28: a rule has either record or alert; this one has neither"),
        (
            "{alert: a, expr: up, annotations: {s: 'a {{ b }}'}}",
            "1:72: s: there is no function 'b'",
        ),
        ("{alert: a, expr: up, labels: {__name__: x}}", "1:58: the label __name__ is the name"),
        ("{alert: a, expr: up, labels: [x]}", "1:57: labels must be a mapping, not a list"),
        (
            "{alert: a, expr: up, annotations: {s: '{{ if }}'}}",
            "1:73: s: a value is missing for if",
        ),
        ("{alert: a, expr: up, fro: 5m}", "1:49: a rule has no key 'fro'; did you mean 'for'?"),
    ],
)
def test_wrong_rules(tmp_path: Path, rule: str, problem: str) -> None:
    """What is wrong with a rule is said with its place and what would be right."""
    (found,) = problems(tmp_path, f"groups: [{{name: g, rules: [{rule}]}}]")

    assert found.startswith(f"rules0.yaml:{problem}")


def test_all_problems_at_once(tmp_path: Path) -> None:
    """Problems of all files are reported together, sorted by place."""
    first = "groups:\n- name: g\n  rules:\n  - {alert: a, expr: bad1}\n  - {alert: b, expr: bad2}\n"

    found = problems(tmp_path, first, "groups: [")

    assert [line.split(" ")[0] for line in found] == [
        "rules0.yaml:4:22:",
        "rules0.yaml:5:22:",
        "rules1.yaml:1:10:",
    ]


def test_find(tmp_path: Path) -> None:
    """Paths and globs name files relative to the base directory, each once."""
    for name in ("b.yaml", "a.yaml", "deep/c.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    found = find_rule_files(["b.yaml", "**/*.yaml"], base_dir=tmp_path)

    assert [str(path.relative_to(tmp_path)) for path in found.paths] == [
        "b.yaml",
        "a.yaml",
        "deep/c.yaml",
    ]


def test_missing_file(tmp_path: Path) -> None:
    """A path without wildcards must name a file; the others are found all the same."""
    (tmp_path / "a.yaml").touch()

    found = find_rule_files(["a.yaml", "no.yaml"], base_dir=tmp_path)

    assert found.paths == (tmp_path / "a.yaml",)
    assert found.missing == ((1, tmp_path / "no.yaml"),)


def test_glob_without_match(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A glob that matches nothing is a warning."""
    assert find_rule_files(["*.yaml"], base_dir=tmp_path) == FoundFiles(())

    assert "no rule file matches *.yaml" in caplog.text


def test_any_name_is_legal(tmp_path: Path) -> None:
    """Names of metrics, labels and annotations may be any text, as in Prometheus 3."""
    rules = (
        "[{record: 'a b.c', expr: up, labels: {é-1: x}},"
        " {alert: a, expr: up, labels: {a.b: x}, annotations: {1-2: y}}]"
    )

    (group,) = load(tmp_path, f"groups: [{{name: g, rules: {rules}}}]")

    assert [type(rule) for rule in group.rules] == [RecordingDefinition, AlertingDefinition]


def test_what_changes_nothing_is_legal(tmp_path: Path) -> None:
    """An interval of nothing is the default; alerting keys without effect do no harm."""
    rule = "{record: a, expr: up, for: 0s, keep_firing_for: 0s, annotations: {}}"

    (group,) = load(tmp_path, f"groups: [{{name: g, interval: 0s, rules: [{rule}]}}]")

    assert (group.interval_s, len(group.rules)) == (15.0, 1)


def test_group_labels_of_recording_rules_are_no_templates(tmp_path: Path) -> None:
    """Only the labels of alerts are templates; those of recording rules are taken as they are."""
    text = "groups: [{name: g, labels: {a: '{{'}, rules: [{record: a, expr: up}]}]"

    (group,) = load(tmp_path, text)

    (rule,) = group.rules
    assert rule.labels == (("a", "{{"),)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("# one\n---\ngroups: []\n", []),
        ("%YAML 1.1\n---\ngroups: []\n...\n# end\n", []),
        ("groups: []\n---\nrubbish: []\n", ["rules0.yaml:2:1: a second YAML document"]),
        ("---\ngroups: []\n--- # b\n", ["rules0.yaml:3:1: a second YAML document"]),
        ("groups:\n- name: |\n   ---\n", []),
    ],
)
def test_second_document(tmp_path: Path, text: str, warnings: list[str]) -> None:
    """A second YAML document is ignored, and said to be."""
    file = tmp_path / "rules0.yaml"
    file.write_text(text)

    found = check_rules([file], engine=FakeEngine(), default_interval_s=15.0)

    assert found.problems == ()
    shown = [str(each).removeprefix(f"{tmp_path}/") for each in found.warnings]
    assert [each[: len(want)] for each, want in zip(shown, warnings, strict=True)] == warnings


def test_second_document_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The running service logs what it ignores."""
    load(tmp_path, "groups: []\n---\ngroups: []\n")

    assert "rules0.yaml:2:1: a second YAML document starts here; it is ignored" in caplog.text


def test_duplicates(tmp_path: Path) -> None:
    """A rule with the name and the labels of another in the same file is found; groups count."""
    file = tmp_path / "rules.yaml"
    file.write_text(
        "groups:\n"
        "- name: a\n"
        "  labels: {x: '1'}\n"
        "  rules:\n"
        "  - {record: r, expr: up}\n"
        "  - {alert: A, expr: up, labels: {b: c}}\n"
        "  - {alert: A, expr: up, labels: {b: d}}\n"
        "- name: b\n"
        "  rules:\n"
        "  - {record: r, expr: up}\n"
        "  - {alert: A, expr: down, labels: {b: c, x: '1'}}\n"
    )

    found = check_rules([file], engine=FakeEngine(), default_interval_s=15.0)

    assert [(each.line, each.column) for each in found.duplicates] == [(11, 5)]
    assert "the rule in line 6 has the name 'A' and the same labels" in str(found.duplicates[0])


FIXTURES = {
    "at-modifier.yml": True,
    "bad-rules-error.yml": True,
    "bad-rules-syntax.yml": False,
    "negative-offset.yml": True,
    "prometheus-rules.lint.yml": True,
    "rules-bad.yml": False,
    "rules.yml": True,
    "rules_duplicates.yml": True,
    "rules_extrafields.yml": False,
}
"""Whether promtool finds its own fixtures good."""


@pytest.mark.skipif(
    "GATEWATCH_PROMTOOL_DIR" not in os.environ,
    reason="GATEWATCH_PROMTOOL_DIR, the folder of promtool's fixtures, is not set",
)
@pytest.mark.parametrize("name", FIXTURES)
def test_fixture(name: str) -> None:
    """The verdict on a rule file of promtool's fixtures is promtool's."""
    file = Path(os.environ["GATEWATCH_PROMTOOL_DIR"]) / name
    engine = Engine(SeriesStore(clock=ManualClock(), retention_s=60))

    found = check_rules([file], engine=engine, default_interval_s=60)

    assert (not found.problems) == FIXTURES[name]


@pytest.mark.skipif(
    "GATEWATCH_PROMTOOL_DIR" not in os.environ,
    reason="GATEWATCH_PROMTOOL_DIR, the folder of promtool's fixtures, is not set",
)
@pytest.mark.parametrize("name", FIXTURES)
def test_fixture_with_unknown_fields_ignored(name: str) -> None:
    """As ``promtool check rules --ignore-unknown-fields``."""
    file = Path(os.environ["GATEWATCH_PROMTOOL_DIR"]) / name
    engine = Engine(SeriesStore(clock=ManualClock(), retention_s=60))

    found = check_rules([file], engine=engine, default_interval_s=60, ignores_unknown_keys=True)

    assert (not found.problems) == (FIXTURES[name] or name == "rules_extrafields.yml")


def test_unknown_keys_can_be_ignored(tmp_path: Path) -> None:
    """Notes of other tools may stand at every level; what is known is read as ever."""
    file = tmp_path / "rules.yaml"
    file.write_text(
        "owner: us\n"
        "groups:\n"
        "- {name: g, team: {a: [b]}, rules: [{record: r, expr: '1', nested: {x: y}}]}\n"
        "- {name: g, rules: 1}\n"
    )

    found = check_rules(
        [file], engine=FakeEngine(), default_interval_s=15, ignores_unknown_keys=True
    )

    assert [problem.line for problem in found.problems] == [4, 4]
