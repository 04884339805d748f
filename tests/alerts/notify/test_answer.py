"""What answers mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.notify.answer import at_pointer, judge, retry_after_s
from alerts.notify.definition import AnswerDefinition, AnswerTest, Refusal
from alerts.notify.errors import DeliveryError
from alerts.notify.transport import TransportResponse

DOCUMENT = {"a": {"b": [1, {"c/d": True, "e~f": None}]}, "": 2}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("/a/b/0", 1), ("/a/b/1/c~1d", True), ("/a/b/1/e~0f", None), ("/", 2)],
)
def test_pointers(pointer: str, value: object) -> None:
    """A JSON pointer leads to the value RFC 6901 says."""
    assert at_pointer(DOCUMENT, pointer) == value


@given(st.text(), st.text())
def test_any_pointer(pointer: str, body: str) -> None:
    """Whatever the pointer and the body, an answer is a yes or a DeliveryError."""
    definition = AnswerDefinition(
        (AnswerTest(json=((f"/{pointer}", (0,)),)),), retry_after=(f"/{pointer}",), message=("/m",)
    )
    with pytest.raises(DeliveryError):
        judge(definition, TransportResponse(200, {}, body.encode("utf-8", "replace")), 0.0, str)


def test_true_is_not_one() -> None:
    """Numbers and truth values are told apart."""
    definition = AnswerDefinition((AnswerTest(json=(("/code", (0,)),)),))
    with pytest.raises(DeliveryError):
        judge(definition, TransportResponse(200, {}, b'{"code": false}'), 0.0, str)
    judge(definition, TransportResponse(200, {}, b'{"code": 0}'), 0.0, str)


def test_longer_wait_wins() -> None:
    """Of what the receiver asks for and what the channel's file says, the longer wait counts."""
    refusal = Refusal(AnswerTest(contains="busy"), retry=True, wait_s=5.0)
    definition = AnswerDefinition((AnswerTest(text="ok"),), (refusal,))

    def wait(asked: str) -> float | None:
        with pytest.raises(DeliveryError) as caught:
            judge(definition, TransportResponse(200, {"Retry-After": asked}, b"busy"), 0.0, str)
        return caught.value.retry_after_s

    assert (wait("1"), wait("60")) == (5.0, 60.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
    ],
)
def test_retry_after_field(value: str, seconds: float | None) -> None:
    """Seconds and HTTP dates are understood; what is neither, or past, asks for no wait."""
    now_s = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC).timestamp()

    assert retry_after_s(value, now_s) == seconds
