"""What a dashboard is made of, and the usual queries of its panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

OF: Final = 'job=~"$job", instance=~"$instance"'
"""What every selector begins with: the processes that are chosen at the top."""


@dataclass(frozen=True, slots=True)
class Line:
    """One query of a panel, and what its series are called."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram; ``unit`` is Grafana's name of it, ``kind`` its name of the diagram."""

    title: str
    unit: str
    lines: Sequence[Line]
    kind: str = "timeseries"
    width: int = 8
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A file: rows of panels under their titles."""

    name: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]


def rate(metric: str, *by: str, where: str = "") -> str:
    """Return events a second, summed by labels."""
    selector = f"{OF}, {where}" if where else OF
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} (rate({metric}{{{selector}}}[$__rate_interval]))"


def total(metric: str, *by: str) -> str:
    """Return a value summed by labels."""
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} ({metric}{{{OF}}})"


def share(used: str, limit: str) -> str:
    """Return how much of a limit is used, for each process."""
    return f"{used}{{{OF}}} / {limit}{{{OF}}}"


def least(metric: str, by: str) -> str:
    """Return the least value of a label."""
    return f"min by ({by}) ({metric}{{{OF}}})"


def alerts(state: str) -> str:
    """Return how many alerts are in a state; 0 when there are none."""
    return f'sum (gateway_alert_count{{{OF}, gateway_alert_state="{state}"}}) or vector(0)'


def quantiles(metric: str, *by: str) -> list[Line]:
    """Return the median and the slowest hundredth of a histogram."""
    names = ", ".join(("le", *by))
    label = "".join(f"{{{{{name}}}}} " for name in by)
    return [
        Line(
            f"histogram_quantile({share}, sum by ({names}) "
            f"(rate({metric}_bucket{{{OF}}}[$__rate_interval])))",
            f"{label}{name}",
        )
        for share, name in ((0.5, "p50"), (0.99, "p99"))
    ]


def single(expression: str, legend: str) -> list[Line]:
    """Return one query."""
    return [Line(expression, legend)]


def stat(title: str, unit: str, expression: str) -> Panel:
    """Return one large number."""
    return Panel(title, unit, single(expression, ""), kind="stat", width=4)
