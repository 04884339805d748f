"""Collects how the scripts went and prints a table when the run ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.runner import Group, Report

_REPORTS = pytest.StashKey[dict[str, Report]]()
_GROUPS: tuple[Group, ...] = ("plain", "durations", "native", "experimental")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str, Report], None]:
    """Keep a report for the table."""
    reports = request.config.stash.setdefault(_REPORTS, {})

    def keep(name: str, report: Report) -> None:
        reports[name] = report

    return keep


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print passed and all cases per script and group."""
    reports = config.stash.get(_REPORTS, {})
    if not reports:
        return
    terminalreporter.section("PromQL cases, passed/all")
    columns = "".join(f"{group:>14}" for group in _GROUPS)
    terminalreporter.write_line(f"{'script':24}{columns}")
    everything = Report()
    for name, report in sorted(reports.items()):
        everything.total += report.total
        everything.passed += report.passed
        terminalreporter.write_line(f"{name:24}{_cells(report)}")
    terminalreporter.write_line(f"{'sum':24}{_cells(everything)}")


def _cells(report: Report) -> str:
    cells = [
        f"{report.passed[group]}/{report.total[group]}" if report.total[group] else "-"
        for group in _GROUPS
    ]
    return "".join(f"{cell:>14}" for cell in cells)
