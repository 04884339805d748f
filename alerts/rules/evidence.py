"""The trace behind an alert: the newest measurement of what its expression reads.

An alert that leaves carries it in the annotations ``trace_id`` and ``trace_url``, which every
receiver and every client of the API shows; annotations of the rule with these names win.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from alerts.model import ALERT_NAME, Alert
from alerts.series.exemplars import Exemplar, Exemplars
from alerts.series.labels import METRIC_NAME, Labels
from alerts.series.matchers import Matcher, MatchOp

TRACE_ID: Final = "trace_id"
TRACE_URL: Final = "trace_url"
WINDOW_MS: Final = 15 * 60 * 1000
"""How old a measurement may be to say something about an alert, in milliseconds."""

_OF_HISTOGRAMS: Final = ("_count", "_sum")


class Reads(Protocol):
    """A query, as far as it matters here."""

    @property
    def selectors(self) -> Sequence[Sequence[Matcher]]:
        """The matchers of each selector in it."""


@dataclass(frozen=True, slots=True)
class TraceEvidence:
    """Adds the trace to alerts.

    Attributes:
        exemplars: Where measurements with traces are.
        url_template: A trace's page, with ``{trace_id}`` where its id stands; empty: no link.
    """

    exemplars: Exemplars
    url_template: str = ""

    def add_to(self, alerts: Sequence[Alert], query: Reads, now_ms: int) -> list[Alert]:
        """Return alerts of one rule with the newest trace that does not contradict their labels."""
        selectors = [_as_histogram(matchers) for matchers in query.selectors]
        found = [
            (exemplar, series.drop((METRIC_NAME, "le")))
            for series, kept in self.exemplars.select(selectors, now_ms - WINDOW_MS, now_ms)
            for exemplar in kept
            if exemplar.labels.get(TRACE_ID)
        ]
        found.sort(key=lambda item: -item[0].timestamp_ms)
        return [self._with_trace(alert, found) for alert in alerts] if found else list(alerts)

    def _with_trace(self, alert: Alert, found: Sequence[tuple[Exemplar, Labels]]) -> Alert:
        for exemplar, series in found:
            if _agree(alert.labels, series):
                trace_id = exemplar.labels[TRACE_ID]
                added = {TRACE_ID: trace_id}
                if self.url_template:
                    added[TRACE_URL] = self.url_template.replace("{trace_id}", trace_id)
                return replace(alert, annotations=Labels({**added, **alert.annotations}))
        return alert


def _as_histogram(matchers: Sequence[Matcher]) -> tuple[Matcher, ...]:
    """Return a selector of a histogram's count or sum as one of its buckets, which have traces."""
    return tuple(
        Matcher(MatchOp.EQUAL, METRIC_NAME, f"{matcher.value.rpartition('_')[0]}_bucket")
        if matcher.name == METRIC_NAME
        and matcher.op is MatchOp.EQUAL
        and matcher.value.endswith(_OF_HISTOGRAMS)
        else matcher
        for matcher in matchers
        if matcher.name != "le"
    )


def _agree(alert: Labels, series: Labels) -> bool:
    return all(
        series.get(name, value) == value for name, value in alert.pairs if name != ALERT_NAME
    )
