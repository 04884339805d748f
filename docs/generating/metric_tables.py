"""The tables of docs/metrics.md, from the definitions of instruments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from alerts.telemetry import DEFINITIONS as ALERTS_DEFINITIONS
from alerts.telemetry import InstrumentDefinition
from service.telemetry.definitions import DEFINITIONS
from service.telemetry.probe_instruments import PROBE_DEFINITIONS
from service.telemetry.prometheus import metric_name

SECTIONS: Final = {
    "Connections": ("gateway.connection.", "gateway.send_queue."),
    "Messages": (
        "gateway.message.",
        "gateway.channel.",
        "gateway.subscription.",
        "gateway.commands",
        "messaging.process.",
    ),
    "History and recovery": ("gateway.history.", "gateway.recoveries", "gateway.positions."),
    "Batches": ("gateway.batch.",),
    "Redis": ("gateway.broker.",),
    "Back ends": ("gateway.proxy.",),
    "Keys of tokens": ("gateway.token.",),
    "HTTP served": ("http.server.",),
    "HTTP requested": ("http.client.", "gateway.pool."),
    "Jobs": ("gateway.job.",),
    "Health checks": ("gateway.health.", "probe_"),
    "Rules and alerts": ("gateway.rule.", "gateway.alert."),
    "Notifications": ("gateway.notification.",),
    "Series store": ("gateway.series.",),
    "Configuration": ("gateway.config.",),
    "Event loop and interpreter": ("gateway.event_loop.", "gateway.gc.", "cpython."),
    "Process": ("process.",),
    "Logs": ("gateway.log.",),
    "Telemetry": ("gateway.telemetry.",),
    "Metrics of other services": ("gateway.otlp.",),
}
"""Titles, and how the names of the metrics below them begin."""

_KINDS: Final = {"up_down_counter": "up-down counter"}


def definitions() -> tuple[InstrumentDefinition, ...]:
    """Return every metric there is."""
    return (*DEFINITIONS, *PROBE_DEFINITIONS, *ALERTS_DEFINITIONS)


def prometheus_name(definition: InstrumentDefinition) -> str:
    """Return the name that PromQL and ``/metrics`` have; a histogram's without its suffixes."""
    return metric_name(definition.name, definition.unit, counter=definition.kind == "counter")


def tables() -> str:
    """Return all tables, one for each section that has metrics.

    Raises:
        ValueError: A metric belongs to no section.
    """
    lines: list[str] = []
    left = list(definitions())
    for title, prefixes in SECTIONS.items():
        inside = [each for each in left if each.name.startswith(prefixes)]
        left = [each for each in left if each not in inside]
        if inside:
            lines += _section(title, inside)
    if left:
        names = ", ".join(each.name for each in left)
        raise ValueError(f"no section for {names}; name their beginning in SECTIONS")
    return "\n".join(lines)


def _section(title: str, inside: list[InstrumentDefinition]) -> Iterator[str]:
    yield from (f"### {title}", "")
    yield from (
        "| metric | in Prometheus | kind, unit | attributes | meaning |",
        "|---|---|---|---|---|",
    )
    for each in sorted(inside, key=lambda one: one.name):
        cells = (
            f"`{each.name}`",
            f"`{prometheus_name(each)}`",
            _kind(each),
            ", ".join(f"`{name}`" for name in each.attributes) or "none",
            each.description.replace("|", "\\|"),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _kind(definition: InstrumentDefinition) -> str:
    kind = _KINDS.get(definition.kind, definition.kind)
    return f"{kind}, {definition.unit}" if definition.unit else kind
