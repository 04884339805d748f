"""The checks the settings ask for, kept in step with them while the process runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alerts.durations import format_duration
from service.config.health_settings import CheckSettings, HealthSettings
from service.config.maintenance_settings import MaintenanceSettings
from service.health.checks import Check
from service.health.maintenance import configured_maintenance
from service.health.monitor import HealthMonitor
from service.health.state import CheckStatus

BuildChecks = Callable[[HealthSettings], Sequence[Check]]
"""Builds the checks of settings; raises ConfigurationError when one cannot be."""

_Definition = tuple[CheckSettings, tuple[MaintenanceSettings, ...], float]


@dataclass(frozen=True, slots=True)
class ChecksPlan:
    """What other settings change.

    Attributes:
        settings: The settings.
        added: New checks.
        changed: Those that take the place of one of their name.
        removed: Names of those that go.
        unchanged: How many stay as they are.
        interval_s: The common interval, where it is another.
    """

    settings: HealthSettings
    added: tuple[Check, ...]
    changed: tuple[Check, ...]
    removed: tuple[str, ...]
    unchanged: int
    interval_s: float | None = None

    def __str__(self) -> str:
        said = (
            f"checks: {self.unchanged} unchanged, {len(self.changed)} changed, "
            f"{len(self.added)} added, {len(self.removed)} removed"
        )
        if self.interval_s is None:
            return said
        return f"{said}, the built-in ones every {format_duration(self.interval_s)}"


class ConfiguredChecks:
    """Adds, changes and removes checks as settings say; the others keep state and slots.

    Args:
        monitor: Runs them.
        settings: What there is at the start.
        built_in: The checks there always are.
        build: Builds the others.
        expect: Told the settings when they take effect, for what waits to hear of checks.
        forget: Told the names of checks that go.
        known: What an earlier process found out, by check.
    """

    def __init__(
        self,
        monitor: HealthMonitor,
        settings: HealthSettings,
        *,
        built_in: Sequence[Check],
        build: BuildChecks,
        expect: Callable[[HealthSettings], None],
        forget: Callable[[str], None],
        known: Mapping[str, CheckStatus],
    ) -> None:
        self._monitor = monitor
        self._settings = settings
        self._built_in = tuple(built_in)
        self._build = build
        self._expect = expect
        self._forget = forget
        self._known = known

    @property
    def interval_s(self) -> float:
        """The interval of built-in checks and of those that have none of their own."""
        return self._settings.interval

    def start(self) -> None:
        """Add all of them."""
        self._expect(self._settings)
        for check in (*self._own(self._settings), *self._build(self._settings)):
            self._monitor.add(check, status=self._known.get(check.name))

    def plan(self, settings: HealthSettings) -> ChecksPlan:
        """Return what other settings change; nothing is changed yet.

        Raises:
            ConfigurationError: A check cannot be built.
        """
        before, after = _definitions(self._settings), _definitions(settings)
        differing = [name for name, definition in after.items() if before.get(name) != definition]
        # Only those: a probe may have a state of its own, such as when it was called last.
        wanted = tuple(check for check in settings.checks if check.name in differing)
        built = self._build(settings.model_copy(update={"checks": wanted}))
        return ChecksPlan(
            settings,
            added=tuple(check for check in built if check.name not in before),
            changed=tuple(check for check in built if check.name in before),
            removed=tuple(name for name in before if name not in after),
            unchanged=len(after) - len(differing),
            interval_s=None if settings.interval == self._settings.interval else settings.interval,
        )

    def apply(self, plan: ChecksPlan) -> None:
        """Have what a plan says."""
        self._expect(plan.settings)
        for name in plan.removed:
            self._monitor.remove(name)
            self._forget(name)
        if plan.interval_s or plan.settings.maintenance != self._settings.maintenance:
            for check in self._own(plan.settings):
                self._monitor.replace(check)
        for check in plan.changed:
            self._monitor.replace(check)
        for check in plan.added:
            self._monitor.add(check)
        self._settings = plan.settings

    def _own(self, settings: HealthSettings) -> tuple[Check, ...]:
        maintenance = configured_maintenance(settings.maintenance)
        return tuple(
            dataclasses.replace(check, interval_s=settings.interval, maintenance=maintenance)
            for check in self._built_in
        )


def _definitions(settings: HealthSettings) -> dict[str, _Definition]:
    return {
        check.name: (
            check,
            settings.maintenance,
            settings.interval if check.interval is None else check.interval,
        )
        for check in settings.checks
    }
