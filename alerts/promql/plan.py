"""Plans: the typed, checked form of an expression."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.promql.values import ValueKind


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A prepared expression.

    Attributes:
        expression: The text it was prepared from.
        kind: The type of its value.
        metric_names: Names that its selectors require by equality, sorted.
    """

    expression: str
    kind: ValueKind
    metric_names: tuple[str, ...]
