"""Recording rules."""

from __future__ import annotations

import pytest

from alerts.rules.alerting import RuleError
from alerts.rules.model import RecordingDefinition
from alerts.rules.recording import RecordingRule
from alerts.series.labels import Labels
from tests.support.alerts import START_MS, sample


def rule(**labels: str) -> RecordingRule:
    """Return a rule that records ``job:up``."""
    return RecordingRule(RecordingDefinition("job:up", "up", "up", tuple(labels.items())))


def test_record() -> None:
    """The name is replaced, labels are overwritten, an empty label is removed."""
    found = rule(team="core", pod="").evaluate(
        [sample(2.0, __name__="up", job="a", pod="p", team="x")], START_MS
    )

    assert found == [(Labels({"__name__": "job:up", "job": "a", "team": "core"}), 2.0)]


def test_duplicates() -> None:
    """Two results with the same labels are an error."""
    with pytest.raises(RuleError, match=r'job:up\{job="all"\}'):
        rule(job="all").evaluate([sample(job="a"), sample(job="b")], START_MS)


@pytest.mark.parametrize(("limit", "is_over"), [(0, False), (1, True), (2, False), (3, False)])
def test_limit(limit: int, is_over: bool) -> None:
    """More series than the limit are an error."""
    samples = [sample(job="a"), sample(job="b")]

    if is_over:
        with pytest.raises(RuleError, match="the limit of 1 is exceeded: 2 series"):
            rule().evaluate(samples, START_MS, limit=limit)
    else:
        assert len(rule().evaluate(samples, START_MS, limit=limit)) == 2
