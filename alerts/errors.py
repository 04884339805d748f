"""Errors of the alerting library.

AlertsError
├── DocumentError          a YAML document, with file, line and column
├── DurationError          a text that is no Prometheus duration
├── PromQLError            an expression that cannot be parsed, planned or evaluated (alerts.promql)
├── SeriesError            a sample the series store refuses (alerts.series)
├── SnapshotError          a snapshot of the series that cannot be used (alerts.series)
├── NotationError          a text that is no series (alerts.promql)
├── TemplateError          a template that cannot be parsed or executed (alerts.templates)
├── RuleError              a rule whose result cannot be used (alerts.rules)
├── MatcherError           a text that is no label matcher (alerts.routing)
├── SilenceError           a silence that is refused, or is not there (alerts.routing)
├── StorageError           the database cannot be opened, migrated or written (alerts.storage)
├── TransportError         a request that got no answer (alerts.notify)
├── DeliveryError          a notification a receiver did not accept (alerts.notify)
├── BadRequestError        a request to the Alertmanager API that cannot be used (alerts.api)
├── UnknownAlertError      an alert that is not there (alerts.api)
└── APIError               a request that is not answered with data (alerts.api)

Subclasses live beside the code that raises them and carry their data as attributes; the text is
for the person who must act.
"""

from __future__ import annotations

from dataclasses import dataclass


class AlertsError(Exception):
    """Base of every error this library raises on purpose."""


class DurationError(AlertsError, ValueError):
    """A text that is not a Prometheus duration."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file, at a place a person can go to.

    Attributes:
        file: Path as the user gave it.
        line: 1-based line; 0 when the problem belongs to the whole file.
        column: 1-based column; 0 when unknown.
        message: What is wrong and what would be right.
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"

    @property
    def place(self) -> str:
        """The place as editors take it, ``file:line:column``, as far as it is known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


class DocumentError(AlertsError):
    """A document with one or more problems; all that could be found are listed.

    Attributes:
        problems: Sorted by place, at least one.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))
