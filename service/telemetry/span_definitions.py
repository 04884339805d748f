"""Every span of the service; those of the alerting library are in ``alerts.spans``.

What differs in a name is a route, a namespace of channels or methods, or a name from the settings:
never a channel, a user or an id, of which there can be any number.

Source: OpenTelemetry semantic conventions 1.44, for HTTP (stable) and messaging (development); the
names under ``gateway.`` are our own.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import SpanKind

from alerts import spans
from alerts.spans import ERROR_TYPE, SAMPLING_REASON, SpanAttribute, SpanDefinition

SYSTEM: Final = "gatewatch"
"""What ``messaging.system`` says of every message."""

_REASON: Final = SpanAttribute(
    SAMPLING_REASON,
    "`error` or `slow`, when the trace is not sampled and this span is recorded nevertheless",
)
_SYSTEM: Final = SpanAttribute("messaging.system", "`gatewatch`", always=True)
_CHANNEL: Final = SpanAttribute(
    "messaging.destination.template", "the channel's namespace, `*` when it has none"
)
_CHANNEL_ALWAYS: Final = SpanAttribute(_CHANNEL.name, _CHANNEL.meaning, always=True)
_OPERATION: Final = SpanAttribute("messaging.operation.name", "the first word of the name", True)
_SENDS: Final = SpanAttribute("messaging.operation.type", "`send`", always=True)
_FAN_OUT: Final = SpanAttribute("gateway.fanout.count", "subscribers it was written to", True)
_METHOD: Final = SpanAttribute("http.request.method", "the method, or `_OTHER`", always=True)
_ORIGINAL_METHOD: Final = SpanAttribute(
    "http.request.method_original", "the method, where the other says `_OTHER`"
)
_STATUS: Final = SpanAttribute("http.response.status_code", "the status; absent: no answer")

HTTP_REQUEST: Final = SpanDefinition(
    "{method} {route}",
    SpanKind.SERVER,
    "A request to either listener, until it is answered. An answer that goes on, as after the 101 "
    "of a WebSocket, ends it when it begins: no span lasts as long as a connection.",
    "the caller's, from the header `traceparent`",
    "",
    (
        _METHOD,
        _ORIGINAL_METHOD,
        SpanAttribute("http.route", "the route; absent, as in the name: there is none"),
        SpanAttribute("url.scheme", "`http` or `https`", always=True),
        SpanAttribute("url.path", "the path, without the query", always=True),
        SpanAttribute("network.protocol.version", "of HTTP", always=True),
        SpanAttribute("client.address", "who asks, or the proxy before it"),
        _STATUS,
        ERROR_TYPE,
        _REASON,
    ),
    optional=True,
)
COMMAND: Final = SpanDefinition(
    "{command} {channel}",
    SpanKind.SERVER,
    "A command of a client, until its reply is there. Of `rpc`, the name has the namespace of the "
    "method; `*` stands for none.",
    "the client's, from `meta.traceparent` of the command or, of `connect`, from its `headers`",
    "the connection's request",
    (
        _SYSTEM,
        _OPERATION,
        _CHANNEL,
        SpanAttribute("gateway.rpc.template", "the method's namespace, `*` when it has none"),
        SpanAttribute("gateway.connection.id", "the connection", always=True),
        SpanAttribute("error.type", "the code of the error or of the disconnect"),
        _REASON,
    ),
    optional=True,
)
PUBLISH: Final = SpanDefinition(
    "publish {channel}",
    SpanKind.PRODUCER,
    "The acceptance of a message: its place in the history, its way into a batch.",
    "the request or command it came with; in `publish_stream`, `tags.traceparent` of the message",
    "`tags.traceparent` of the message, where that is not its parent; the request, in "
    "`publish_stream`",
    (
        _SYSTEM,
        _OPERATION,
        _SENDS,
        _CHANNEL_ALWAYS,
        SpanAttribute("messaging.message.body.size", "bytes of its data", always=True),
    ),
)
SEND: Final = SpanDefinition(
    "send {channel}",
    SpanKind.CLIENT,
    "The writing of a batch to all subscribers.",
    "none: its messages come from several traces",
    "each traced message in it, the first 32",
    (
        _SYSTEM,
        _OPERATION,
        _SENDS,
        _CHANNEL_ALWAYS,
        SpanAttribute("messaging.batch.message_count", "messages in it", always=True),
        SpanAttribute("gateway.flush.reason", "why it was sent now", always=True),
        SpanAttribute("gateway.fanout.count", "subscribers of the channel", always=True),
        SpanAttribute("gateway.batch.links.dropped", "traced messages without a link", True),
        _REASON,
    ),
)
DELIVER: Final = SpanDefinition(
    "deliver {channel}",
    SpanKind.INTERNAL,
    "A message's way from its acceptance to the last subscriber.",
    "the message's `publish`",
    "the `send` of its batch",
    (_SYSTEM, _CHANNEL_ALWAYS, _FAN_OUT, _REASON),
)
ASK: Final = SpanDefinition(
    "ask {upstream}",
    SpanKind.INTERNAL,
    "A question to a back end, repetitions included.",
    "the command it is about; none, when the time of a connection is over",
    "",
    (
        SpanAttribute("gateway.proxy.event", "what is asked about", always=True),
        SpanAttribute("gateway.proxy.upstream", "who is asked", always=True),
        SpanAttribute("gateway.proxy.template", "namespace of the channel or method", True),
        SpanAttribute("gateway.proxy.outcome", "how it ended", always=True),
    ),
)
HTTP_CLIENT: Final = SpanDefinition(
    "{method}",
    SpanKind.CLIENT,
    "A request to somebody else, until the headers of the answer: a back end, a receiver of "
    "notifications, the target of a check, keys of tokens.",
    "what it is made for",
    "",
    (
        _METHOD,
        _ORIGINAL_METHOD,
        SpanAttribute("url.full", "the URL, without credentials, query and secret path", True),
        SpanAttribute("server.address", "its host", always=True),
        SpanAttribute("server.port", "its port, when it is not the usual one"),
        SpanAttribute("http.request.resend_count", "requests before this one; absent: none"),
        SpanAttribute("gateway.pool.wait", "seconds it waited for a connection; absent: none"),
        _STATUS,
        ERROR_TYPE,
        _REASON,
    ),
)
JOB: Final = SpanDefinition(
    "job {job}",
    SpanKind.INTERNAL,
    "A run of a job of the scheduler.",
    "none",
    "",
    (
        SpanAttribute("gateway.job.name", "the job", always=True),
        SpanAttribute("gateway.job.kind", "what it is counted as in metrics", always=True),
        SpanAttribute("gateway.job.schedule.delay", "seconds it began late", always=True),
        SpanAttribute("gateway.job.outcome", "how it ended", always=True),
        ERROR_TYPE,
        _REASON,
    ),
)
CHECK: Final = SpanDefinition(
    "check {check}",
    SpanKind.INTERNAL,
    "A run of a health check.",
    "the job that runs it",
    "",
    (
        SpanAttribute("check", "the check", always=True),
        SpanAttribute("gateway.health.state", "the state it is in after it", always=True),
        ERROR_TYPE,
        _REASON,
        SpanAttribute("*", "what else the probe found"),
    ),
)

SERVICE_SPANS: Final = (
    HTTP_REQUEST,
    COMMAND,
    PUBLISH,
    SEND,
    DELIVER,
    ASK,
    HTTP_CLIENT,
    JOB,
    CHECK,
)
"""Every span of the service, in the order in which a message meets them."""

SPAN_DEFINITIONS: Final = (*SERVICE_SPANS, *spans.SPAN_DEFINITIONS)
"""Every span of the process."""
