"""The programs of this folder's tests, and what those programs remarked without objecting."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

REMARKS: Final = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Find a program by name, or skip the test."""
    found = json.loads(os.environ.get("GATEWATCH_E2E_PROGRAMS", "{}"))

    def find(name: str) -> Path:
        if name not in found:
            pytest.skip(f"{name} is not there; tests/external/run gets it, or says why it cannot")
        return Path(found[name])

    return find


@pytest.fixture
def remark(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Keep a line for the end of the run."""
    return pytestconfig.stash.setdefault(REMARKS, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """List the remarks."""
    if remarks := config.stash.get(REMARKS, []):
        terminalreporter.section("remarked, not failed")
        for line in remarks:
            terminalreporter.write_line(line)
