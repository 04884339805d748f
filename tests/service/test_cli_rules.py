"""`gatewatch rules`, as a process: what it prints and how it exits."""

import json
from pathlib import Path

from tests.support.command import gatewatch, gatewatch_inside

GOOD = """\
groups:
  - name: a
    rules:
      - {alert: Down, expr: up == 0, for: 5m}
      - {record: "job:up:sum", expr: sum by (job) (up)}
"""
BAD = """\
groups:
  - name: a
    rules:
      - alert: Down
        expr: up ==
        fur: 5m
"""


def test_good_files_are_counted(tmp_path: Path):
    """Each good file is one line with its groups and rules."""
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "empty.yaml").write_text("groups: []\n", encoding="utf-8")

    done = gatewatch("rules", "check", "good.yaml", "empty.yaml", directory=tmp_path)

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "good.yaml: good, groups: 1, rules: 2",
        "empty.yaml: good, groups: 0, rules: 0",
    ]


def test_bad_files_name_the_place(tmp_path: Path):
    """Every problem of every file stands on a line of stderr, and the exit code is 1."""
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")

    done = gatewatch("rules", "check", "bad.yaml", "good.yaml", directory=tmp_path)

    assert (done.code, done.out) == (1, "")
    assert "bad.yaml:5:" in done.err
    assert "bad.yaml:6:9: " in done.err


def test_problems_for_machines(tmp_path: Path):
    """With --json the problems are data."""
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")

    done = gatewatch("rules", "check", "--json", "bad.yaml", directory=tmp_path)

    assert done.code == 1
    assert {problem["line"] for problem in json.loads(done.out)["problems"]} == {5, 6}


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path):
    """Nothing was checked, so the exit code is 2."""
    done = gatewatch("rules", "check", "none.yaml", directory=tmp_path)

    assert done.code == 2
    assert "none.yaml' does not exist" in done.err


RULES = """\
groups:
  - name: a
    rules:
      - {alert: Down, expr: up == 0, labels: {severity: page}}
      - {alert: Down, expr: up < 1, labels: {severity: page}}
"""
TESTS = """\
rule_files: [rules.yaml]
tests:
  - name: rises
    input_series: [{series: up, values: 1 0}]
    alert_rule_test:
      - {eval_time: 0, alertname: Down}
  - name: falls
    input_series: [{series: up, values: 1}]
    promql_expr_test:
      - {expr: up, eval_time: 0, exp_samples: [{labels: up, value: 2}]}
"""


def with_tests(directory: Path) -> Path:
    """Write rules and tests for them; one passes, one fails."""
    (directory / "rules.yaml").write_text(RULES, encoding="utf-8")
    (directory / "tests.yaml").write_text(TESTS, encoding="utf-8")
    return directory


def test_duplicate_rules_are_warned_about(tmp_path: Path):
    """A rule that is there twice is a warning; with --lint-fatal it is a problem."""
    directory = with_tests(tmp_path)

    plain = gatewatch("rules", "check", "rules.yaml", directory=directory)
    fatal = gatewatch("rules", "check", "--lint-fatal", "rules.yaml", directory=directory)
    none = gatewatch("rules", "check", "--lint", "none", "rules.yaml", directory=directory)

    assert (plain.code, plain.out) == (0, "rules.yaml: good, groups: 1, rules: 2\n")
    assert plain.err.startswith("rules.yaml:5:9: warning: the rule in line 4 has the name 'Down'")
    assert (fatal.code, fatal.out) == (1, "")
    assert fatal.err.startswith("rules.yaml:5:9: the rule in line 4")
    assert (none.code, none.err) == (0, "")


def test_unit_tests_say_what_differs(tmp_path: Path):
    """A test that fails is shown with its place and both sides; the exit code is 1."""
    done = gatewatch("rules", "test", "tests.yaml", directory=with_tests(tmp_path))

    assert (done.code, done.out) == (1, "tests.yaml: bad, failed: 1, tests: 2\n")
    assert done.err.splitlines() == [
        "tests.yaml:10:9: falls: up at 0s is not as expected",
        "    expected: up 2",
        "    got:      up 1",
    ]


