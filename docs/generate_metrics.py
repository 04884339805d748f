"""Writes the tables of docs/metrics.md from the definitions, so that they cannot be wrong.

python docs/generate_metrics.py           writes them
python docs/generate_metrics.py --check   says whether they are right; exit code 1 if not
"""  # noqa: INP001 - a script

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from alerts.telemetry import DEFINITIONS as ALERTS_DEFINITIONS
from alerts.telemetry import InstrumentDefinition
from service.telemetry.definitions import DEFINITIONS
from service.telemetry.probe_instruments import PROBE_DEFINITIONS
from service.telemetry.prometheus import metric_name

PAGE: Final = Path(__file__).parent / "metrics.md"
BEGIN: Final = "<!-- tables: begin (python docs/generate_metrics.py) -->"
END: Final = "<!-- tables: end -->"

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


def renewed(page: str) -> str:
    """Return the page with its tables written anew.

    Raises:
        ValueError: The page has no place for the tables, or a metric belongs to no section.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if pattern.search(page) is None:
        raise ValueError(f"{PAGE} has no lines {BEGIN} and {END}")
    text = f"{BEGIN}\n\n{tables()}\n{END}"
    return pattern.sub(lambda _: text, page)


def main(arguments: list[str]) -> int:
    """Write or check the page and return the exit code."""
    page = PAGE.read_text("utf-8")
    text = renewed(page)
    if arguments == ["--check"]:
        if text != page:
            sys.stderr.write("docs/metrics.md is out of date: python docs/generate_metrics.py\n")
        return int(text != page)
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
