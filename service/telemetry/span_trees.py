"""Draws traces as trees from finished spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from rich.tree import Tree

_SHOWN: Final = (
    "http.response.status_code",
    "messaging.destination.template",
    "messaging.message.body.size",
    "messaging.batch.message_count",
    "gateway.flush.reason",
    "gateway.fanout.count",
)
_SAID_BY_THE_NAME: Final = frozenset(
    (
        "messaging.system",
        "messaging.operation.name",
        "messaging.operation.type",
        "http.request.method",
        "http.route",
        "url.scheme",
        "network.protocol.version",
    )
)


def linked_to(trace_id: int, spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    """Return those spans of other traces that link to a trace."""
    return [
        span
        for span in spans
        if _ids(span)[0] != trace_id
        and any(link.context.trace_id == trace_id for link in span.links)
    ]


def draw(
    spans: Sequence[ReadableSpan],
    linked: Iterable[ReadableSpan] = (),
    *,
    is_detailed: bool = False,
) -> Tree:
    """Return a trace as a tree, with the batches its messages travelled in below it.

    Args:
        spans: The spans of the trace, by their start; at least one.
        linked: Those of other traces that link to it.
        is_detailed: Show every attribute, events, links and errors, not only what a message is
            about.
    """
    children: dict[int, list[ReadableSpan]] = defaultdict(list)
    known = {_ids(span)[1] for span in spans}
    roots = []
    for span in spans:
        if span.parent is not None and span.parent.span_id in known:
            children[span.parent.span_id].append(span)
        else:
            roots.append(span)
    start = min(span.start_time or 0 for span in spans)
    tree = Tree(f"trace {_ids(spans[0])[0]:032x}")
    waiting = [(tree, span) for span in reversed(roots)]
    while waiting:
        branch, span = waiting.pop()
        below = branch.add(_line(span, start, is_detailed=is_detailed))
        if is_detailed:
            _add_details(below, span, start)
        waiting += [(below, child) for child in reversed(children[_ids(span)[1]])]
    for span in linked:
        tree.add(f"linked batch: {_line(span, start, is_detailed=is_detailed)}")
    return tree


def _add_details(branch: Tree, span: ReadableSpan, start_ns: int) -> None:
    if span.status.status_code is StatusCode.ERROR:
        branch.add(_plain(f"error: {span.status.description or 'no description'}"), style="red")
    for event in span.events:
        branch.add(_plain(f"event {event.name}  +{(event.timestamp - start_ns) / 1e6:.2f} ms"))
    for link in span.links:
        branch.add(f"link to {link.context.trace_id:032x} {link.context.span_id:016x}")


def _ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    return (context.trace_id, context.span_id) if context is not None else (0, 0)


def _line(span: ReadableSpan, start_ns: int, *, is_detailed: bool) -> str:
    begin, end = span.start_time or 0, span.end_time or 0
    details = "  ".join(
        f"{key if is_detailed else key.rsplit('.', 1)[-1]}={_shown(value)}"
        for key, value in (span.attributes or {}).items()
        if (key not in _SAID_BY_THE_NAME if is_detailed else key in _SHOWN)
    )
    timing = f"+{(begin - start_ns) / 1e6:.2f} ms, {(end - begin) / 1e6:.2f} ms"
    return _plain(f"{span.name}  {span.kind.name}  {timing}  {details}".rstrip())


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(text: str) -> str:
    """Return a text that is not taken for markup."""
    return text.replace("[", r"\[")
