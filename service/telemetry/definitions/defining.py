"""How metrics are defined."""

from __future__ import annotations

from typing import Final

from alerts.telemetry import InstrumentDefinition, InstrumentKind

WAIT_BOUNDARIES: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
)
"""Bucket boundaries of waits, in seconds: shorter ones than those of requests."""


def define(
    kind: InstrumentKind,
    name: str,
    unit: str,
    description: str,
    *attributes: str,
    boundaries: tuple[float, ...] = (),
) -> InstrumentDefinition:
    """Define a metric in few lines; see ``InstrumentDefinition``."""
    return InstrumentDefinition(kind, name, unit, description, attributes, boundaries)
