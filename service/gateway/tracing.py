"""The spans of commands and messages: asked for, published, sent in a batch, delivered.

One trace shows a message from its publisher to the write: ``publish`` (child of the request or
command it came with) and below it ``deliver``. The batch it travelled in is a trace of its own,
``send``, because several messages share it; links connect the two in both directions.

Source: OpenTelemetry semantic conventions for messaging (development): batches link, and never
are children of, the messages in them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, Span, SpanContext, StatusCode, Tracer

from alerts.clock import Clock
from alerts.spans import SAMPLING_REASON
from service.gateway.channels import ChannelRules
from service.gateway.codes import INTERNAL_ERROR, DisconnectError, ProtocolError, internal_error
from service.gateway.protocol import Command, Method
from service.telemetry.propagation import format_traceparent
from service.telemetry.sampling import MessageSampling, links_of, with_links
from service.telemetry.span_definitions import COMMAND, DELIVER, PUBLISH, SEND, SYSTEM

if TYPE_CHECKING:
    from service.gateway.batcher import Batch
    from service.gateway.channel import Publication

MAX_LINKS: Final = 32
_FAULTS: Final = frozenset((internal_error().code, INTERNAL_ERROR.code))
"""Codes of errors and disconnects that say the fault is here."""


class PublicationTracing:
    """Starts and ends the spans around a publication; used for sampled ones only."""

    def __init__(self, tracer: Tracer, *, tag: bool = True) -> None:
        """Use a tracer.

        Args:
            tracer: Starts the spans.
            tag: Whether publications carry their trace to subscribers.
        """
        self._tracer = tracer
        self._tag = tag

    @contextmanager
    def publish(self, template: str, size: int, parent: Context) -> Iterator[SpanContext]:
        """Trace the acceptance of a publication."""
        span = PUBLISH.start(
            self._tracer,
            {"channel": template},
            context=parent,
            links=[Link(context) for context in links_of(parent)],
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

    def carry(self, tags: Mapping[str, str] | None, span: SpanContext) -> Mapping[str, str] | None:
        """Return the tags of a publication, with its trace among them if it is to be carried."""
        return {**(tags or {}), "traceparent": format_traceparent(span)} if self._tag else tags

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
        span = SEND.start(
            self._tracer,
            {"channel": template},
            # An empty context: a flush runs in whatever context its timer was armed in.
            context=Context(),
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
            span = DELIVER.start(
                self._tracer,
                {"channel": template},
                context=parent,
                links=[Link(batch_span)],
                start_time=item.accepted_ns,
                attributes={
                    "messaging.system": SYSTEM,
                    "messaging.destination.template": template,
                    "gateway.fanout.count": subscribers,
                },
            )
            span.end()


class CommandTracing:
    """Decides which commands of clients are traced, and starts and ends their spans."""

    def __init__(
        self,
        tracer: Tracer,
        sampling: MessageSampling,
        *,
        rules: ChannelRules,
        rpc_namespaces: Container[str],
        clock: Clock,
    ) -> None:
        """Use a tracer.

        Args:
            tracer: Starts the spans.
            sampling: Which traces are recorded.
            rules: Know the namespaces of channels.
            rpc_namespaces: The namespaces of methods.
            clock: Times commands that are not traced.
        """
        self._tracer = tracer
        self._sampling = sampling
        self._rules = rules
        self._rpc_namespaces = rpc_namespaces
        self._clock = clock

    def decide(self, method: Method, command: Command) -> Context | None:
        """Return where the span of a command belongs; None: it is not traced."""
        traceparent = command.traceparent
        if method is Method.CONNECT and traceparent is None:
            traceparent = _of_headers(command.request)
        share = self._share(method, command.request) if self._sampling.rules.exist else None
        return self._sampling.decide(traceparent, command.tracestate, share=share)

    def _share(self, method: Method, request: Mapping[str, Any]) -> float | None:
        rules, template = self._sampling.rules, self._template(method, request)
        if method is Method.RPC:  # what looks like a channel's namespace is a method's
            return rules.given(COMMAND.named(command=method.value, channel=template))
        return rules.about(method.value, template)

    @contextmanager
    def traced(
        self,
        method: Method,
        command: Command,
        parent: Context,
        *,
        connection: str,
        upgrade: SpanContext | None,
    ) -> Iterator[None]:
        """Trace the execution of a command, in whose context it runs.

        Args:
            method: What is asked.
            command: The whole of it.
            parent: What ``decide`` returned.
            connection: Id of the connection.
            upgrade: The span of the connection's request; None: it has none.
        """
        if upgrade is not None:
            parent = with_links(parent, (upgrade,))
        span = self._start(method, command, parent, connection)
        # Without links: what is started below links to other things, or to nothing.
        token = attach(trace.set_span_in_context(span, Context()))
        try:
            yield
        except (ProtocolError, DisconnectError) as error:
            _describe(span, error)
            raise
        finally:
            detach(token)
            span.end()

    def now(self) -> float:
        """Return monotonic seconds, for ``untraced``."""
        return self._clock.monotonic()

    def untraced(
        self,
        method: Method,
        command: Command,
        *,
        connection: str,
        started: float,
        failure: ProtocolError | DisconnectError | None,
    ) -> None:
        """Trace a command after its end, if it failed here or took long.

        Args:
            method: What was asked.
            command: The whole of it.
            connection: Id of the connection.
            started: What ``now`` returned when it began.
            failure: How it ended; None: well.
        """
        duration_s = self._clock.monotonic() - started
        failed = failure is not None and _code(failure) in _FAULTS
        if failed or duration_s >= self._sampling.slow_s:
            self._late(method, command, connection, duration_s, failure)

    def _late(
        self,
        method: Method,
        command: Command,
        connection: str,
        duration_s: float,
        failure: ProtocolError | DisconnectError | None,
    ) -> None:
        reason = self._sampling.late_reason(
            failed=failure is not None and _code(failure) in _FAULTS,
            duration_s=duration_s,
            share=self._share(method, command.request),
        )
        if reason is None:
            return
        context = self._sampling.resumed(
            self._sampling.passing(command.traceparent, command.tracestate)
        )
        started_ns = int((self._clock.time() - duration_s) * 1e9)
        span = self._start(method, command, context, connection, started_ns)
        span.set_attribute(SAMPLING_REASON, reason)
        if failure is not None:
            _describe(span, failure)
        span.end()

    def _start(
        self,
        method: Method,
        command: Command,
        context: Context,
        connection: str,
        start_time: int | None = None,
    ) -> Span:
        template = self._template(method, command.request)
        attributes = {
            "messaging.system": SYSTEM,
            "messaging.operation.name": method.value,
            "gateway.connection.id": connection,
        }
        if template:
            of = "gateway.rpc" if method is Method.RPC else "messaging.destination"
            attributes[f"{of}.template"] = template
        return COMMAND.start(
            self._tracer,
            {"command": method.value, "channel": template},
            context=context,
            attributes=attributes,
            links=[Link(each) for each in links_of(context)],
            start_time=start_time,
        )

    def _template(self, method: Method, request: Mapping[str, Any]) -> str:
        """Return what stands for the method or channel in names.

        It comes out of the settings; what a client made up has none.
        """
        if method is Method.RPC:
            namespace, colon, _ = str(request.get("method", "")).partition(":")
            if not colon:
                return "*"
            return f"{namespace}:*" if namespace in self._rpc_namespaces else ""
        channel = request.get("channel")
        if not isinstance(channel, str):
            return ""
        try:
            return self._rules.rule(channel).template
        except ProtocolError:
            return ""


def _of_headers(request: Mapping[str, Any]) -> str | None:
    """Return the ``traceparent`` among the headers that a client brings along with connect."""
    headers = request.get("headers")
    given = headers.get("traceparent") if isinstance(headers, dict) else None
    return given if isinstance(given, str) else None


def _code(error: ProtocolError | DisconnectError) -> int:
    return error.code if isinstance(error, ProtocolError) else error.close.code


def _describe(span: Span, error: ProtocolError | DisconnectError) -> None:
    """Write on a command's span how it failed; what clients do wrong is no error of a server."""
    code = _code(error)
    span.set_attribute("error.type", str(code))
    if code in _FAULTS:
        span.set_status(StatusCode.ERROR)
