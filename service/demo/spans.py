"""Draws the trace of one message from finished spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from rich.tree import Tree

_SHOWN: Final = (
    "http.response.status_code",
    "messaging.destination.template",
    "messaging.message.body.size",
    "messaging.batch.message_count",
    "gateway.flush.reason",
    "gateway.fanout.count",
)


def linked_to(trace_id: int, spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    """Return those spans of other traces that link to a trace."""
    return [
        span
        for span in spans
        if _ids(span)[0] != trace_id
        and any(link.context.trace_id == trace_id for link in span.links)
    ]


def draw(spans: Sequence[ReadableSpan], linked: Iterable[ReadableSpan]) -> Tree:
    """Return a trace as a tree, with the batches its messages travelled in below it."""
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

    def add(branch: Tree, span: ReadableSpan) -> None:
        below = branch.add(_line(span, start))
        for child in children[_ids(span)[1]]:
            add(below, child)

    for root in roots:
        add(tree, root)
    for span in linked:
        tree.add(f"linked batch: {_line(span, start)}")
    return tree


def _ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    return (context.trace_id, context.span_id) if context is not None else (0, 0)


def _line(span: ReadableSpan, start_ns: int) -> str:
    begin, end = span.start_time or 0, span.end_time or 0
    shown = {key: value for key, value in (span.attributes or {}).items() if key in _SHOWN}
    details = "  ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in shown.items())
    timing = f"+{(begin - start_ns) / 1e6:.2f} ms, {(end - begin) / 1e6:.2f} ms"
    return f"{span.name}  {span.kind.name}  {timing}  {details}".replace("[", r"\[").rstrip()
