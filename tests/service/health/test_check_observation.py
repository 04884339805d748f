"""Checks as metrics: what probes find by blackbox_exporter's names, and uptime."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from service.health.observation import CheckObservation, UptimeObservation
from service.telemetry.observers import Observers
from service.telemetry.probe_instruments import HTTP_PHASES, PROBE_DEFINITIONS, PROBE_METRICS
from tests.support.app import Readings, labels, readings
from tests.support.checks import WatchedHouse, watched_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[WatchedHouse]:
    async with watched_house(tmp_path) as made:
        yield made


def read(house: WatchedHouse) -> Readings:
    """Collect once."""
    reader = InMemoryMetricReader()
    observers = Observers(MeterProvider([reader], shutdown_on_exit=False).get_meter("tests"))
    CheckObservation(house.monitor).register(observers)
    UptimeObservation(house.monitor, house.recorder).register(observers)
    data = reader.get_metrics_data()
    return {} if data is None else readings(data)


async def test_what_an_http_probe_finds(house):
    """Phases, sizes and the certificate, with check and group; texts become labels."""
    probe = house.add("web", group="shop")
    probe.attributes = {
        "http.response.status_code": 200,
        "http.response.body.size": 512,
        "dns.lookup.duration": 0.01,
        "http.transfer.duration": 0.2,
        "tls.server.certificate.not_after": 1_800_000_000,
        "tls.protocol.version": "TLSv1.3",
        "unheard.of": 1,
    }
    await house.run(True)
    found = read(house)
    shop = {"check": "web", "group": "shop"}

    assert found["probe_http_content_length"] == {labels(**shop): 512}
    assert found["probe_dns_lookup_time"] == {labels(**shop): 0.01}
    assert found["probe_http_duration"] == {
        labels(**shop, phase="resolve"): 0.01,
        labels(**shop, phase="transfer"): 0.2,
    }
    assert found["probe_ssl_earliest_cert_expiry"] == {labels(**shop): 1_800_000_000}
    assert found["probe_tls_version_info"] == {labels(**shop, version="TLSv1.3"): 1}
    assert found["gateway.health.state"] == {labels(**shop): 1}
    assert "probe_icmp_duration" not in found


async def test_phases_are_those_of_http_alone(house):
    """A probe of a port finds out as well how long names took, and has no HTTP phases."""
    house.add("port").attributes = {"dns.lookup.duration": 0.01}
    await house.run(True, name="port")
    found = read(house)

    assert "probe_http_duration" not in found
    assert found["probe_dns_lookup_time"] == {labels(check="port"): 0.01}


async def test_uptime_is_that_of_the_last_measurement(house):
    """Of two windows, and only for checks that are still there."""
    house.add("web")
    house.add("gone")
    await house.run(True, False)
    await house.run(True, name="gone")
    await house.recorder.measure()
    house.monitor.remove("gone")
    found = read(house)

    assert found["gateway.health.uptime"] == {
        labels(check="web", window="24h"): pytest.approx(60 / 180),
        labels(check="web", window="30d"): pytest.approx(60 / 180),
    }
    assert found["gateway.health.history.failed"] == {labels(): 0}


def test_every_definition_has_something_that_fills_it() -> None:
    """The names without a dot are those of blackbox_exporter; each metric has a probe's finding."""
    metrics = (*PROBE_METRICS, *HTTP_PHASES)

    assert {metric.definition for metric in metrics} == set(PROBE_DEFINITIONS)
    assert len({(metric.definition.name, metric.phase) for metric in metrics}) == len(metrics)
