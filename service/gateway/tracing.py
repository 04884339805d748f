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
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanContext, StatusCode

from alerts.clock import Clock
from alerts.spans import SAMPLING_REASON
from service.gateway.channels import ChannelRules
from service.gateway.codes import INTERNAL_ERROR, DisconnectError, ProtocolError, internal_error
from service.gateway.protocol import Command, Method
from service.telemetry.propagation import format_traceparent
from service.telemetry.recorded_spans import SpanShape
from service.telemetry.sampling import MessageSampling, with_links
from service.telemetry.span_definitions import COMMAND, DELIVER, PUBLISH, SEND, SYSTEM
from service.telemetry.span_recorder import SpanRecorder

if TYPE_CHECKING:
    from service.gateway.batcher import Batch
    from service.gateway.channel import Publication

MAX_LINKS: Final = 32
_FAULTS: Final = frozenset((internal_error().code, INTERNAL_ERROR.code))
"""Codes of errors and disconnects that say the fault is here."""


class PublicationTracing:
    """Starts and ends the spans around a publication; used for sampled ones only."""

    def __init__(self, spans: SpanRecorder, *, tag: bool = True) -> None:
        """Use a recorder.

        Args:
            spans: Starts the spans.
            tag: Whether publications carry their trace to subscribers.
        """
        self._spans = spans
        self._tag = tag
        self._shapes: dict[str, _Shapes] = {}

    def publish(self, template: str, size: int, parent: Context) -> Span:
        """Start the span of the acceptance of a publication; leaving it ends it."""
        return self._spans.start_in(parent, self._of(template).publish, (size,))

    def carry(self, tags: Mapping[str, str] | None, span: SpanContext) -> Mapping[str, str] | None:
        """Return the tags of a publication, with its trace among them if it is to be carried."""
        return {**(tags or {}), "traceparent": format_traceparent(span)} if self._tag else tags

    def send(
        self,
        template: str,
        batch: Batch[Publication],
        traced: Sequence[Publication],
        subscribers: int,
    ) -> Span:
        """Start the span of the writing of a batch to all subscribers; leaving it ends it.

        It links to the traced messages in it.
        """
        linked = tuple([item.trace for item in traced[:MAX_LINKS] if item.trace is not None])
        counts = len(batch.items), batch.reason.value, subscribers, len(traced) - len(linked)
        # Without a parent: a flush runs in whatever context its timer was armed in.
        return self._spans.start(self._of(template).send, None, counts, linked=linked)

    def delivered(
        self,
        template: str,
        traced: Sequence[Publication],
        batch_span: SpanContext,
        subscribers: int,
    ) -> None:
        """Close the story of each traced message: from acceptance to the last write."""
        shape, linked = self._of(template).deliver, (batch_span,)
        for item in traced:
            self._spans.start(
                shape, item.trace, (subscribers,), linked=linked, start_ns=item.accepted_ns
            ).end()

    def _of(self, template: str) -> _Shapes:
        """Return the shapes of a namespace's spans."""
        shapes = self._shapes.get(template)
        if shapes is None:
            shapes = self._shapes[template] = _shapes(self._spans, template)
        return shapes


class _Shapes(NamedTuple):
    """The shapes of the spans of a namespace's messages."""

    publish: SpanShape
    send: SpanShape
    deliver: SpanShape


def _shapes(spans: SpanRecorder, template: str) -> _Shapes:
    parts = {"channel": template}
    about = {"messaging.system": SYSTEM, "messaging.destination.template": template}

    def operation(name: str) -> Mapping[str, str]:
        return {
            "messaging.operation.name": name,
            "messaging.operation.type": "send",
            **about,
        }

    return _Shapes(
        spans.shape(PUBLISH, parts, operation("publish"), "messaging.message.body.size"),
        spans.shape(
            SEND,
            parts,
            operation("send"),
            "messaging.batch.message_count",
            "gateway.flush.reason",
            "gateway.fanout.count",
            "gateway.batch.links.dropped",
        ),
        spans.shape(DELIVER, parts, about, "gateway.fanout.count"),
    )


class CommandTracing:
    """Decides which commands of clients are traced, and starts and ends their spans."""

    def __init__(
        self,
        spans: SpanRecorder,
        sampling: MessageSampling,
        *,
        rules: ChannelRules,
        rpc_namespaces: Container[str],
        clock: Clock,
    ) -> None:
        """Use a recorder.

        Args:
            spans: Starts the spans.
            sampling: Which traces are recorded.
            rules: Know the namespaces of channels.
            rpc_namespaces: The namespaces of methods.
            clock: Times commands that are not traced.
        """
        self._spans = spans
        self._shapes: dict[tuple[Method, str], SpanShape] = {}
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
        start_ns: int = 0,
    ) -> Span:
        shape = self._shape(method, self._template(method, command.request))
        return self._spans.start_in(context, shape, (connection,), start_ns=start_ns)

    def _shape(self, method: Method, template: str) -> SpanShape:
        shape = self._shapes.get((method, template))
        if shape is None:
            of = "gateway.rpc" if method is Method.RPC else "messaging.destination"
            shape = self._shapes[method, template] = self._spans.shape(
                COMMAND,
                {"command": method.value, "channel": template},
                {
                    "messaging.system": SYSTEM,
                    "messaging.operation.name": method.value,
                    f"{of}.template": template,
                },
                "gateway.connection.id",
            )
        return shape

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
