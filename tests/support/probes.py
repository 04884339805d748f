"""Checks as the settings make them, run once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import Clock, SystemClock
from service.config.health_settings import HealthSettings
from service.config.settings import HTTPPoolSettings
from service.health.checks import configured_checks, run_check
from service.health.probes.factory import ProbeParts
from service.health.pushes import PushInbox
from service.health.state import ProbeResult
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments


@asynccontextmanager
async def probe_parts(clock: Clock | None = None) -> AsyncIterator[ProbeParts]:
    """Yield what probes work with."""
    clock = clock or SystemClock()
    async with HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=clock,
    ) as pool:
        yield ProbeParts(pool, clock, PushInbox(clock), os.environ)


async def run_once(kind: str, probe: dict[str, object], **check: object) -> ProbeResult:
    """Run a check of a kind once.

    Args:
        kind: The kind of its probe.
        probe: The settings of the probe.
        check: The other settings of the check.
    """
    settings = HealthSettings.model_validate(
        {"checks": [{"name": "it", "timeout": "5s", kind: probe, **check}], "allow_commands": True}
        if kind == "command"
        else {"checks": [{"name": "it", "timeout": "5s", kind: probe, **check}]}
    )
    async with probe_parts() as parts:
        (made,) = configured_checks(settings, parts)
        return await run_check(made, parts.clock)
