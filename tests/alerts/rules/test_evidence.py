"""The trace behind an alert."""

from __future__ import annotations

import pytest

from alerts.promql.plan import prepare
from alerts.rules.evidence import WINDOW_MS, TraceEvidence
from alerts.series.exemplars import Exemplar, Exemplars
from alerts.series.labels import Labels
from tests.support.alerts import START_MS, make_alert

URL = "http://jaeger/trace/{trace_id}"


def evidence(**traces: tuple[int, dict[str, str]]) -> TraceEvidence:
    """Return evidence with traces, each measured so long ago in a bucket with labels."""
    exemplars = Exemplars()
    for trace, (ago_ms, labels) in traces.items():
        exemplars.add(
            Labels({"__name__": "took_seconds_bucket", "le": "0.5", **labels}),
            Exemplar(Labels({"trace_id": trace}), 0.4, START_MS - ago_ms),
        )
    return TraceEvidence(exemplars, URL)


def trace_of(found: TraceEvidence, expression: str, **labels: str) -> str | None:
    """Return the trace an alert of an expression is given."""
    alert = make_alert(START_MS, None, alertname="Slow", severity="page", **labels)
    (with_trace,) = found.add_to([alert], prepare(expression), START_MS)
    return with_trace.annotations.get("trace_id")


@pytest.mark.parametrize(
    "expression",
    [
        "histogram_quantile(0.9, sum by (le) (rate(took_seconds_bucket[5m]))) > 1",
        'took_seconds_bucket{le="0.1"} > 1',
        "rate(took_seconds_sum[5m]) / rate(took_seconds_count[5m]) > 1",
        'up == 0 or {__name__=~"took_.*"} > 1',
    ],
)
def test_the_newest_measurement_is_found(expression: str) -> None:
    """In any of the series the expression reads; a histogram's traces are in its buckets."""
    found = evidence(old=(9, {"path": "/a"}), new=(5, {"path": "/b"}))

    assert trace_of(found, expression) == "new"


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("other_seconds_bucket > 1", {}),
        ("vector(1) > 0", {}),
        ('took_seconds_bucket{path="/c"} > 1', {}),
        ("took_seconds_bucket > 1", {"path": "/c"}),
    ],
)
def test_what_has_nothing_to_do_with_it_is_not(expression: str, labels: dict[str, str]) -> None:
    """Other metrics, other series, and measurements whose labels the alert contradicts."""
    assert trace_of(evidence(t=(5, {"path": "/a"})), expression, **labels) is None


def test_labels_decide_between_measurements() -> None:
    """Each alert of a rule gets the newest trace that does not contradict its own labels."""
    found = evidence(a=(9, {"path": "/a"}), b=(5, {"path": "/b"}))

    expression = "rate(took_seconds_count[5m]) > 1"
    assert trace_of(found, expression, path="/a") == "a"
    assert trace_of(found, expression, path="/b") == "b"
    assert trace_of(found, expression, instance="x") == "b"


@pytest.mark.parametrize(("ago_ms", "trace"), [(WINDOW_MS, "t"), (WINDOW_MS + 1, None)])
def test_old_measurements_say_nothing(ago_ms: int, trace: str | None) -> None:
    """What was measured long ago is no evidence of what is now."""
    assert trace_of(evidence(t=(ago_ms, {})), "took_seconds_count > 1") == trace


def test_the_link_and_the_rule_go_together() -> None:
    """The page of the trace is linked; annotations of the rule with these names win."""
    found = evidence(t=(5, {}))
    query = prepare("took_seconds_count > 1")
    (alert,) = found.add_to([make_alert(alertname="Slow")], query, START_MS)
    (own,) = found.add_to([alert], query, START_MS)

    assert dict(alert.annotations) == {
        "summary": "text",
        "trace_id": "t",
        "trace_url": "http://jaeger/trace/t",
    }
    assert own == alert
