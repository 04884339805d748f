"""A whole gatewatch inside the test's own process, on free ports."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData

from service.app import App
from service.config.settings import Settings
from tests.support.gateway import API_KEY, OPEN

Readings = dict[str, dict[frozenset[tuple[str, object]], float]]
"""Metrics by name: their values by attributes; of a histogram, the count."""


def app_settings(directory: Path, **sections: Mapping[str, Any]) -> Settings:
    """Return settings for a test; sections are laid over those that keep it apart from others."""
    base: dict[str, dict[str, Any]] = {
        "service": {"instance": "under-test", "data_dir": directory / "data"},
        "gateway": {"port": 0, **OPEN},
        "operations": {"port": 0},
    }
    names = base.keys() | sections.keys()
    return Settings.model_validate(
        {name: {**base.get(name, {}), **sections.get(name, {})} for name in names}
    )


def create_app(directory: Path, **sections: Mapping[str, Any]) -> App:
    """Build an app that logs nowhere."""
    settings = app_settings(directory, **sections)
    return App(settings, environment={}, log_stream=io.StringIO())


@asynccontextmanager
async def running_app(directory: Path, **sections: Mapping[str, Any]) -> AsyncIterator[App]:
    """Run an app until the end of the block."""
    async with create_app(directory, **sections) as app:
        yield app


def api_headers() -> dict[str, str]:
    """Return the headers of a back end that may call the server API."""
    return {"X-API-Key": API_KEY}


def readings(data: MetricsData) -> Readings:
    """Return what a collection holds in a form that is easy to compare."""
    found: Readings = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    value = point.count if isinstance(point, HistogramDataPoint) else point.value  # type: ignore[union-attr]  # the others have a value
                    key = frozenset((point.attributes or {}).items())
                    found.setdefault(metric.name, {})[key] = value
    return found


def labels(**attributes: object) -> frozenset[tuple[str, object]]:
    """Return a key of ``Readings``: ``error_type=1`` for the attribute ``error.type``."""
    return frozenset((name.replace("__", "."), value) for name, value in attributes.items())
