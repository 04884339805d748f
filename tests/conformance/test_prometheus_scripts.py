"""Prometheus's own PromQL scripts, read from ``GATEWATCH_PROMQLTEST_DIR``.

Every plain case must pass: floats and classic histograms, stable syntax, duration expressions
included. Native histograms and experimental features are only counted.
"""

import os
from pathlib import Path

import pytest

from tests.conformance.runner import run_script

_VARIABLE = "GATEWATCH_PROMQLTEST_DIR"


def _scripts():
    directory = os.environ.get(_VARIABLE)
    if not directory:
        reason = f"{_VARIABLE} does not name the folder with Prometheus's scripts"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="none")]
    return [pytest.param(path, id=path.stem) for path in sorted(Path(directory).glob("*.test"))]


@pytest.mark.parametrize("script", _scripts())
def test_prometheus_script(script, record):
    """Every plain case of the script gives what Prometheus gives."""
    report = run_script(script.read_text(encoding="utf-8"))
    record(script.stem, report)

    assert sum(report.total.values()) > 0
    assert report.failures == []