def test_unit_tests_are_chosen_by_name(tmp_path: Path):
    """With --run only tests that one of the patterns matches are run."""
    directory = with_tests(tmp_path)

    done = gatewatch_inside(
        "rules", "test", "--run", "^ri", "--run", "x", "tests.yaml", directory=directory
    )
    bad = gatewatch_inside("rules", "test", "--run", "(", "tests.yaml", directory=directory)

    none = gatewatch_inside("rules", "test", "--run", "nothing", "tests.yaml", directory=directory)

    assert (done.code, done.out, done.err) == (0, "tests.yaml: good, tests: 1\n", "")
    assert bad.code == 2
    assert none.err == "--run: warning: no test has a name that it matches\n"


def test_unit_tests_show_the_difference(tmp_path: Path):
    """With --diff what is missing and what is new is marked; with --debug series are shown."""
    done = gatewatch(
        "rules", "test", "--diff", "--debug", "tests.yaml", directory=with_tests(tmp_path)
    )

    assert "    + up 1\n    - up 2\n" in done.err
    assert "falls: up 1 @0\n" in done.err


def test_unit_tests_for_machines(tmp_path: Path):
    """With --json the results are data, with --junit they are in a file as well."""
    done = gatewatch(
        "rules",
        "test",
        "--json",
        "--junit",
        "out.xml",
        "tests.yaml",
        directory=with_tests(tmp_path),
    )

    (file,) = json.loads(done.out)["files"]
    assert [test["ok"] for test in file["tests"]] == [True, False]
    assert file["tests"][1]["failures"][0]["got"] == ["up 1"]
    assert 'failures="1"' in (tmp_path / "out.xml").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written(tmp_path: Path):
    """A report that cannot be written is an error of its own, whatever the tests came to."""
    done = gatewatch(
        "rules", "test", "--junit", "none/out.xml", "tests.yaml", directory=with_tests(tmp_path)
    )

    assert done.code == 2
    assert "none/out.xml: cannot write the results there: No such file or directory" in done.err


def test_features_are_enabled_by_prometheus_names(tmp_path: Path):
    """--enable-feature lets rules and their tests use what is experimental."""
    (tmp_path / "rules.yaml").write_text(
        "groups: [{name: a, rules: [{record: r, expr: 'mad_over_time(up[5m])'}]}]\n"
    )
    (tmp_path / "tests.yaml").write_text("rule_files: [rules.yaml]\ntests: [{}]\n")
    feature = "--enable-feature=promql-experimental-functions"

    refused = gatewatch_inside("rules", "check", "rules.yaml", directory=tmp_path)
    checked = gatewatch_inside("rules", "check", "rules.yaml", feature, directory=tmp_path)
    tested = gatewatch_inside("rules", "test", "tests.yaml", feature, directory=tmp_path)
    unknown = gatewatch_inside(
        "rules", "check", "rules.yaml", "--enable-feature=x", directory=tmp_path
    )

    assert (refused.code, checked.code, tested.code, unknown.code) == (1, 0, 0, 2)
    assert "rules.yaml:1:47: expr: " in refused.err
    assert "promql-experimental-functions in alerts.promql_features or --enable" in refused.err
    assert "known are promql-delayed-name-removal, " in " ".join(unknown.err.split())


def test_unknown_fields_can_be_ignored(tmp_path: Path):
    """--ignore-unknown-fields lets notes of other tools pass, in check and in test."""
    (tmp_path / "rules.yaml").write_text("groups: [{name: a, owner: us}]\n")
    (tmp_path / "tests.yaml").write_text("rule_files: [rules.yaml]\ntests: [{}]\n")

    for command, file in (("check", "rules.yaml"), ("test", "tests.yaml")):
        refused = gatewatch_inside("rules", command, file, directory=tmp_path)
        ignored = gatewatch_inside(
            "rules", command, file, "--ignore-unknown-fields", directory=tmp_path
        )

        assert (refused.code, ignored.code) == (1, 0)
        assert "a group has no key 'owner'" in refused.err
