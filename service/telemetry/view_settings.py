"""Reads the views of the settings, and refuses those that would do nothing."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from alerts.errors import Problem
from alerts.telemetry import DEFINITIONS as ALERTS_DEFINITIONS
from service.config.telemetry_settings import MetricView, TelemetrySettings
from service.errors import ConfigurationError
from service.telemetry.definitions import DEFINITIONS
from service.telemetry.views import MetricViews


def resolve_views(settings: TelemetrySettings) -> MetricViews:
    """Return the views of the settings.

    Raises:
        ConfigurationError: A view is of no metric, of attributes that its metrics do not have, or
            gives buckets to what is no histogram; lists all.
    """
    problems = [
        Problem(f"telemetry.views[{index}].{key}", 0, 0, message)
        for index, view in enumerate(settings.views)
        for key, message in _faults(view)
    ]
    if problems:
        raise ConfigurationError(problems)
    return MetricViews(settings.views, max_series=settings.max_series)


def _faults(view: MetricView) -> Iterable[tuple[str, str]]:
    fitting = [
        item
        for item in (*DEFINITIONS, *ALERTS_DEFINITIONS)
        if fnmatchcase(item.name, view.instrument)
    ]
    if not fitting:
        yield (
            "instrument",
            f"no metric is called {view.instrument!r}; docs/metrics.md lists them, write the names "
            "with dots",
        )
        return
    if view.buckets is not None:
        others = [item.name for item in fitting if item.kind != "histogram"]
        if others:
            yield "buckets", f"{others[0]} is no histogram; name histograms only"
    known = {name for item in fitting for name in item.attributes}
    for name in view.attributes or ():
        if name not in known:
            yield "attributes", f"{name!r} is not an attribute of {view.instrument}"
