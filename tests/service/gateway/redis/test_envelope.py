"""What goes over pub/sub is read as it was written, and nothing else is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from service.gateway.redis.envelope import (
    Envelope,
    EnvelopeError,
    place_of,
    seal_event,
    seal_publication,
    trace_text,
    unseal,
)
from service.gateway.streams import StreamPosition

spans = st.one_of(
    st.none(),
    st.builds(
        SpanContext,
        st.integers(1, 2**128 - 1),
        st.integers(1, 2**64 - 1),
        st.just(True),
        st.integers(0, 255).map(TraceFlags),
    ),
)
bodies = st.binary()


@given(body=bodies, span=spans)
def test_a_publication_that_is_not_kept_comes_back(body, span):
    """With its span, and without a place."""
    assert unseal(seal_publication(body, span)) == Envelope(body, trace=span)


@given(body=bodies)
def test_an_event_comes_back(body):
    """As it is."""
    assert unseal(seal_event(body)) == Envelope(body, event=True)


@given(body=bodies, span=spans, offset=st.integers(1, 2**63), epoch=st.text("0123456789abcdef"))
def test_a_publication_that_is_kept_comes_back(body, span, offset, epoch):
    """In the form the script gives it."""
    head = f"p{offset} {epoch} {trace_text(span)}\n".encode()

    assert unseal(head + body) == Envelope(body, position=StreamPosition(offset, epoch), trace=span)


@given(message=st.binary())
def test_anything_else_is_refused_or_understood(message):
    """Nothing else is raised."""
    try:
        assert message.endswith(unseal(message).body)
    except EnvelopeError as error:
        assert str(error)


@pytest.mark.parametrize("text", [b"x y", b"x", b" \xff", b"1 \xff"])
def test_a_place_that_is_none_is_refused(text):
    """It is shown in the error."""
    with pytest.raises(EnvelopeError, match="no position"):
        place_of(text)
