"""Counts of the receiver as metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.receiving.receiver import Receiver
from service.telemetry.definitions import receiver_metrics
from service.telemetry.observers import Observers

Values = Iterable[tuple[float, Mapping[str, str]]]


class ReceiverObservation:
    """Reads what a receiver took and refused."""

    def __init__(self, receiver: Receiver) -> None:
        """Say which."""
        self._receiver = receiver

    def register(self, observers: Observers) -> None:
        """Have it read at each collection."""
        receiver = self._receiver
        observers.observe(receiver_metrics.RECEIVED_REQUESTS, self._requests)
        observers.observe(receiver_metrics.RECEIVED_POINTS, self._points)
        observers.observe(receiver_metrics.RECEIVED_SERVICES, lambda: [(receiver.services, {})])
        observers.observe(receiver_metrics.RECEIVED_SERIES, lambda: [(receiver.series, {})])

    def _requests(self) -> Values:
        yield self._receiver.stats.requests, {}
        for request_reason, count in self._receiver.stats.requests_refused.copy().items():
            yield count, {"error.type": request_reason}

    def _points(self) -> Values:
        yield self._receiver.stats.points, {}
        for point_reason, count in self._receiver.stats.points_refused.copy().items():
            yield count, {"error.type": point_reason}
