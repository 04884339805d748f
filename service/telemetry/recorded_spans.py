"""Spans of the messages' way, of which there are many: what they have in common is kept once.

An SDK span costs about 30 us, most of it for what it might be asked to do. Those of requests,
commands, messages and batches have fixed shapes: a name, a kind and attributes that belong to a
route or a namespace, and a few values. One object holds the values from the start to the export,
where ``span_encoding`` writes them behind the bytes of the shape. Whoever wants the SDK's form gets
it from ``readable``. All other spans are the SDK's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import AnyValue, Attributes

_UNSET: Final = Status(StatusCode.UNSET)

Value = str | int | float | bool | None
"""The value of an attribute; None: the span does not have it."""


@dataclass(frozen=True, slots=True)
class SpanOrigin:
    """Who makes spans.

    Attributes:
        resource: The process.
        scope: The part of it.
    """

    resource: Resource
    scope: InstrumentationScope


@dataclass(frozen=True, slots=True, eq=False)
class SpanShape:
    """What all spans of a kind about the same route or namespace have in common.

    Attributes:
        name: Their name.
        kind: Their kind.
        attributes: What all of them have.
        names: The attributes whose values differ, in the order of ``RecordedSpan.values``; those of
            a name are all of one type.
        origin: Who makes them.
    """

    name: str
    kind: SpanKind
    attributes: Mapping[str, str]
    names: tuple[str, ...]
    origin: SpanOrigin


class SpanEnds(Protocol):
    """Who is told of the ends of spans."""

    def now_ns(self) -> int:
        """Return Unix nanoseconds."""

    def take(self, span: RecordedSpan) -> None:
        """Take a span that ended."""


class SpanRest:
    """What few spans have.

    Attributes:
        status: How it ended.
        events: What was noted on the way.
        links: Links that were added later.
    """

    __slots__ = ("events", "links", "status")

    def __init__(self) -> None:
        """Have nothing of it."""
        self.status = _UNSET
        self.events: tuple[Event, ...] = ()
        self.links: tuple[Link, ...] = ()


class RecordedSpan(Span):
    """A span of a fixed shape; does not change once it ended.

    Attributes:
        shape: What it has in common with others.
        parent: Its parent; None: it is the first of its trace.
        start_ns: When it began, in Unix nanoseconds.
        end_ns: When it ended; 0: it did not.
        values: Of the attributes that its shape names.
        linked: The spans it links to.
        more: Attributes that were set later.
        rest: What few have; None: nothing of it.
    """

    __slots__ = (
        "_context",
        "_ends",
        "end_ns",
        "linked",
        "more",
        "parent",
        "rest",
        "shape",
        "start_ns",
        "values",
    )

    def __init__(
        self,
        shape: SpanShape,
        context: SpanContext,
        parent: SpanContext | None,
        values: tuple[Value, ...],
        linked: tuple[SpanContext, ...],
        start_ns: int,
        ends: SpanEnds | None,
    ) -> None:
        """Begin.

        Args:
            shape: What it has in common with others.
            context: Its ids.
            parent: Its parent.
            values: Of the attributes that its shape names.
            linked: The spans it links to.
            start_ns: Unix nanoseconds.
            ends: Is told of its end; None: nobody is, and nothing is recorded.
        """
        self.shape = shape
        self.parent = parent
        self.values = values
        self.linked = linked
        self.start_ns = start_ns
        self.end_ns = 0
        self.more: dict[str, AnyValue] | None = None
        self.rest: SpanRest | None = None
        self._context = context
        self._ends = ends

    def get_span_context(self) -> SpanContext:
        """Return its ids."""
        return self._context

    def is_recording(self) -> bool:
        """Whether it goes on, and is recorded."""
        return self._ends is not None

    def end(self, end_time: int | None = None) -> None:
        """End it, now or at a time in Unix nanoseconds; again: nothing happens."""
        ends = self._ends
        if ends is None:
            return
        self._ends = None
        self.end_ns = ends.now_ns() if end_time is None else end_time
        ends.take(self)

    def promote(self, context: SpanContext, name: str, value: str) -> None:
        """Give it other flags, and the attribute that says why."""
        self._context = context
        self.more = {**(self.more or {}), name: value}

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """Say something more."""
        if self._ends is None:
            return
        if key in self.shape.names or key in self.shape.attributes:
            self._forget(key)
        if self.more is None:
            self.more = {key: value}
        else:
            self.more[key] = value

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Say several things more."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Note something that happened, now or at a time in Unix nanoseconds."""
        if self._ends is not None:
            time_ns = self._ends.now_ns() if timestamp is None else timestamp
            rest = self.rest = self.rest or SpanRest()
            rest.events += (Event(name, attributes, time_ns),)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Link to another span."""
        if self._ends is not None:
            rest = self.rest = self.rest or SpanRest()
            rest.links += (Link(context, attributes),)

    def update_name(self, name: str) -> None:
        """Take another name; the shape is its own from then on."""
        if self._ends is not None:
            self.shape = replace(self.shape, name=name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it ended; OK is final, as with the SDK's spans."""
        given = status if isinstance(status, Status) else Status(status, description)
        if self._ends is None or given.is_unset:
            return
        rest = self.rest = self.rest or SpanRest()
        if rest.status.status_code is not StatusCode.OK:
            rest.status = given

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Note an exception, without its text: what it holds may be a secret."""
        kind = type(exception)
        told = {"exception.type": f"{kind.__module__}.{kind.__qualname__}"}
        self.add_event("exception", {**told, **(attributes or {})}, timestamp)

    def _forget(self, key: str) -> None:
        """Make room for another value of an attribute; the shape is its own from then on."""
        shape = self.shape
        pairs = zip(shape.names, self.values, strict=True)
        kept = [(name, value) for name, value in pairs if name != key]
        self.values = tuple(value for _, value in kept)
        self.shape = replace(
            shape,
            attributes={name: value for name, value in shape.attributes.items() if name != key},
            names=tuple(name for name, _ in kept),
        )

    def attributes(self) -> dict[str, AnyValue]:
        """Return all attributes."""
        pairs = zip(self.shape.names, self.values, strict=True)
        given = {name: value for name, value in pairs if value is not None}
        return {**self.shape.attributes, **given, **(self.more or {})}

    def readable(self, limits: SpanLimits) -> ReadableSpan:
        """Return it in the SDK's form, cut to the SDK's limits."""
        rest = self.rest or SpanRest()
        links = [*(Link(context) for context in self.linked), *rest.links]
        return ReadableSpan(
            name=self.shape.name,
            context=self._context,
            parent=self.parent,
            resource=self.shape.origin.resource,
            attributes=BoundedAttributes(
                limits.max_span_attributes,
                self.attributes(),
                max_value_len=limits.max_span_attribute_length,
            ),
            events=BoundedList.from_seq(limits.max_events, rest.events),
            links=BoundedList.from_seq(limits.max_links, links),
            kind=self.shape.kind,
            status=rest.status,
            start_time=self.start_ns,
            end_time=self.end_ns,
            instrumentation_scope=self.shape.origin.scope,
        )
