"""`gatewatch health`, as a process against servers on loopback."""

import json
import socket
from pathlib import Path

from tests.support.command import gatewatch, gatewatch_inside


def test_a_failing_check_is_exit_code_1(tmp_path: Path):
    """A check whose server does not answer fails, by name, and so does the command."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        checks = json.dumps([{"name": "web", "http": {"url": f"http://127.0.0.1:{port}/"}}])

        done = gatewatch("health", "--set", f"health.checks={checks}", directory=tmp_path)

    assert done.code == 1
    assert "web" in done.out
    assert "Traceback" not in done.err


def test_without_checks_there_is_nothing_to_fail(tmp_path: Path):
    """Without checks the command says how to add one."""
    done = gatewatch("health", directory=tmp_path)

    assert done.code == 0
    assert "health:" in done.out


def test_results_are_written_for_ci(tmp_path: Path):
    """--junit writes a file beside what is printed; a folder that is not there is told."""
    checks = json.dumps([{"name": "a", "group": "g", "tcp": {"address": "gatewatch.invalid:1"}}])
    options = ("health", "--set", f"health.checks={checks}", "--group", "g")
    done = gatewatch_inside(*options, "--junit", "out.xml", directory=tmp_path)
    wrong = gatewatch_inside(*options, "--junit", "nowhere/out.xml", directory=tmp_path)

    assert done.code == 1
    assert '<testcase name="a" classname="g"' in (tmp_path / "out.xml").read_text("utf-8")
    assert (wrong.code, wrong.err) == (
        2,
        "nowhere/out.xml: cannot be written: No such file or directory\n",
    )


def test_a_check_that_is_not_there_is_exit_code_2(tmp_path: Path):
    """A name that was mistyped must not look like success."""
    done = gatewatch_inside("health", "--check", "web", directory=tmp_path)

    assert (done.code, done.err) == (2, "health: there is no check 'web'; there are: none\n")


def test_a_gatus_file_becomes_a_configuration_that_passes_the_check(tmp_path: Path):
    """The file that is written can be checked and run; remarks go to standard error."""
    (tmp_path / "gatus.yaml").write_text(
        "web: {port: 1}\n"
        "endpoints:\n"
        "- {name: a, url: 'http://x/', conditions: ['[STATUS] < 300']}\n"
    )
    done = gatewatch_inside(
        "health", "import-gatus", "gatus.yaml", "--output", "gatewatch.yaml", directory=tmp_path
    )
    printed = gatewatch_inside("health", "import-gatus", "gatus.yaml", directory=tmp_path)
    checked = gatewatch_inside("config", "check", directory=tmp_path)
    missing = gatewatch_inside("health", "import-gatus", "nowhere.yaml", directory=tmp_path)

    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("gatus.yaml:1:1: web: where to listen is in operations.host")
    assert (tmp_path / "gatewatch.yaml").read_text("utf-8") == printed.out
    assert (tmp_path / "gatewatch.yaml").stat().st_mode & 0o077 == 0
    assert checked.code == 0, checked.err
    assert missing.code == 2
