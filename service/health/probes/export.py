"""The probe of what is sent to the collector: is it accepted, and is nothing lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from alerts.clock import Clock
from alerts.durations import format_duration
from service.health.state import AttributeValue, ProbeResult


class ExportCounts(Protocol):
    """What became of the items of a queue."""

    @property
    def sent(self) -> int:
        """Items the collector accepted."""

    @property
    def dropped(self) -> int:
        """Items that were lost."""


class CountedQueue(Protocol):
    """A queue of one signal."""

    @property
    def stats(self) -> ExportCounts:
        """What became of its items."""

    def __len__(self) -> int:
        """Return how many wait."""


@dataclass(slots=True)
class _Progress:
    """What was seen of a queue; the time is monotonic, in seconds."""

    sent: int
    dropped: int
    sent_at: float


class ExportProbe:
    """Fails when items were lost since the last run, or nothing was accepted for too long.

    Args:
        queues: The queues, by signal.
        clock: Measures the silence.
        max_silence_s: How long the collector may accept nothing while something waits.
    """

    def __init__(
        self, queues: Mapping[str, CountedQueue], clock: Clock, *, max_silence_s: float
    ) -> None:
        self._queues = queues
        self._clock = clock
        self._max_silence_s = max_silence_s
        now = clock.monotonic()
        self._seen = {
            signal: _Progress(queue.stats.sent, queue.stats.dropped, now)
            for signal, queue in queues.items()
        }

    @property
    def target(self) -> str:
        """Return which signals."""
        return f"export of {', '.join(self._queues)}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Compare the counts with those of the last run."""
        now = self._clock.monotonic()
        attributes: dict[str, AttributeValue] = {}
        problems: list[str] = []
        for signal, queue in self._queues.items():
            seen, stats = self._seen[signal], queue.stats
            sent, dropped, waiting = stats.sent, stats.dropped, len(queue)
            if sent > seen.sent or not waiting:
                seen.sent_at = now
            lost, silence_s = dropped - seen.dropped, now - seen.sent_at
            seen.sent, seen.dropped = sent, dropped
            attributes[f"{signal}.sent"] = sent
            attributes[f"{signal}.lost"] = lost
            attributes[f"{signal}.waiting"] = waiting
            attributes[f"{signal}.silent_s"] = silence_s
            if lost:
                problems.append(f"{lost} of {signal} were lost")
            elif silence_s > self._max_silence_s:
                silence = format_duration(round(silence_s))
                problems.append(f"none of {signal} were accepted for {silence}")
        if problems:
            reason = f"{'; '.join(problems)}: does the collector at telemetry.otlp.endpoint answer?"
            return ProbeResult.failed(reason, "export", attributes)
        return ProbeResult(True, "nothing was lost", attributes=attributes)
