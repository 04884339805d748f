"""Reading the configuration again while the process runs: all of it is good, or nothing changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from alerts.alerting import Alerting
from alerts.clock import Clock
from alerts.errors import AlertsError
from service.config.settings import Settings
from service.documents import Documents
from service.errors import GatewatchError
from service.gateway.gateway import Gateway
from service.health.configuring import ConfiguredChecks
from service.rule_jobs import RuleJobs
from service.telemetry.log_levels import LogLevels

_LOG: Final = logging.getLogger(__name__)

_KEYS: Final = frozenset(f"gateway.{name}" for name in ("api_key", "token", "subscription_token"))
RELOADABLE: Final = _KEYS | frozenset(
    (
        "alerts.rule_files",
        "alerts.default_rules",
        "alerts.evaluation_interval",
        "alerts.alertmanager_config",
        "alerts.channel_folders",
        "health.checks",
        "health.interval",
        "health.maintenance",
        "telemetry.log_level",
    )
)
"""The settings that take effect when the configuration is read again."""


@dataclass(slots=True)
class ReloadStats:
    """Plain counts, read when metrics are collected.

    Attributes:
        succeeded: Times it went well.
        failed: Times nothing was changed, by what went wrong.
        is_good: Whether the last time went well; the start counts.
        read_at_s: When what is in use was read, in Unix time.
    """

    succeeded: int
    failed: dict[str, int]
    is_good: bool
    read_at_s: float


@dataclass(frozen=True, slots=True)
class ReloadedParts:
    """The parts that use what was read again.

    Attributes:
        gateway: Gets the keys.
        alerting: Gets rules and routes.
        jobs: The jobs of the rule groups.
        checks: The health checks.
        log_levels: How much is logged.
    """

    gateway: Gateway
    alerting: Alerting
    jobs: RuleJobs
    checks: ConfiguredChecks
    log_levels: LogLevels


class Reloader:
    """Reads settings, rules, routes, checks and keys again and has the parts use them.

    Args:
        settings: The settings the process was started with.
        reread: Reads the settings again; raises ConfigurationError.
        load: Reads rules and routes off the event loop; raises ConfigurationError also for keys
            of tokens that cannot be used.
        parts: Use what was read.
        clock: The time of day.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reread: Callable[[], Settings],
        load: Callable[[Settings], Documents],
        parts: ReloadedParts,
        clock: Clock,
    ) -> None:
        self.stats: Final = ReloadStats(0, {}, is_good=True, read_at_s=clock.time())
        self._settings = self._latest = settings
        self._reread = reread
        self._load = load
        self._parts = parts
        self._clock = clock
        self._lock = asyncio.Lock()

    async def reload(self) -> str:
        """Read everything again and return what changed, for people.

        Raises:
            ConfigurationError: Something in the files is wrong; nothing was changed.
            AlertsError: The database failed; nothing was changed.
        """
        async with self._lock:
            try:
                report = await self._reload()
            except (GatewatchError, AlertsError) as error:
                kind = type(error).__name__
                self.stats.failed[kind] = self.stats.failed.get(kind, 0) + 1
                self.stats.is_good = False
                _LOG.error("the configuration was not reloaded, nothing changed: %s", error)
                raise
            self.stats.succeeded += 1
            self.stats.is_good = True
            self.stats.read_at_s = self._clock.time()
            _LOG.info("the configuration was reloaded: %s", report)
            return report

    async def _reload(self) -> str:
        parts = self._parts
        settings = await asyncio.to_thread(self._reread)
        rules, routing = await asyncio.to_thread(self._load, settings)
        keys = parts.gateway.prepare_keys(settings.gateway)
        plan = parts.checks.plan(settings.health)
        reloaded = await parts.alerting.reload(rules, routing)
        parts.jobs.sync()
        parts.checks.apply(plan)
        await parts.gateway.use_keys(keys)
        parts.log_levels.change(settings.telemetry.log_level)
        report = f"{reloaded}; {plan}"
        changed = [name for name in differing(self._latest, settings) if name in _KEYS]
        self._latest = settings
        if changed:
            report += f"; other keys: {', '.join(changed)}"
        waiting = [name for name in differing(self._settings, settings) if name not in RELOADABLE]
        if not waiting:
            return report
        _LOG.warning("changed, but in effect only after a restart: %s", ", ".join(waiting))
        return f"{report}; in effect only after a restart: {', '.join(waiting)}"


def differing(before: Settings, after: Settings) -> list[str]:
    """Return the names of the settings that are not the same, such as ``gateway.port``."""
    names = []
    for section in Settings.model_fields:
        old, new = getattr(before, section), getattr(after, section)
        if isinstance(old, BaseModel):
            names += [
                f"{section}.{key}"
                for key in type(old).model_fields
                if getattr(old, key) != getattr(new, key)
            ]
    return names
