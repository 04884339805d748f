"""What an answer means: yes, no, or not now, as a channel's file says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Final

from alerts.notify.definition import AnswerDefinition, AnswerTest, Refusal
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.transport import TransportResponse

_RETRIED_STATUSES: Final = {
    408: FailureReason.TIMEOUT,
    429: FailureReason.THROTTLED,
}
_SHOWN_BODY: Final = 200
_MISSING: Final = object()


@dataclass(frozen=True)
class _Answer:
    response: TransportResponse

    @cached_property
    def text(self) -> str:
        return self.response.body.decode(errors="replace").strip()

    @cached_property
    def data(self) -> object:
        """The body as JSON; ``_MISSING`` when it is none."""
        try:
            return json.loads(self.response.body)
        except (ValueError, RecursionError):
            return _MISSING

    def at(self, pointer: str) -> object:
        return at_pointer(self.data, pointer)

    def meets(self, test: AnswerTest) -> bool:
        status = self.response.status
        if test.statuses and status not in test.statuses and status // 100 not in test.statuses:
            return False
        if test.text is not None and self.text != test.text:
            return False
        if test.contains and test.contains not in self.text:
            return False
        return all(_is_one_of(self.at(pointer), values) for pointer, values in test.json)


def at_pointer(data: object, pointer: str) -> object:
    """Return what a JSON pointer leads to; something that equals nothing when there is nothing.

    Source: RFC 6901.
    """
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(data, dict):
            data = data.get(name, _MISSING)
        elif isinstance(data, list) and name.isdecimal() and int(name) < len(data):
            data = data[int(name)]
        else:
            return _MISSING
    return data


def _is_one_of(value: object, wanted: Iterable[object]) -> bool:
    # In Python true equals 1; in an answer they are different things.
    return any(
        value == each and isinstance(value, bool) == isinstance(each, bool) for each in wanted
    )


def judge(
    definition: AnswerDefinition,
    response: TransportResponse,
    now_s: float,
    redact: Callable[[str], str],
) -> None:
    """Return when the answer says yes.

    Args:
        definition: How it is understood.
        response: The answer.
        now_s: Unix time in seconds.
        redact: Takes out of a text what must not show: an answer may hold what the request held.

    Raises:
        DeliveryError: It does not; says why and whether to try again.
    """
    answer = _Answer(response)
    if any(answer.meets(test) for test in definition.accepted):
        return
    message = _message(definition, answer, redact)
    asked_s = _retry_after(definition, answer, now_s)
    refusal = next((each for each in definition.refusals if answer.meets(each.test)), None)
    if refusal is not None:
        raise _refused(refusal, message, asked_s)
    status = response.status
    if status >= 500 or status in _RETRIED_STATUSES:
        reason = _RETRIED_STATUSES.get(status, FailureReason.SERVER_ERROR)
        raise DeliveryError(message, reason, retry_after_s=asked_s)
    if 300 <= status < 400:
        text = f"the answer was {status}, a redirect that is not followed: set the final URL"
        raise DeliveryError(text, FailureReason.REDIRECTED, permanent=True)
    if status < 300 and answer.data is _MISSING and _is_json_expected(definition):
        # Not the receiver speaks, but something in between, or only a part of it arrived.
        text = f"{message}, which is not what the receiver answers"
        raise DeliveryError(text, FailureReason.SERVER_ERROR, retry_after_s=asked_s)
    raise DeliveryError(message, FailureReason.REFUSED, permanent=True)


def _refused(refusal: Refusal, message: str, asked_s: float | None) -> DeliveryError:
    if not refusal.retry:
        return DeliveryError(message, refusal.reason, permanent=True)
    waits = [wait_s for wait_s in (asked_s, refusal.wait_s) if wait_s is not None]
    return DeliveryError(message, refusal.reason, retry_after_s=max(waits, default=None))


def _is_json_expected(definition: AnswerDefinition) -> bool:
    return all(test.json and test.text is None for test in definition.accepted)


def _message(definition: AnswerDefinition, answer: _Answer, redact: Callable[[str], str]) -> str:
    status = answer.response.status
    said = (answer.at(pointer) for pointer in definition.message)
    texts = [str(each) for each in said if each is not _MISSING and each not in (None, "", [])]
    # Before it is cut, as half a secret is not recognized.
    shown = redact(", ".join(texts) or answer.text)
    shown = " ".join(shown[:_SHOWN_BODY].split())
    return f"the answer was {status}{f': {shown}' if shown else ''}"


def _retry_after(definition: AnswerDefinition, answer: _Answer, now_s: float) -> float | None:
    for pointer in definition.retry_after:
        value = answer.at(pointer)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
    return retry_after_s(answer.response.header("Retry-After"), now_s)


def retry_after_s(value: str, now_s: float) -> float | None:
    """Return the seconds a ``Retry-After`` field asks for, None when it is absent or malformed.

    Source: RFC 9110, section 10.2.3: a number of seconds, or an HTTP date.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now_s)
