"""The command probe with programs that end in every way, and some that do not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from service.health.probes.command import MAX_OUTPUT_BYTES
from tests.support.http import until
from tests.support.probes import run_once


def python(code: str, **settings: object) -> dict[str, object]:
    return {"argv": [sys.executable, "-c", code], **settings}


async def test_a_program_that_ends_well_works():
    """Its output is the body, its code the status."""
    result = await run_once(
        "command",
        python("print('{\"free\": 12}'); print('more')", environment={"A": "b"}),
        conditions=["[STATUS] == 0", "[BODY] == pat(*more)"],
    )

    assert (result.success, result.reason) == (True, '{"free": 12}')
    assert result.attributes["process.exit.code"] == 0


async def test_another_code_is_a_failure():
    """What it said on standard error is the reason, and a condition may want the code."""
    code = "import sys; sys.exit('disk full')"
    failed = await run_once("command", python(code))
    wanted = await run_once("command", python(code), conditions=["[STATUS] == 1"])

    assert (failed.success, failed.error_type) == (False, "exit_code")
    assert failed.reason == "exit code 1: disk full"
    assert wanted.success


async def test_a_signal_is_told():
    """A program that is killed has no code of its own."""
    result = await run_once("command", python("import os; os.kill(os.getpid(), 9)"))

    assert result.reason == "ended by signal 9"


async def test_a_program_that_is_not_there_is_a_failure():
    """The system's reason is shown."""
    result = await run_once("command", {"argv": ["/nowhere/program"]})

    assert (result.error_type, "No such file" in result.reason) == ("command", True)


async def test_no_secret_of_the_process_is_inherited(monkeypatch):
    """A program sees a few variables and those it is given."""
    monkeypatch.setenv("GATEWATCH_GATEWAY__API_KEY", "hush")
    code = "import os; print(sorted(os.environ))"
    result = await run_once("command", python(code, environment={"MINE": "1"}))

    assert "GATEWATCH" not in result.reason
    assert "'MINE'" in result.reason


async def test_output_is_limited():
    """A program that prints for ever is read, and not kept."""
    code = f"print('x' * {20 * MAX_OUTPUT_BYTES})"
    result = await run_once(
        "command", python(code), conditions=[f"len([BODY]) == {MAX_OUTPUT_BYTES}"]
    )

    assert result.success, result.reason


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "hangs"])
async def test_what_a_program_started_ends_with_it(tmp_path: Path, ends: bool):
    """Children that would live on, and hold its output open, are killed, at the timeout too."""
    child = "import time; time.sleep(600)"
    code = (
        "import subprocess, sys, pathlib, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        f"time.sleep({0 if ends else 600})\n"
    )
    result = await run_once("command", python(code), timeout="20s" if ends else "3s")

    assert result.success is ends, result.reason
    assert result.error_type == ("" if ends else "timeout")
    assert ends or result.reason == "no end of the program within 3s"
    child_id = int((tmp_path / "pid").read_text())
    await until(lambda: has_ended(child_id))


def has_ended(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_secret_argument_is_not_shown():
    """Only the program is named."""
    result = await run_once("command", {"argv": ["/nowhere/x", "--password", "hush"]})

    assert "hush" not in result.reason
    assert os.sep in result.reason
