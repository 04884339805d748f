"""Finished spans as the bytes of an OTLP request.

The exporter's own encoder makes an object of every value and copies each into the one around it,
which costs more than all that happens to a span before. Here the fields are written one after the
other, and attributes that spans have in common are written once and kept.

Source: ``trace.proto`` and ``common.proto`` of opentelemetry-proto; Protocol Buffers, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from types import MappingProxyType
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, SpanContext, Status

from service.telemetry.recorded_spans import RecordedSpan, SpanOrigin, SpanRest, SpanShape, Value

_MAX_KNOWN: Final = 4096
"""Attributes that are kept; all of them go when there are more, so that those in use return."""
_MAX_KNOWN_CHARACTERS: Final = 256
_MAX_HEAD_CHARACTERS: Final = 1024

_VARINTS: Final = tuple(bytes((number,)) for number in range(0x80))
_FIXED64: Final = Struct("<Q").pack
_DOUBLE: Final = Struct("<d").pack

_IDS: Final = Struct(">2sQQ2sQ").pack
_PARENT: Final = Struct(">2sQ").pack
_LOW: Final = (1 << 64) - 1
_HAS_IS_REMOTE: Final = Struct("<I").pack(0x100)
_HAS_AND_IS_REMOTE: Final = Struct("<I").pack(0x300)
_TIMES: Final = Struct("<cQcQ").pack
_PLAIN_LINK: Final = b"\x6a\x21"
"""A link without attributes: 33 bytes are the ids and the flags."""
_LINK_FLAGS: Final = (b"\x35" + _HAS_IS_REMOTE, b"\x35" + _HAS_AND_IS_REMOTE)
_SPAN_FLAGS: Final = (b"\x85\x01" + _HAS_IS_REMOTE, b"\x85\x01" + _HAS_AND_IS_REMOTE)
_NO_STATUS: Final = b"\x7a\x00"


class SpanEncoder:
    """Encodes batches of spans; belongs to the thread that sends them."""

    def __init__(self) -> None:
        """Start without knowing any attribute."""
        self._known: dict[tuple[str, type, object], bytes] = {}
        self._heads: dict[tuple[SpanShape, tuple[Value, ...]], bytes] = {}

    def encode(self, spans: Iterable[ReadableSpan | RecordedSpan]) -> bytes:
        """Return an ``ExportTraceServiceRequest`` with these spans, in their order."""
        groups = _Groups()
        origin: SpanOrigin | None = None
        encoded: list[bytes] = []
        for span in spans:
            if isinstance(span, RecordedSpan):
                if span.shape.origin is not origin:  # mostly, all are of one
                    origin = span.shape.origin
                    encoded = groups.spans_of(origin.resource, origin.scope)
                encoded.append(_field(b"\x12", self._recorded(span)))
            else:
                others = groups.spans_of(span.resource, span.instrumentation_scope)
                others.append(_field(b"\x12", self._span(span)))
        return b"".join(
            _field(b"\x0a", self._resource_spans(resource, scopes))
            for resource, scopes in groups.all()
        )

    def _resource_spans(self, resource: Resource, scopes: Iterable[_Scoped]) -> bytes:
        parts = [_field(b"\x0a", b"".join(self._attributes(b"\x0a", resource.attributes)))]
        for scope, spans in scopes:
            about = _field(b"\x0a", self._scope(scope))
            url = _text(b"\x1a", scope.schema_url if scope is not None else None)
            parts.append(_field(b"\x12", b"".join((about, *spans, url))))
        parts.append(_text(b"\x1a", resource.schema_url))
        return b"".join(parts)

    def _scope(self, scope: InstrumentationScope | None) -> bytes:
        if scope is None:
            return b""
        names = _text(b"\x0a", scope.name) + _text(b"\x12", scope.version)
        return names + b"".join(self._attributes(b"\x1a", scope.attributes))

    def _span(self, span: ReadableSpan) -> bytes:
        context = span.get_span_context()
        if context is None:
            raise ValueError(f"the span {span.name!r} has no ids")
        parent = span.parent
        parts = [_ids(context)]
        if context.trace_state:
            parts.append(_text(b"\x1a", context.trace_state.to_header()))
        if parent is not None:
            parts.append(b"\x22\x08" + parent.span_id.to_bytes(8, "big"))
        parts.append(_text(b"\x2a", span.name))
        parts.append(b"\x30" + _VARINTS[span.kind.value + 1])
        parts.append(b"\x39" + _FIXED64(span.start_time or 0))
        parts.append(b"\x41" + _FIXED64(span.end_time or 0))
        parts += self._attributes(b"\x4a", span.attributes)
        parts.append(_count(b"\x50", span.dropped_attributes))
        parts += [_field(b"\x5a", self._event(event)) for event in span.events]
        parts.append(_count(b"\x60", span.dropped_events))
        parts += [_field(b"\x6a", self._link(link)) for link in span.links]
        parts.append(_count(b"\x70", span.dropped_links))
        status = span.status
        parts.append(_NO_STATUS if status.is_unset else _field(b"\x7a", _status(status)))
        parts.append(b"\x85\x01" + _flags(parent))
        return b"".join(parts)

    def _recorded(self, span: RecordedSpan) -> bytes:
        # In one go, and with contexts unpacked: it is calls that cost here.
        shape, parent = span.shape, span.parent
        trace_id, span_id, _, _, state, _ = span.get_span_context()
        parts = [
            _IDS(b"\x0a\x10", trace_id >> 64, trace_id & _LOW, b"\x12\x08", span_id),
            self._heads.get((shape, span.values)) or self._head(shape, span.values),
            _TIMES(b"\x39", span.start_ns, b"\x41", span.end_ns),
        ]
        if state is not DEFAULT_TRACE_STATE and state:
            parts.append(_text(b"\x1a", state.to_header()))
        if parent is not None:
            parts.append(_PARENT(b"\x22\x08", parent[1]))
        if span.more is not None:
            parts += self._attributes(b"\x4a", span.more)
        for linked in span.linked:
            trace_id, span_id, is_remote, _, _, _ = linked
            ids = _IDS(b"\x0a\x10", trace_id >> 64, trace_id & _LOW, b"\x12\x08", span_id)
            parts += (_PLAIN_LINK, ids, _LINK_FLAGS[is_remote])
        if span.rest is not None:
            parts += self._rest(span.rest)
        else:
            parts.append(_NO_STATUS)
        parts.append(_SPAN_FLAGS[parent is not None and parent[2]])
        return b"".join(parts)

    def _rest(self, rest: SpanRest) -> list[bytes]:
        """Return a field for each event and each link of those that are rare, and the status."""
        status = _NO_STATUS if rest.status.is_unset else _field(b"\x7a", _status(rest.status))
        events = [_field(b"\x5a", self._event(event)) for event in rest.events]
        return [*events, *(_field(b"\x6a", self._link(link)) for link in rest.links), status]

    def _head(self, shape: SpanShape, values: tuple[Value, ...]) -> bytes:
        """Return name, kind and attributes of spans that have these in common, and keep them."""
        kind = b"\x30" + _VARINTS[shape.kind.value + 1]
        parts = [_text(b"\x2a", shape.name), kind, *self._attributes(b"\x4a", shape.attributes)]
        for name, value in zip(shape.names, values, strict=True):
            if value is not None:
                parts.append(b"\x4a" + self._attribute(name, value))
        head = b"".join(parts)
        if len(self._heads) >= _MAX_KNOWN:
            self._heads.clear()
        if len(head) <= _MAX_HEAD_CHARACTERS:
            self._heads[shape, values] = head
        return head

    def _event(self, event: Event) -> bytes:
        head = b"\x09" + _FIXED64(event.timestamp) + _text(b"\x12", event.name)
        attributes = b"".join(self._attributes(b"\x1a", event.attributes))
        return head + attributes + _count(b"\x20", event.dropped_attributes)

    def _link(self, link: Link) -> bytes:
        attributes = b"".join(self._attributes(b"\x22", link.attributes))
        dropped = _count(b"\x28", link.dropped_attributes)
        return b"".join((_ids(link.context), attributes, dropped, b"\x35", _flags(link.context)))

    def _attributes(self, tag: bytes, attributes: Mapping[str, object] | None) -> list[bytes]:
        """Return a field for each attribute."""
        # The SDK's own mapping takes several calls for each item; it copies itself in one.
        plain = attributes.copy() if isinstance(attributes, MappingProxyType) else attributes
        if not plain:
            return []
        return [tag + self._attribute(name, value) for name, value in plain.items()]

    def _attribute(self, name: str, value: object) -> bytes:
        """Return the length and the bytes of a ``KeyValue``."""
        kind = type(value)
        if kind is not str and kind is not int and kind is not bool:
            return _sized(_pair(name, value))
        key = (name, kind, value)  # with the kind, as True is equal to 1
        found = self._known.get(key)
        if found is None:
            found = _sized(_pair(name, value))
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            if len(found) <= _MAX_KNOWN_CHARACTERS:
                self._known[key] = found
        return found


_Scoped = tuple[InstrumentationScope | None, list[bytes]]
"""A scope and its encoded spans."""


class _Groups:
    """Encoded spans by who made them."""

    def __init__(self) -> None:
        self._resources: dict[int, tuple[Resource, list[_Scoped]]] = {}

    def spans_of(self, resource: Resource, scope: InstrumentationScope | None) -> list[bytes]:
        """Return where those of a scope go."""
        # By identity: the hash of a resource is that of all its attributes.
        _, scopes = self._resources.setdefault(id(resource), (resource, []))
        for known, encoded in scopes:
            if known is scope or known == scope:
                return encoded
        scopes.append((scope, []))
        return scopes[-1][1]

    def all(self) -> Iterable[tuple[Resource, list[_Scoped]]]:
        """Return the resources with their scopes."""
        return self._resources.values()


def _pair(name: str, value: object) -> bytes:
    """Return a ``KeyValue``."""
    return _text(b"\x0a", name) + _field(b"\x12", _any_value(value))


def _any_value(value: object) -> bytes:
    """Return an ``AnyValue``; what has no form of its own there is written as text."""
    match value:
        case None:
            return b""
        case bool():
            written = b"\x10\x01" if value else b"\x10\x00"
        case int() if -(1 << 63) <= value < 1 << 63:
            written = b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
        case float():
            written = b"\x21" + _DOUBLE(value)
        case bytes():
            written = _field(b"\x3a", value)
        case Mapping():
            pairs = (_field(b"\x0a", _pair(str(name), each)) for name, each in value.items())
            written = _field(b"\x32", b"".join(pairs))
        case Sequence() if not isinstance(value, str):
            values = (_field(b"\x0a", _any_value(each)) for each in value)
            written = _field(b"\x2a", b"".join(values))
        case _:
            written = _field(b"\x0a", str(value).encode(errors="replace"))
    return written


def _ids(context: SpanContext) -> bytes:
    """Return the first two fields of spans and links: the ids."""
    trace_id = context.trace_id.to_bytes(16, "big")
    return b"\x0a\x10" + trace_id + b"\x12\x08" + context.span_id.to_bytes(8, "big")


def _flags(context: SpanContext | None) -> bytes:
    """Return whether a parent or a linked span is of another process."""
    return _HAS_AND_IS_REMOTE if context is not None and context.is_remote else _HAS_IS_REMOTE


def _status(status: Status) -> bytes:
    return _text(b"\x12", status.description) + _count(b"\x18", status.status_code.value)


def _text(tag: bytes, text: str | None) -> bytes:
    """Return a text; nothing when it is empty. Halves of surrogate pairs become ``?``."""
    return _field(tag, text.encode(errors="replace")) if text else b""


def _count(tag: bytes, number: int) -> bytes:
    """Return a number from 0; nothing when it is 0."""
    return tag + _varint(number) if number else b""


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _sized(content)


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Return a number from 0, seven bits in a byte, the lowest first."""
    if number < 0x80:
        return _VARINTS[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
