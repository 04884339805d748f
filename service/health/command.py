"""``gatewatch health``: configured checks once, now."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TextIO

from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import Clock, SystemClock
from service.config.health_settings import HealthSettings
from service.config.settings import Settings
from service.errors import GatewatchError
from service.health.checks import Check, configured_checks, run_check
from service.health.probes.factory import ProbeParts
from service.health.probes.push import PushProbe
from service.health.pushes import PushInbox
from service.health.report import LiveTable, Outcome, as_json, as_line
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments

NO_CHECKS = """\
No checks are configured. Add one to gatewatch.yaml:

    health:
      checks:
        - name: web
          http: {url: https://example.com/}
"""


class NoSuchCheckError(GatewatchError):
    """Checks were asked for that are not there."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which checks to run; all of them if nothing is said.

    Attributes:
        names: Checks of these names.
        groups: Checks of these groups.
    """

    names: Sequence[str] = ()
    groups: Sequence[str] = ()

    def chosen(self, settings: HealthSettings) -> HealthSettings:
        """Return settings with the chosen checks only.

        Raises:
            NoSuchCheckError: There is no check or group of a name; says which there are.
        """
        _require("check", self.names, [check.name for check in settings.checks])
        _require("group", self.groups, [check.group for check in settings.checks if check.group])
        if not self.names and not self.groups:
            return settings
        chosen = [
            check
            for check in settings.checks
            if check.name in self.names or (check.group and check.group in self.groups)
        ]
        return settings.model_copy(update={"checks": tuple(chosen)})


async def run_checks(settings: Settings, selection: Selection) -> list[Outcome]:
    """Run the chosen checks once, all at the same time, and return what they found.

    Raises:
        NoSuchCheckError: A check was asked for that is not there.
    """
    async with _configured(settings, selection) as (checks, clock):
        return list(await asyncio.gather(*(_run(check, clock) for check in checks)))


async def show_checks(
    settings: Settings,
    selection: Selection,
    *,
    json_output: bool = False,
    output: TextIO | None = None,
) -> list[Outcome]:
    """Run the chosen checks and print what they found.

    A table on a terminal, with results as they come; in a pipe one line for each check, or JSON.

    Args:
        settings: All settings; ``health`` and ``pools.http`` are used.
        selection: Which checks.
        json_output: Print one JSON object.
        output: Where to print; unset: standard output.

    Raises:
        NoSuchCheckError: A check was asked for that is not there.
    """
    output = sys.stdout if output is None else output
    if output.isatty() and not json_output:
        outcomes = await _show_live(settings, selection, output)
    else:
        outcomes = await run_checks(settings, selection)
        if json_output:
            output.write(as_json(outcomes))
        else:
            output.writelines(as_line(outcome) for outcome in outcomes)
    if not outcomes and not json_output:
        output.write(NO_CHECKS)
    return outcomes


async def _show_live(settings: Settings, selection: Selection, output: TextIO) -> list[Outcome]:
    async with _configured(settings, selection) as (checks, clock):
        if not checks:
            return []
        with LiveTable(checks, output, clock) as table:

            async def run(check: Check) -> Outcome:
                outcome = await _run(check, clock)
                table.show(outcome)
                return outcome

            return list(await asyncio.gather(*(run(check) for check in checks)))


@asynccontextmanager
async def _configured(
    settings: Settings, selection: Selection
) -> AsyncIterator[tuple[tuple[Check, ...], Clock]]:
    clock = SystemClock()
    async with HTTPConnectionPool(
        settings.pools.http,
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=clock,
    ) as pool:
        parts = ProbeParts(pool, clock, PushInbox(clock), os.environ)
        yield configured_checks(selection.chosen(settings.health), parts), clock


async def _run(check: Check, clock: Clock) -> Outcome:
    if isinstance(check.probe, PushProbe):
        return Outcome(check, None)  # what was pushed, the gatewatch that runs knows
    return Outcome(check, await run_check(check, clock))


def _require(what: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    missing = next((name for name in wanted if name not in known), None)
    if missing is not None:
        there = ", ".join(dict.fromkeys(known)) or "none"
        raise NoSuchCheckError(f"there is no {what} {missing!r}; there are: {there}")
