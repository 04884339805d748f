"""Fakes of the alerting library's Protocols that record, and small builders for its values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.trace import SpanContext

from alerts.clock import ManualClock
from alerts.errors import AlertsError
from alerts.model import Alert
from alerts.notify.notification import Notification
from alerts.notify.transport import TransportRequest, TransportResponse
from alerts.rules.model import AlertingDefinition, GroupDefinition, RuleDefinition
from alerts.rules.templates import Template
from alerts.series.labels import Labels

START_MS = 1_700_000_000_000
"""A round moment: what ManualClock starts at, in milliseconds."""


@dataclass(frozen=True, slots=True)
class FakeSample:
    labels: Labels
    value: float


def sample(value: float = 1.0, **labels: str) -> FakeSample:
    """Return one element of a vector."""
    return FakeSample(Labels(labels), value)


class FakeEngine:
    """Answers expressions from a table; ``bad`` in an expression is an error at load."""

    def __init__(self) -> None:
        self.vectors: dict[str, Sequence[FakeSample] | Exception] = {}
        self.asked: list[tuple[str, int]] = []
        self.on_ask: Callable[[], None] = lambda: None

    def prepare(self, expression: str) -> str:
        if "bad" in expression:
            raise AlertsError(f"cannot parse {expression!r}")
        return expression

    def instant_vector(self, query: Any, timestamp_ms: int) -> Sequence[FakeSample]:
        self.on_ask()
        self.asked.append((query, timestamp_ms))
        answer = self.vectors.get(query, ())
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class FakeSink:
    """Keeps what is appended."""

    appended: list[tuple[int, dict[Labels, float]]] = field(default_factory=list)

    def append(self, timestamp_ms: int, samples: Iterable[tuple[Labels, float]]) -> None:
        self.appended.append((timestamp_ms, dict(samples)))


class FakeStore:
    """Keeps a sink per source."""

    def __init__(self) -> None:
        self.sinks: dict[str, FakeSink] = {}

    def source(self, name: str) -> FakeSink:
        return self.sinks.setdefault(name, FakeSink())


class Notified:
    """A ``NotifyFunc`` that keeps what it gets."""

    def __init__(self) -> None:
        self.calls: list[tuple[Alert, ...]] = []
        self.span_contexts: list[SpanContext | None] = []

    def __call__(self, alerts: Sequence[Alert], span_context: SpanContext | None) -> None:
        self.calls.append(tuple(alerts))
        self.span_contexts.append(span_context)


@dataclass(frozen=True, slots=True)
class Posted:
    url: str
    body: bytes
    headers: Mapping[str, str]
    at_s: float


class FakeTransport:
    """Records posts and answers 200, or what ``answers`` holds next; time is the clock's."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.posts: list[Posted] = []
        self.answers: list[TransportResponse | Exception] = []

    async def send(self, request: TransportRequest) -> TransportResponse:
        self.posts.append(
            Posted(request.url, request.body, dict(request.headers), self.clock.monotonic())
        )
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else TransportResponse(200, {}, b"")
        if isinstance(answer, Exception):
            raise answer
        return answer


def alerting_rule(
    alert: str = "Down",
    expression: str = "up == 0",
    *,
    for_s: float = 0.0,
    keep_firing_for_s: float = 0.0,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> AlertingDefinition:
    """Return an alerting rule whose query is its expression, as FakeEngine takes it."""
    return AlertingDefinition(
        alert,
        expression,
        expression,
        for_s,
        keep_firing_for_s,
        tuple((name, Template.parse(text)) for name, text in (labels or {}).items()),
        tuple((name, Template.parse(text)) for name, text in (annotations or {}).items()),
    )


def rule_group(*rules: RuleDefinition, interval_s: float = 60.0, **options: Any) -> GroupDefinition:
    """Return a group of rules."""
    return GroupDefinition("rules.yaml", "group", interval_s, rules, **options)


def make_alert(starts_at_ms: int = START_MS, ends_at_ms: int | None = None, **labels: str) -> Alert:
    """Return an alert."""
    return Alert(Labels(labels), Labels({"summary": "text"}), starts_at_ms, ends_at_ms)


def make_notification(
    identity: str = "n1", *, channel: str = "ops/webhook/0", group: str = "g", **fields: Any
) -> Notification:
    """Return a notification about one alert that fires."""
    values: dict[str, Any] = {
        "receiver": channel.partition("/")[0],
        "group_labels": Labels({"alertname": "Down"}),
        "alerts": (make_alert(alertname="Down"),),
        "created_at_ms": START_MS,
    }
    return Notification(id=identity, channel=channel, group_key=group, **{**values, **fields})


def database_url(directory: Path) -> str:
    """Return the URL of a database in a directory."""
    return f"sqlite:///{directory / 'alerts.db'}"


async def until(clock: ManualClock, condition: Callable[[], bool]) -> None:
    """Let tasks and the database's thread run, at a clock that stands still, until it holds."""
    async with asyncio.timeout(10):
        while not condition():
            await clock.settle()
            await asyncio.sleep(0.001)
