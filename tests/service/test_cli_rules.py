"""`gatewatch rules check`, as a process: what it prints and how it exits."""

import json
from pathlib import Path

from tests.support.command import gatewatch

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
