"""The spans of a message: published, sent in a batch, delivered.

One trace shows a message from its publisher to the write: ``publish`` (child of the request it
came with) and below it ``deliver``. The batch it travelled in is a trace of its own, ``send``,
because several messages share it; links connect the two in both directions.

Source: OpenTelemetry semantic conventions for messaging (development): batches link, and never
are children of, the messages in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Tracer

if TYPE_CHECKING:
    from service.gateway.batcher import Batch
    from service.gateway.channel import Publication

SYSTEM: Final = "gatewatch"
MAX_LINKS: Final = 32


class PublicationTracing:
    """Starts and ends the spans around a publication; used for sampled ones only."""

    def __init__(self, tracer: Tracer) -> None:
        """Use a tracer."""
        self._tracer = tracer

    @contextmanager
    def publish(self, template: str, size: int, parent: Context) -> Iterator[SpanContext]:
        """Trace the acceptance of a publication."""
        span = self._tracer.start_span(
            f"publish {template}",
            context=parent,
            kind=SpanKind.PRODUCER,
            attributes={
                "messaging.system": SYSTEM,
                "messaging.operation.name": "publish",
                "messaging.operation.type": "send",
                "messaging.destination.template": template,
                "messaging.message.body.size": size,
            },
        )
        try:
            yield span.get_span_context()
        finally:
            span.end()

    def carry(self, tags: Mapping[str, str] | None, span: SpanContext) -> dict[str, str]:
        """Return the tags of a publication with its trace among them."""
        traceparent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
        return {**(tags or {}), "traceparent": traceparent}

    @contextmanager
    def send(
        self,
        template: str,
        batch: Batch[Publication],
        traced: Sequence[Publication],
        subscribers: int,
    ) -> Iterator[SpanContext]:
        """Trace the writing of a batch to all subscribers, linked to the traced messages in it."""
        links = [Link(item.trace) for item in traced[:MAX_LINKS] if item.trace is not None]
        span = self._tracer.start_span(
            f"send {template}",
            # An empty context: a flush runs in whatever context its timer was armed in.
            context=Context(),
            kind=SpanKind.CLIENT,
            links=links,
            attributes={
                "messaging.system": SYSTEM,
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.template": template,
                "messaging.batch.message_count": len(batch.items),
                "gateway.flush.reason": batch.reason.value,
                "gateway.fanout.count": subscribers,
                "gateway.batch.links.dropped": len(traced) - len(links),
            },
        )
        try:
            yield span.get_span_context()
        finally:
            span.end()

    def delivered(
        self,
        template: str,
        traced: Sequence[Publication],
        batch_span: SpanContext,
        subscribers: int,
    ) -> None:
        """Close the story of each traced message: from acceptance to the last write."""
        for item in traced:
            if item.trace is None:
                continue
            parent = trace.set_span_in_context(trace.NonRecordingSpan(item.trace), Context())
            span = self._tracer.start_span(
                f"deliver {template}",
                context=parent,
                kind=SpanKind.INTERNAL,
                links=[Link(batch_span)],
                start_time=item.accepted_ns,
                attributes={
                    "messaging.system": SYSTEM,
                    "messaging.destination.template": template,
                    "gateway.fanout.count": subscribers,
                },
            )
            span.end()
