"""Queries: expressions parsed, checked and ready to be evaluated any number of times.

Everything that can be known to be wrong or not covered without data is an error here, so that an
expression that was prepared either evaluates to what Prometheus would answer or fails as it does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from alerts.promql.errors import PromQLError
from alerts.promql.memo import Memo
from alerts.promql.nodes import Node, kind_of
from alerts.promql.parser import parse
from alerts.promql.values import ValueKind
from alerts.series.labels import METRIC_NAME
from alerts.series.matchers import Matcher, MatchOp


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A prepared expression.

    Attributes:
        expression: The text it was prepared from.
        kind: The type of its value.
        selectors: The matchers of each selector in it, in the order of the text.
        metric_names: Names that its selectors require by equality, sorted.
        root: The plan.
        memo: What evaluations have worked out about labels.
    """

    expression: str
    kind: ValueKind
    selectors: tuple[tuple[Matcher, ...], ...]
    metric_names: tuple[str, ...]
    root: Node
    memo: Memo


def prepare(expression: str, features: Collection[str] = ()) -> Query:
    """Return the plan of an expression.

    Args:
        expression: PromQL.
        features: Experimental features that are enabled, by Prometheus's names.

    Raises:
        PromQLError: The expression is wrong, or uses what cannot be evaluated.
    """
    try:
        parsed = parse(expression, features)
    except PromQLError as error:
        raise PromQLError(error.message, expression=expression, offset=error.offset) from None
    names = {
        matcher.value
        for matchers in parsed.selectors
        for matcher in matchers
        if matcher.name == METRIC_NAME and matcher.op is MatchOp.EQUAL
    }
    return Query(
        expression,
        kind_of(parsed.root),
        parsed.selectors,
        tuple(sorted(names)),
        parsed.root,
        Memo(),
    )
