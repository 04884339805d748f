"""The scheduler's jobs of the rule groups: one each, kept in step with the groups there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alerts.alerting import Alerting
from alerts.rules.group import RuleGroup
from service.jobs import JobFunction
from service.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class _Planned:
    """What a job is for, and when."""

    group_key: str
    interval_s: float
    offset_s: float


class RuleJobs:
    """Adds, changes and removes the jobs of rule groups; the others are left alone."""

    def __init__(self, scheduler: Scheduler, alerting: Alerting) -> None:
        self._scheduler = scheduler
        self._alerting = alerting
        self._planned: dict[str, _Planned] = {}

    def sync(self) -> None:
        """Have a job for every group there is; a group that is due as before keeps its job."""
        groups = self._alerting.groups
        wanted = {
            f"rules {_label(group, groups)}": _Planned(
                group.definition.key, group.interval_s, group.offset_s
            )
            for group in groups
        }
        for name, planned in self._planned.items():
            if wanted.get(name) != planned:
                self._scheduler.remove_job(name)
        for name, planned in wanted.items():
            if self._planned.get(name) != planned:
                self._scheduler.add_job(
                    name,
                    self._evaluation(planned.group_key),
                    interval_s=planned.interval_s,
                    kind="rules",
                    offset_s=planned.offset_s,
                )
        self._planned = wanted

    def _evaluation(self, group_key: str) -> JobFunction:
        async def evaluate(slot_s: float) -> None:
            # Looked up each time: a group that changed in other ways than its times is another.
            for group in self._alerting.groups:
                if group.definition.key == group_key:
                    await self._alerting.evaluate(group, round(slot_s * 1000))

        return evaluate


def _label(group: RuleGroup, groups: Sequence[RuleGroup]) -> str:
    """Return a group's name, with its file where another file has a group of that name."""
    alike = [other for other in groups if other.name == group.name]
    return group.name if len(alike) == 1 else f"{group.name} ({group.definition.key})"
