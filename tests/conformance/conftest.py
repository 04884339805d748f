"""Collects how the scripts went and prints a table when the run ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.runner import Group, Report

_PROPERTY = "PromQL cases"
_GROUPS: tuple[Group, ...] = ("plain", "durations", "native", "experimental")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str, Report], None]:
    """Keep a report for the table; it travels with the test's own, also from other processes."""

    def keep(name: str, report: Report) -> None:
        counts = {"passed": dict(report.passed), "total": dict(report.total)}
        request.node.user_properties.append((_PROPERTY, [name, counts]))

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print passed and all cases per script and group."""
    reports = _reports(terminalreporter)
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


def _reports(terminalreporter: pytest.TerminalReporter) -> dict[str, Report]:
    reports: dict[str, Report] = {}
    for outcome in ("passed", "failed"):
        for test in terminalreporter.getreports(outcome):
            for key, value in test.user_properties if test.when == "call" else ():
                if key == _PROPERTY:
                    name, counts = value
                    report = reports[name] = Report()
                    report.passed.update(counts["passed"])
                    report.total.update(counts["total"])
    return reports


def _cells(report: Report) -> str:
    cells = [
        f"{report.passed[group]}/{report.total[group]}" if report.total[group] else "-"
        for group in _GROUPS
    ]
    return "".join(f"{cell:>14}" for cell in cells)
