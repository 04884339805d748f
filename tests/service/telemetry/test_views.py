"""What settings change about metrics, wherever their values are kept."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pydantic import ValidationError

from alerts.clock import ManualClock
from service.config.settings import Settings
from service.config.telemetry_settings import TelemetrySettings
from service.errors import ConfigurationError
from service.telemetry.checking import telemetry_problems
from service.telemetry.definitions.check_metrics import PROBE_SUCCESS
from service.telemetry.definitions.gateway_metrics import CONNECTION_CLOSED, MESSAGE_LATENCY
from service.telemetry.definitions.job_metrics import JOB_DURATION
from service.telemetry.definitions.pool_metrics import POOL_ERRORS
from service.telemetry.providers import Telemetry
from tests.support.app import Readings, labels, readings


def create(*views: dict[str, Any], **telemetry: Any) -> Telemetry:
    """Build telemetry with views; nothing runs."""
    settings = {"views": list(views), "collect_interval": "1h", **telemetry}
    return Telemetry(
        Settings.model_validate({"telemetry": settings}),
        environment={},
        clock=ManualClock(),
        log_stream=io.StringIO(),
    )


def collect(telemetry: Telemetry) -> Readings:
    """Return what there is."""
    return readings(telemetry.collection.collect().metrics)


def bounds(telemetry: Telemetry, name: str) -> list[tuple[float, ...]]:
    """Return the buckets of the points of a histogram."""
    return [
        tuple(point.explicit_bounds)  # type: ignore[union-attr]  # a histogram's point
        for resource in telemetry.collection.collect().metrics.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


def record_all(telemetry: Telemetry, *values: str) -> None:
    """Have a measurement of each kind of instrument for each value of an attribute."""
    for value in values:
        telemetry.instruments.job_duration.record(0.3, {"gateway.job.kind": value})
        template = {"messaging.destination.template": value}
        telemetry.instruments.message_latency.series(template).record(0.3)
    telemetry.observers.observe(
        CONNECTION_CLOSED, lambda: [(2, {"gateway.close.code": value}) for value in values]
    )


NAMES = (JOB_DURATION.name, MESSAGE_LATENCY.name, CONNECTION_CLOSED.name)
"""One that the SDK keeps, one of the hot path, one that is read."""


def test_dropped_metrics_are_not_measured() -> None:
    """Whoever keeps them; their neighbours stay."""
    telemetry = create(*({"instrument": name, "drop": True} for name in NAMES))

    record_all(telemetry, "a")

    found = collect(telemetry)
    assert not found.keys() & set(NAMES)
    assert "process.uptime" in found


def test_buckets_are_those_of_the_view() -> None:
    """Of the SDK's histograms and of those of the hot path."""
    telemetry = create(*({"instrument": name, "buckets": [0.1, 1]} for name in NAMES[:2]))

    record_all(telemetry, "a")

    assert bounds(telemetry, JOB_DURATION.name) == [(0.1, 1.0)]
    assert bounds(telemetry, MESSAGE_LATENCY.name) == [(0.1, 1.0)]


def test_attributes_that_are_left_out_are_summed_up() -> None:
    """Measurements of a histogram and counts; of gauges the last stays."""
    telemetry = create({"instrument": "*", "attributes": ["gateway.pool.name"]})

    record_all(telemetry, "a", "b")
    telemetry.observers.observe(
        POOL_ERRORS,
        lambda: [
            (3, {"gateway.pool.name": "http", "error.type": "dns"}),
            (4, {"gateway.pool.name": "http", "error.type": "tls"}),
        ],
    )
    telemetry.observers.observe(PROBE_SUCCESS, lambda: [(1, {"check": "a"}), (0, {"check": "b"})])

    found = collect(telemetry)
    assert [found[name] for name in NAMES] == [{labels(): 2}, {labels(): 2}, {labels(): 4}]
    assert found[POOL_ERRORS.name] == {labels(gateway__pool__name="http"): 7}
    assert found[PROBE_SUCCESS.name] == {labels(): 0}


@pytest.mark.parametrize("where", ["view", "all"])
def test_past_the_limit_there_is_one_series(where: str) -> None:
    """Series that were there stay, the rest is counted together, and that is counted."""
    views = [{"instrument": "*", "max_series": 3}] if where == "view" else []
    telemetry = create(*views, **({} if views else {"max_series": 3}))

    record_all(telemetry, "a", "b", "c", "d", "b")

    found = collect(telemetry)
    overflow = labels(otel__metric__overflow="true")
    assert [found[name][overflow] for name in NAMES] == [2, 2, 4]
    assert found[JOB_DURATION.name][labels(gateway__job__kind="b")] == 2
    assert all(len(found[name]) == 3 for name in NAMES)
    assert collect(telemetry)["gateway.telemetry.overflowed"][labels()] >= 6


def test_the_first_view_that_fits_counts() -> None:
    """Later ones are for the others."""
    telemetry = create(
        {"instrument": JOB_DURATION.name, "buckets": [7]}, {"instrument": "gateway.*", "drop": True}
    )

    record_all(telemetry, "a")

    assert bounds(telemetry, JOB_DURATION.name) == [(7.0,)]
    assert MESSAGE_LATENCY.name not in collect(telemetry)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"instrument": "gateway_job_duration"}, "no metric is called 'gateway_job_duration'"),
        ({"instrument": "gateway.*", "buckets": [1]}, "is no histogram"),
        ({"instrument": "gateway.job.*", "attributes": ["user"]}, "'user' is not an attribute"),
    ],
    ids=["instrument", "buckets", "attributes"],
)
def test_views_that_would_do_nothing_are_refused(view: dict[str, Any], message: str) -> None:
    """With their place, also when the configuration is only checked."""
    settings = Settings.model_validate({"telemetry": {"views": [view]}})

    with pytest.raises(ConfigurationError) as refused:
        create(view)

    assert message in str(refused.value)
    assert "telemetry.views[0]." in str(refused.value)
    assert telemetry_problems(settings, {}) == list(refused.value.problems)


@pytest.mark.parametrize(
    "buckets", [[], [2, 1], [1, 1], [1, float("inf")]], ids=["none", "falling", "equal", "endless"]
)
def test_buckets_grow(buckets: list[float]) -> None:
    """Others are refused where they stand."""
    with pytest.raises(ValidationError, match="each larger than the one before"):
        TelemetrySettings.model_validate({"views": [{"instrument": "*", "buckets": buckets}]})
