"""What is checked, and how often: the section ``health``."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from service.config.probe_settings import HTTPProbeSettings
from service.config.section import Section, repeated
from service.config.types import CheckName, Count, PositiveDuration, contradiction


class CheckSettings(Section):
    """One health check."""

    name: CheckName
    """Name of the check, also the label `check` of its metrics."""
    interval: PositiveDuration | None = None
    """How often it runs; unset: health.interval."""
    timeout: PositiveDuration = 10.0
    """How long one run may take."""
    failure_threshold: Count = 3
    """Failures in a row that make it down."""
    success_threshold: Count = 1
    """Successes in a row that make it up again."""
    http: HTTPProbeSettings
    """The HTTP request to make."""


class HealthSettings(Section):
    """The health-check scheduler."""

    interval: PositiveDuration = 60.0
    """How often connections are checked, and checks without an interval of their own run."""
    checks: tuple[CheckSettings, ...] = ()
    """What to check besides the gateway's own connections."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        twice = repeated([check.name for check in self.checks])
        if twice is not None:
            raise contradiction(
                f"the name {self.checks[twice].name} stands there twice; "
                "results could not be told apart",
                ("checks", twice, "name"),
            )
        return self
