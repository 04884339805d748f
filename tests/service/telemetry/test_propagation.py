"""W3C trace context, checked and parsed by hand."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry.trace import SpanContext, TraceFlags

from service.telemetry.propagation import (
    TraceParents,
    claims_sampled,
    format_traceparent,
    parse_traceparent,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


def of_headers(*headers: tuple[str, str]) -> tuple[str | None, str, TraceParents]:
    """Return what is read from headers, and the counts."""
    trace_parents = TraceParents()
    traceparent, tracestate = trace_parents.of_headers(CIMultiDictProxy(CIMultiDict(headers)))
    return traceparent, tracestate, trace_parents


def test_trace_states_are_one_list():
    """Several headers are joined in their order, as the specification says."""
    traceparent, tracestate, _ = of_headers(
        ("Traceparent", VALID), ("tracestate", "a=1"), ("tracestate", "b=2")
    )

    assert (traceparent, tracestate) == (VALID, "a=1,b=2")


@pytest.mark.parametrize("other", [VALID, f"00-{TRACE}-{SPAN}-00", "nonsense"])
def test_several_trace_parents_are_none(other):
    """They contradict each other, or say the same twice: none is taken, and that is counted."""
    traceparent, _, trace_parents = of_headers(("traceparent", VALID), ("TraceParent", other))

    assert traceparent is None
    assert trace_parents.stats.repeated == 1


def test_a_trace_state_needs_a_trace_parent():
    """Without one it says nothing."""
    assert of_headers(("tracestate", "a=1"))[:2] == (None, "")


def test_baggage_is_counted():
    """It is not read, however long it is."""
    traceparent, _, trace_parents = of_headers(
        ("baggage", "a=" + "x" * 8000), ("traceparent", VALID)
    )

    assert traceparent == VALID
    assert trace_parents.stats.baggage == 1


@pytest.mark.parametrize(
    ("length", "kept"), [(511, True), (512, True), (513, False), (1_000_000, False)]
)
def test_a_giant_trace_state_is_dropped(length, kept):
    """The trace goes on without it, and it is counted."""
    trace_parents = TraceParents()
    first = "a=" + "x" * 253
    context = trace_parents.parse(VALID, f"{first},b=".ljust(length, "y"))

    assert context is not None
    assert bool(context.trace_state) is kept
    assert trace_parents.stats.oversized_states == (not kept)


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "baggage"]), st.text())))
def test_whatever_headers_say_nothing_fails(headers):
    """Reading headers, and parsing what they hold, raises nothing."""
    traceparent, tracestate, trace_parents = of_headers(*headers)

    if traceparent is not None:
        trace_parents.parse(traceparent, tracestate)


def test_a_valid_header_becomes_a_remote_span():
    """Ids and the sampled flag are read, and the span is known to be remote."""
    context = parse_traceparent(VALID)

    assert context is not None
    assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == (TRACE, SPAN)
    assert context.is_remote
    assert context.trace_flags.sampled


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "nonsense",
        VALID[:-1],
        VALID + "0",
        VALID + "-extra",
        VALID.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00_{TRACE}_{SPAN}_01",
        f" {VALID}",
        f"{VALID}\n",
        f"01-{TRACE}-{SPAN}-01extra",
        f"00-{TRACE[:-1]}\u0661-{SPAN}-01",
    ],
)
def test_every_malformed_form_is_refused_and_counted(malformed):
    """A header that is not exactly as specified counts as malformed and names no span."""
    trace_parents = TraceParents()

    assert trace_parents.parse(malformed) is None
    assert (trace_parents.stats.accepted, trace_parents.stats.malformed) == (0, 1)


def test_a_later_version_may_say_more():
    """Fields that a later version adds are ignored, the ones known today are read."""
    context = parse_traceparent(f"cc-{TRACE}-{SPAN}-09-what-the-future-brings")

    assert context is not None
    assert context.trace_flags == TraceFlags.SAMPLED


def test_trace_state_is_carried():
    """The vendors' own entries travel with the trace."""
    context = parse_traceparent(VALID, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")

    assert context is not None
    assert context.trace_state.to_header() == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"


def test_malformed_trace_state_does_not_harm():
    """A broken tracestate is dropped and the traceparent is kept."""
    context = parse_traceparent(VALID, "=,==;;")

    assert context is not None
    assert not context.trace_state


@given(
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    sampled=st.booleans(),
)
def test_formatting_and_parsing_are_inverse(trace_id, span_id, sampled):
    """What is formatted is parsed back to the same ids and flag."""
    context = SpanContext(trace_id, span_id, True, TraceFlags(1 if sampled else 0))

    header = format_traceparent(context)

    assert parse_traceparent(header) == context
    assert claims_sampled(header) is sampled


@given(st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"))
@example(VALID)
@example(f"{VALID}\n")
def test_any_text_is_either_the_grammar_or_refused(text):
    """Nothing raises, and acceptance agrees with the grammar written down another way."""
    version, *rest = text.split("-")
    fields = [re.fullmatch(r"[0-9a-f]+", field, re.ASCII) is not None for field in rest[:3]]
    grammatical = (
        re.fullmatch(r"[0-9a-f]{2}", version, re.ASCII) is not None
        and version != "ff"
        and len(rest) >= 3
        and all(fields)
        and [len(field) for field in rest[:3]] == [32, 16, 2]
        and int(rest[0], 16) != 0
        and int(rest[1], 16) != 0
        and (len(rest) == 3 or (version != "00" and "\n" not in text))
    )

    assert (parse_traceparent(text) is not None) is grammatical
