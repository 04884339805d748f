"""The errors of the PromQL engine.

- ``PromQLError``: an expression that cannot be parsed, planned or evaluated.
  - ``QueryTimeoutError``: the query's time was up.
  - ``QueryCancelledError``: nobody waited for it any more.
"""

from __future__ import annotations

from alerts.errors import AlertsError
from alerts.promql.text import shown


class PromQLError(AlertsError, ValueError):
    """An expression that is wrong, not covered, or that fails over the data it met.

    Attributes:
        message: What is wrong and what would be right, without the expression.
        expression: The expression, empty when the error is not about one expression as a whole.
        offset: 0-based character in ``expression`` where the trouble is; None when unknown.
    """

    def __init__(self, message: str, *, expression: str = "", offset: int | None = None) -> None:
        self.message = shown(message)
        self.expression = expression
        self.offset = offset
        super().__init__(self.message)

    def __str__(self) -> str:
        if self.offset is None:
            return self.message
        return f"{place(self.expression, self.offset)}: {self.message}"


def place(expression: str, offset: int) -> str:
    """Return where a character of an expression stands, as ``line:column``, counted from 1."""
    line = expression.count("\n", 0, offset) + 1
    column = offset - (expression.rfind("\n", 0, offset) + 1) + 1
    return f"{line}:{column}"


class QueryTimeoutError(PromQLError):
    """The query took longer than it may."""


class QueryCancelledError(PromQLError):
    """Whoever asked has gone."""
