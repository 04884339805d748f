"""What a span is called and what it says, written down once; and the spans of the library.

Whoever starts a span does it through its definition, so that the list of them is true.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer
from opentelemetry.util.types import AttributeValue


@dataclass(frozen=True, slots=True)
class SpanAttribute:
    """An attribute of a span.

    Attributes:
        name: OpenTelemetry name.
        meaning: What its value says.
        always: Whether every span of its definition has it.
    """

    name: str
    meaning: str
    always: bool = False


SAMPLING_REASON: Final = "gateway.sampling.reason"
"""Set by whoever runs the library, on a span that is recorded although its trace is not."""

ERROR_TYPE: Final = SpanAttribute("error.type", "why it failed; absent when it did not")


@dataclass(frozen=True, slots=True)
class SpanDefinition:
    """One kind of span: the single place where its name and what it says are written down.

    Attributes:
        name: Its name, with what differs in braces: ``publish {channel}``.
        kind: Its kind.
        when: What it stands for, from its start to its end.
        parent: Which span is its parent.
        links: Which spans it links to; empty: none.
        attributes: What it may carry; one named ``*`` stands for others.
        optional: Whether the last part in braces may be missing.
    """

    name: str
    kind: SpanKind
    when: str
    parent: str
    links: str
    attributes: tuple[SpanAttribute, ...]
    optional: bool = False

    def named(self, **parts: str) -> str:
        """Return the name with what stands in braces filled in."""
        return self.name.format_map(parts).strip()

    def start(
        self,
        tracer: Tracer,
        parts: Mapping[str, str],
        *,
        context: Context,
        attributes: Mapping[str, AttributeValue],
        links: Sequence[Link] = (),
        start_time: int | None = None,
    ) -> Span:
        """Start the span; the caller ends it.

        Args:
            tracer: Starts it.
            parts: What fills the braces of the name.
            context: Holds its parent; an empty one: it has none, whatever is current.
            attributes: What is known already.
            links: Spans it links to.
            start_time: Unix nanoseconds; None: now.
        """
        return tracer.start_span(
            self.named(**parts),
            context=context,
            kind=self.kind,
            attributes=attributes,
            links=links,
            start_time=start_time,
        )

    def matches(self, name: str, kind: SpanKind, attributes: Container[str]) -> bool:
        """Whether a finished span of this name and kind, with these attributes, is one of these."""
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(self.name))
        if self.optional:
            pattern = pattern.removesuffix(r"\ .+") + "(?: .+)?"
        return (
            kind is self.kind
            and re.fullmatch(pattern, name) is not None
            and all(each.name in attributes for each in self.attributes if each.always)
        )


_REASON: Final = SpanAttribute(
    SAMPLING_REASON,
    "`error` or `slow`, when the trace is not sampled and this span is recorded nevertheless",
)
EVALUATE: Final = SpanDefinition(
    "evaluate {group}",
    SpanKind.INTERNAL,
    "A pass over the rules of a group, until what it changed is stored.",
    "none",
    "",
    (
        SpanAttribute("gateway.rule.group", "the group", always=True),
        SpanAttribute("gateway.rule.count", "rules in the group", always=True),
        SpanAttribute("gateway.alert.fired", "alerts of the group that fire after it"),
        SpanAttribute("error.type", "what the first rule that failed failed of"),
        _REASON,
    ),
)
NOTIFY: Final = SpanDefinition(
    "notify {receiver}",
    SpanKind.PRODUCER,
    "One attempt to deliver a notification, until the receiver's answer was judged.",
    "none",
    "the `evaluate` it came from",
    (
        SpanAttribute("gateway.receiver", "the receiver", always=True),
        SpanAttribute("gateway.alert.group_key", "the group of alerts it is about", always=True),
        SpanAttribute("http.request.resend_count", "attempts before this one", always=True),
        ERROR_TYPE,
        _REASON,
    ),
)

SPAN_DEFINITIONS: Final = (EVALUATE, NOTIFY)
"""Every span of the library."""
