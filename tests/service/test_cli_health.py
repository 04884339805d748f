"""`gatewatch health`, as a process against servers on loopback."""

import json
import socket
from pathlib import Path

from tests.support.command import gatewatch


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
