"""What rule files say, parsed and checked; and what the rules need from engine and store."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from alerts.rules.templates import Template
from alerts.series.labels import Labels


class SampleLike(Protocol):
    """One element of an instant vector."""

    @property
    def labels(self) -> Labels:
        """Labels, the metric name included where the expression keeps it."""

    @property
    def value(self) -> float:
        """The number."""


class RuleEngine(Protocol):
    """What rules ask of the PromQL engine. ``alerts.promql.engine.Engine`` is one."""

    def prepare(self, expression: str, /) -> Any:
        """Parse and plan an expression; raises AlertsError for what cannot be evaluated."""

    def instant_vector(self, query: Any, timestamp_ms: int, /) -> Sequence[SampleLike]:
        """Evaluate at one time; a scalar is one sample without labels; raises AlertsError."""


class SeriesSink(Protocol):
    """Takes the samples of one source, one time after the other."""

    def append(self, timestamp_ms: int, samples: Iterable[tuple[Labels, float]], /) -> object:
        """Append samples of one time; series of the time before that are missing go stale.

        Raises SeriesError for a time that is not later than the last; nothing was taken then.
        """


class SeriesTarget(Protocol):
    """What rules ask of the series store. ``alerts.series.store.SeriesStore`` is one."""

    def source(self, name: str, /) -> SeriesSink:
        """Return the sink of a source, making it when it is new."""


@dataclass(frozen=True, slots=True)
class RecordingDefinition:
    """A recording rule.

    Attributes:
        record: Name of the metric it writes.
        expression: PromQL as it was written.
        query: What the engine prepared from it; follows from the expression.
        labels: Set on every series it writes; an empty value removes a label.
    """

    record: str
    expression: str
    query: Any = field(compare=False)
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AlertingDefinition:
    """An alerting rule.

    Attributes:
        alert: Name of the alert.
        expression: PromQL as it was written.
        query: What the engine prepared from it; follows from the expression.
        for_s: How long the expression must hold before the alert fires, in seconds.
        keep_firing_for_s: How long it goes on firing after the expression held last, in seconds.
        labels: Set on every alert.
        annotations: Texts for people.
    """

    alert: str
    expression: str
    query: Any = field(compare=False)
    for_s: float = 0.0
    keep_firing_for_s: float = 0.0
    labels: tuple[tuple[str, Template], ...] = ()
    annotations: tuple[tuple[str, Template], ...] = ()


RuleDefinition = RecordingDefinition | AlertingDefinition


@dataclass(frozen=True, slots=True)
class GroupDefinition:
    """A group of rules, evaluated together and in order.

    Attributes:
        file: The file it stands in, as the user gave it.
        name: Unique in its file.
        interval_s: Seconds between evaluations.
        rules: In file order.
        limit: Most alerts or series one rule may give; 0: any number.
        query_offset_s: How far in the past the expressions are evaluated, in seconds.

    Groups that are equal say the same, so that one can go on when the files are read again.
    """

    file: str
    name: str
    interval_s: float
    rules: tuple[RuleDefinition, ...]
    limit: int = 0
    query_offset_s: float = 0.0

    @property
    def key(self) -> str:
        """Identity of the group among all files."""
        return f"{self.file};{self.name}"

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """Identities of the rules in the group, in file order.

        That is what kind of rule it is, its name and its labels, and of rules that are alike in
        all of these the first, the second, and so on. State belongs to it over restarts and
        changes of the files.
        """
        seen: Counter[str] = Counter()
        ids: list[str] = []
        for rule in self.rules:
            alike = _rule_id(rule)
            ids.append(f"{alike};{seen[alike]}")
            seen[alike] += 1
        return tuple(ids)


def _rule_id(rule: RuleDefinition) -> str:
    if isinstance(rule, RecordingDefinition):
        kind, name, labels = "record", rule.record, dict(rule.labels)
    else:
        kind, name = "alert", rule.alert
        labels = {label: text.source for label, text in rule.labels}
    digest = hashlib.blake2b(json.dumps(sorted(labels.items())).encode(), digest_size=8)
    return f"{kind} {name};{digest.hexdigest()}"
