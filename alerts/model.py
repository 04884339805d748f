"""An alert as it travels from rules to routes to receivers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from opentelemetry.trace import SpanContext

from alerts.series.labels import Labels

ALERT_NAME: Final = "alertname"
"""The label that carries the name of the rule an alert came from."""

ZERO_TIME: Final = "0001-01-01T00:00:00Z"
"""How Alertmanager writes "no time", such as the end of an alert that still fires."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert at one moment. Times are integer milliseconds of Unix time.

    Attributes:
        labels: The identity of the alert.
        annotations: Texts for people; sorted like labels, an empty text is kept as no annotation.
        starts_at_ms: When it began to fire.
        ends_at_ms: When it ended or, while it fires, until when that is believed without being
            told again. None: not said by whoever raised it.
        generator_url: Where the expression behind it can be looked at.
    """

    labels: Labels
    annotations: Labels
    starts_at_ms: int
    ends_at_ms: int | None = None
    generator_url: str = ""

    @property
    def fingerprint(self) -> str:
        """The 16 hex digits that stand for the labels."""
        return self.labels.fingerprint()

    def is_resolved(self, now_ms: int) -> bool:
        """Whether the alert has ended by a given time."""
        return self.ends_at_ms is not None and self.ends_at_ms <= now_ms


NotifyFunc = Callable[[Sequence[Alert], SpanContext | None], None]
"""Takes the alerts of one evaluation and the span they were found in; must not block."""


def format_time(timestamp_ms: int | None) -> str:
    """Return a time as RFC 3339 in UTC without trailing zeros; ``ZERO_TIME`` for None."""
    if timestamp_ms is None:
        return ZERO_TIME
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{milliseconds:03d}".rstrip("0") if milliseconds else ""
    return f"{text}{fraction}Z"
