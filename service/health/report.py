"""What checks found, for people and for machines."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO
from xml.etree import ElementTree

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from alerts.clock import Clock
from alerts.durations import format_duration
from service.health.checks import Check
from service.health.state import ProbeResult

SKIPPED = "waits for pushes, which a gatewatch that runs receives"
"""Why a check was not run."""

_REDRAWN_EVERY_S = 0.1
_LINES_AROUND = 4

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_VERDICTS = {
    "ok": "[green]ok[/green]",
    "failed": "[bold red]failed[/bold red]",
    "skipped": "[dim]skipped[/dim]",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check and what it found.

    Attributes:
        check: The check.
        result: What it found; None if it was not run.
    """

    check: Check
    result: ProbeResult | None

    @property
    def failed(self) -> bool:
        """Whether the check ran and found a failure."""
        return self.result is not None and not self.result.success

    @property
    def verdict(self) -> str:
        """One word for it."""
        if self.result is None:
            return "skipped"
        return "failed" if self.failed else "ok"

    @property
    def reason(self) -> str:
        """The reason of the result."""
        return SKIPPED if self.result is None else self.result.reason


def as_line(outcome: Outcome) -> str:
    """Return a line with name, verdict, duration, target and reason, separated by tabs."""
    fields = (
        outcome.check.name,
        outcome.verdict,
        _took(outcome),
        outcome.check.probe.target,
        outcome.reason,
    )
    return "\t".join(fields) + "\n"


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Return one object with every result."""
    body = {
        "success": not any(outcome.failed for outcome in outcomes),
        "checks": [_body(outcome) for outcome in outcomes],
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def as_junit(outcomes: Sequence[Outcome]) -> bytes:
    """Return the results as JUnit XML, a suite for each group."""
    root = ElementTree.Element("testsuites", {"name": "gatewatch health", **_totals(outcomes)})
    for group in dict.fromkeys(outcome.check.group for outcome in outcomes):
        members = [outcome for outcome in outcomes if outcome.check.group == group]
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": _xml(group or "health"), **_totals(members)}
        )
        for outcome in members:
            _add_case(suite, outcome, group or "health")
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


class LiveTable:
    """A table on a terminal that fills up as results come; a context manager.

    Args:
        checks: Its rows.
        output: The terminal.
        clock: Time.
    """

    def __init__(self, checks: Sequence[Check], output: TextIO, clock: Clock) -> None:
        self._outcomes: dict[str, Outcome | None] = {check.name: None for check in checks}
        self._checks = checks
        self._clock = clock
        self._next_s = clock.monotonic()
        console = Console(file=output)
        self._rows = max(1, console.height - _LINES_AROUND)
        # Drawn when a result comes and at no other time: no thread of its own.
        self._live = Live(self._table(self._rows), console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.update(self._table(len(self._checks)), refresh=False)
        self._live.stop()

    def show(self, outcome: Outcome) -> None:
        """Put a result into the table."""
        self._outcomes[outcome.check.name] = outcome
        started_s = self._clock.monotonic()
        if started_s >= self._next_s:
            self._live.update(self._table(self._rows), refresh=True)
            now_s = self._clock.monotonic()
            # Drawing holds up the checks, so it has a small share of the time.
            self._next_s = now_s + max(_REDRAWN_EVERY_S, 20 * (now_s - started_s))

    def _table(self, rows: int) -> Table:
        table = Table("check", "result", "time", "target", "reason", box=None, pad_edge=False)
        for check in self._checks[:rows]:
            outcome = self._outcomes[check.name]
            table.add_row(
                check.name,
                "[dim]...[/dim]" if outcome is None else _VERDICTS[outcome.verdict],
                "" if outcome is None else _took(outcome),
                escape(check.probe.target),
                "" if outcome is None else escape(outcome.reason),
            )
        if rows < len(self._checks):
            done = sum(outcome is not None for outcome in self._outcomes.values())
            table.add_row(f"[dim]{done} of {len(self._checks)} done[/dim]")
        return table


def _took(outcome: Outcome) -> str:
    return "-" if outcome.result is None else format_duration(outcome.result.duration_s)


def _body(outcome: Outcome) -> dict[str, object]:
    body: dict[str, object] = {
        "name": outcome.check.name,
        "group": outcome.check.group,
        "target": outcome.check.probe.target,
    }
    if outcome.result is None:
        return {**body, "success": None, "skipped": True, "reason": outcome.reason}
    plain = dataclasses.asdict(dataclasses.replace(outcome.result, attributes={}))
    return {**body, **plain, "attributes": dict(outcome.result.attributes)}


def _totals(outcomes: Sequence[Outcome]) -> dict[str, str]:
    seconds = sum(each.result.duration_s for each in outcomes if each.result is not None)
    return {
        "tests": str(len(outcomes)),
        "failures": str(sum(outcome.failed for outcome in outcomes)),
        "errors": "0",
        "skipped": str(sum(outcome.result is None for outcome in outcomes)),
        "time": f"{seconds:.3f}",
    }


def _add_case(suite: ElementTree.Element, outcome: Outcome, group: str) -> None:
    result = outcome.result
    seconds = 0.0 if result is None else result.duration_s
    case = ElementTree.SubElement(
        suite,
        "testcase",
        name=_xml(outcome.check.name),
        classname=_xml(group),
        time=f"{seconds:.3f}",
    )
    target = _xml(outcome.check.probe.target)
    if result is None:
        ElementTree.SubElement(case, "skipped", message=_xml(outcome.reason))
    elif not result.success:
        failure = ElementTree.SubElement(
            case, "failure", message=_xml(result.reason), type=_xml(result.error_type)
        )
        failure.text = f"{target}: {_xml(result.reason)}"
    else:
        ElementTree.SubElement(case, "system-out").text = f"{target}: {_xml(result.reason)}"


def _xml(text: str) -> str:
    """Return a text without the characters that XML cannot hold in any way."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
