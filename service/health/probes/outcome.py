"""From what a probe found to its result: the probe's own rules, then the check's conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.config.types import HIDDEN
from service.health.conditions.evaluation import unmet
from service.health.conditions.findings import Findings, Placeholder
from service.health.conditions.syntax import Condition
from service.health.state import AttributeValue, ProbeResult


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong by the probe's own rules.

    Attributes:
        reason: What happened, for a person.
        error_type: The same as one of few words.
        about: The placeholder that stands for it. A check with conditions on it has these judge
            instead: ``[CONNECTED] == false`` wants nobody to answer.
    """

    reason: str
    error_type: str
    about: Placeholder | None = None


@dataclass(frozen=True, slots=True)
class Expectations:
    """The conditions of a check.

    Attributes:
        conditions: All of them have to hold.
        secrets: Texts that no reason may show, such as a token that the other side sends back.
    """

    conditions: tuple[Condition, ...] = ()
    secrets: tuple[str, ...] = ()

    def mention(self, placeholder: Placeholder) -> bool:
        """Whether a condition is about a placeholder."""
        return any(
            lookup.placeholder is placeholder
            for condition in self.conditions
            for lookup in condition.lookups
        )

    def result(
        self,
        findings: Findings,
        attributes: Mapping[str, AttributeValue],
        *,
        remark: str = "",
        fault: Fault | None = None,
    ) -> ProbeResult:
        """Return the result of a run.

        Args:
            findings: What conditions look at.
            attributes: More findings.
            remark: The reason that stands there when all is well.
            fault: What is wrong by the probe's own rules; None: nothing.
        """
        if fault is not None and (fault.about is None or not self.mention(fault.about)):
            return ProbeResult.failed(self._shown(fault.reason), fault.error_type, attributes)
        failures = unmet(self.conditions, findings, self._hidden)
        if failures:
            return ProbeResult.failed(self._shown("; ".join(failures)), "condition", attributes)
        return ProbeResult(True, self._shown(remark), attributes=attributes)

    def _shown(self, reason: str) -> str:
        return " ".join(self._hidden(reason).split())

    def _hidden(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return text
