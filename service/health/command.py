"""``gatewatch health``: every configured check once, now."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from typing import TextIO

from opentelemetry.trace import NoOpTracerProvider
from rich.console import Console
from rich.table import Table

from alerts.clock import SystemClock
from alerts.durations import format_duration
from service.config.settings import Settings
from service.health.checks import Check, configured_checks, run_check
from service.health.probes.factory import ProbeParts
from service.health.pushes import PushInbox
from service.health.state import ProbeResult
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments

_NO_CHECKS = """\
No checks are configured. Add one to gatewatch.yaml:

    health:
      checks:
        - name: web
          http: {url: https://example.com/}
"""

Findings = list[tuple[Check, ProbeResult]]


async def run_health(settings: Settings, *, json_output: bool, output: TextIO | None = None) -> int:
    """Run every configured check once, all at the same time, and print what they found.

    A table on a terminal, one line for each check in a pipe, or JSON.

    Args:
        settings: All settings; ``health.checks`` and ``pools.http`` are used.
        json_output: Print one JSON object.
        output: Where to print; unset: standard output.

    Returns:
        The exit code: 0 if every check succeeded or there is none, 1 if one failed.
    """
    output = sys.stdout if output is None else output
    findings = await _run_all(settings)
    if json_output:
        output.write(_as_json(findings))
    elif not findings:
        output.write(_NO_CHECKS)
    elif output.isatty():
        Console(file=output).print(_as_table(findings))
    else:
        output.writelines(_as_line(check, result) for check, result in findings)
    return 0 if all(result.success for _, result in findings) else 1


async def _run_all(settings: Settings) -> Findings:
    clock = SystemClock()
    async with HTTPConnectionPool(
        settings.pools.http,
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=clock,
    ) as pool:
        parts = ProbeParts(pool, clock, PushInbox(clock), os.environ)
        checks = configured_checks(settings.health, parts)
        results = await asyncio.gather(*(run_check(check, clock) for check in checks))
    return list(zip(checks, results, strict=True))


def _as_json(findings: Findings) -> str:
    body = {
        "success": all(result.success for _, result in findings),
        "checks": [
            {
                "name": check.name,
                "target": check.probe.target,
                **dataclasses.asdict(dataclasses.replace(result, attributes={})),
                "attributes": dict(result.attributes),
            }
            for check, result in findings
        ],
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _as_line(check: Check, result: ProbeResult) -> str:
    verdict = "ok" if result.success else "failed"
    duration = format_duration(result.duration_s)
    return f"{check.name}\t{verdict}\t{duration}\t{check.probe.target}\t{result.reason}\n"


def _as_table(findings: Findings) -> Table:
    table = Table("check", "result", "time", "target", "reason", box=None, pad_edge=False)
    for check, result in findings:
        table.add_row(
            check.name,
            "[green]ok[/green]" if result.success else "[bold red]failed[/bold red]",
            format_duration(result.duration_s),
            # a target may contain brackets, which rich would take for markup
            check.probe.target.replace("[", r"\["),
            result.reason.replace("[", r"\["),
        )
    return table
