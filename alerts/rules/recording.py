"""Recording rules: the result of an expression as series of another name.

Source: Prometheus, rules/recording.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerts.rules.alerting import RuleError
from alerts.rules.model import RecordingDefinition, SampleLike
from alerts.series.labels import METRIC_NAME, Labels


class RecordingRule:
    """One recording rule; keeps nothing between evaluations."""

    def __init__(self, definition: RecordingDefinition) -> None:
        self.definition = definition
        self._labels = {**dict(definition.labels), METRIC_NAME: definition.record}

    @property
    def name(self) -> str:
        """Name of the metric it writes."""
        return self.definition.record

    def evaluate(
        self, samples: Sequence[SampleLike], timestamp_ms: int, *, limit: int = 0
    ) -> list[tuple[Labels, float]]:
        """Return the series to write for the result of the expression.

        Raises:
            RuleError: Two results have the same labels, or there are more than ``limit``.
        """
        series: dict[Labels, float] = {}
        for sample in samples:
            labels = sample.labels.merge(self._labels)
            if labels in series:
                raise RuleError(
                    "two results have the same labels once the rule's labels are applied: "
                    f"{labels!r}; keep a label that tells them apart"
                )
            series[labels] = sample.value
        if limit and len(series) > limit:
            raise RuleError(f"the limit of {limit} is exceeded: {len(series)} series")
        return list(series.items())
