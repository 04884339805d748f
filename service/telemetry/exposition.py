"""The ``/metrics`` page: Prometheus text 0.0.4 and OpenMetrics 1.0, by what the scraper accepts.

Source: Prometheus "Exposition formats"; OpenMetrics 1.0.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from service.telemetry.prometheus import Exemplar, Family, FamilyPoints, Point, format_value

PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TEXT: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_HELP_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n"})
_OPENMETRICS_HELP_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_INFO_SUFFIX: Final = "_info"


def negotiate(accept: str) -> str:
    """Return the content type to answer with: what ``Accept`` prefers, else Prometheus text.

    Args:
        accept: The header's value; empty when there is none.
    """
    openmetrics = text = 0.0
    for item in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        quality = _quality(parameters)
        if media_type == "application/openmetrics-text":
            openmetrics = max(openmetrics, quality)
        elif media_type in ("text/plain", "text/*", "*/*"):
            text = max(text, quality)
    return OPENMETRICS_TEXT if openmetrics > text else PROMETHEUS_TEXT


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def render(families: Iterable[FamilyPoints], content_type: str) -> bytes:
    """Return the page in one of the two content types of this module."""
    if content_type == OPENMETRICS_TEXT:
        return _render_openmetrics(families)
    lines: list[str] = []
    for found in families:
        if not found.points:
            continue
        family = found.family
        kind = "gauge" if family.type == "info" else family.type
        lines.append(f"# HELP {family.name} {family.help.translate(_HELP_ESCAPES)}\n")
        lines.append(f"# TYPE {family.name} {kind}\n")
        for point in found.points:
            lines.extend(
                f"{sample.prefix}{format_value(value)}\n"
                for sample, value in zip(point.series.samples, point.values, strict=True)
            )
    return "".join(lines).encode()


def _render_openmetrics(families: Iterable[FamilyPoints]) -> bytes:
    lines: list[str] = []
    for found in families:
        if not found.points:
            continue
        lines.extend(_openmetrics_header(found.family))
        for point in found.points:
            lines.extend(_openmetrics_samples(point))
    lines.append("# EOF\n")
    return "".join(lines).encode()


def _openmetrics_header(family: Family) -> Iterable[str]:
    """Name the family as OpenMetrics does: without the suffix its samples carry."""
    suffix = {"counter": "_total", "info": _INFO_SUFFIX}.get(family.type, "")
    name = family.name.removesuffix(suffix)
    yield f"# TYPE {name} {family.type}\n"
    if family.unit:
        yield f"# UNIT {name} {family.unit}\n"
    yield f"# HELP {name} {family.help.translate(_OPENMETRICS_HELP_ESCAPES)}\n"


def _openmetrics_samples(point: Point) -> Iterable[str]:
    exemplars = {exemplar.bucket: exemplar for exemplar in point.exemplars}
    for index, (sample, value) in enumerate(zip(point.series.samples, point.values, strict=True)):
        tail = _exemplar(exemplars[index]) if index in exemplars else ""
        yield f"{sample.prefix}{format_value(value)}{tail}\n"


def _exemplar(exemplar: Exemplar) -> str:
    labels = ",".join(f'{name}="{value}"' for name, value in exemplar.labels)
    return f" # {{{labels}}} {format_value(exemplar.value)} {exemplar.timestamp_s:.3f}"
