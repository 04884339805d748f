"""What clients send to the Alertmanager API: alerts, silences and acknowledgements.

Owns what is valid. What is not is a ``BadRequestError``, whose text says where and what.

Source: Alertmanager, api/v2/openapi.yaml; types.Alert.Validate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from alerts.api.alertmanager_fields import FIRST_MS, BadRequestError, Fields, decode, kind_of
from alerts.model import Alert
from alerts.routing.silence import Silence
from alerts.series.labels import quote
from alerts.series.matchers import Matcher, MatchOp

MAX_ALERTS: Final = 10_000
"""Alerts in one request."""

MAX_ALERT_BYTES: Final = 64 * 1024
"""Length of all texts of one alert, in bytes of UTF-8."""

MAX_NOTE_BYTES: Final = 4096
"""Length of the note of an acknowledgement, in bytes of UTF-8."""

MAX_NAME_BYTES: Final = 256
"""Length of the name of who acknowledges, in bytes of UTF-8."""

_REPORTED: Final = 10
_URL: Final = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]*:|/)[^\x00-\x1f\x7f]*")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class PostedAlerts:
    """What came in one request.

    Attributes:
        alerts: The valid ones; without an end where none was given.
        problems: What is wrong with the others, one text each.
    """

    alerts: tuple[Alert, ...]
    problems: tuple[str, ...]

    def explanation(self) -> str:
        """Return what is wrong, a line each; empty when nothing is."""
        more = len(self.problems) - _REPORTED
        shown = self.problems[:_REPORTED] + ((f"and {more} more",) if more > 0 else ())
        return "\n".join(shown)


@dataclass(frozen=True, slots=True)
class AcknowledgementRequest:
    """Who looks after an alert.

    Attributes:
        by: Who; not empty.
        note: What for.
    """

    by: str
    note: str


def read_alerts(body: bytes, now_ms: int) -> PostedAlerts:
    """Return the alerts of a request; one that is invalid does not spoil the others.

    Args:
        body: JSON.
        now_ms: When an alert begins that does not say so, in Unix milliseconds.

    Raises:
        BadRequestError: The body is no array in JSON, or one that is too long.
    """
    elements = decode(body)
    if not isinstance(elements, list):
        raise BadRequestError(f"alerts must be an array, not {kind_of(elements)}")
    if len(elements) > MAX_ALERTS:
        raise BadRequestError(
            f"{len(elements)} alerts are too many for one request, which takes {MAX_ALERTS}; "
            "send several"
        )
    alerts: list[Alert] = []
    problems: list[str] = []
    for number, element in enumerate(elements):
        try:
            alerts.append(_alert(Fields(f"alert {number}", element), now_ms))
        except BadRequestError as error:
            problems.append(str(error))
    return PostedAlerts(tuple(alerts), tuple(problems))


def read_silence(body: bytes, now_ms: int) -> Silence:
    """Return the silence of a request, its id empty when none was given.

    Args:
        body: JSON.
        now_ms: The time it is, in Unix milliseconds.

    Raises:
        BadRequestError: It is no silence, or its times make no sense.
    """
    fields = Fields("silence", decode(body))
    matchers = fields.elements("matchers")
    if not matchers:
        raise BadRequestError("silence: matchers should have at least 1 items")
    starts_at_ms = fields.moment_ms("startsAt", is_required=True)
    ends_at_ms = fields.moment_ms("endsAt", is_required=True)
    silence = Silence(
        id=fields.text("id", ""),
        matchers=tuple(
            _matcher(Fields(f"silence: matchers[{number}]", element))
            for number, element in enumerate(matchers)
        ),
        starts_at_ms=now_ms if starts_at_ms is None else starts_at_ms,
        ends_at_ms=FIRST_MS if ends_at_ms is None else ends_at_ms,
        updated_at_ms=now_ms,
        created_by=fields.text("createdBy"),
        comment=fields.text("comment"),
        annotations=fields.labels("annotations"),
    )
    if silence.ends_at_ms <= silence.starts_at_ms:
        raise BadRequestError("Failed to create silence: start time must be before end time")
    if silence.ends_at_ms < now_ms:
        raise BadRequestError("Failed to create silence: end time can't be in the past")
    return silence


def read_acknowledgement(body: bytes) -> AcknowledgementRequest:
    """Return the acknowledgement of a request.

    Raises:
        BadRequestError: It is none, nobody signed it, or it is too long.
    """
    fields = Fields("acknowledgement", decode(body))
    by, note = fields.text("by").strip(), fields.text("note", "")
    if not by:
        raise BadRequestError("acknowledgement: by must say who looks after the alert")
    for name, text, limit in (("by", by, MAX_NAME_BYTES), ("note", note, MAX_NOTE_BYTES)):
        size = len(text.encode())
        if size > limit:
            raise BadRequestError(
                f"acknowledgement: {name} has {size} bytes, and at most {limit} are kept"
            )
    return AcknowledgementRequest(by, note)


def _alert(fields: Fields, now_ms: int) -> Alert:
    labels = fields.labels("labels", is_required=True)
    if not labels:
        raise BadRequestError(f"{fields.place}: at least one label pair required")
    annotations = fields.labels("annotations")
    starts_at_ms = fields.moment_ms("startsAt")
    ends_at_ms = fields.moment_ms("endsAt")
    if starts_at_ms is None:
        starts_at_ms = now_ms if ends_at_ms is None else ends_at_ms
    if ends_at_ms is not None and ends_at_ms < starts_at_ms:
        raise BadRequestError(f"{fields.place}: start time must be before end time")
    url = fields.text("generatorURL", "")
    if url and not _is_url(url):
        raise BadRequestError(f"{fields.place}: generatorURL must be of type uri: {quote(url)}")
    texts = [url, *(text for pair in (*labels.pairs, *annotations.pairs) for text in pair)]
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_ALERT_BYTES:
        raise BadRequestError(
            f"{fields.place}: labels, annotations and generatorURL have {size} bytes, and at most "
            f"{MAX_ALERT_BYTES} are taken"
        )
    return Alert(labels, annotations, starts_at_ms, ends_at_ms, url)


def _is_url(text: str) -> bool:
    """Whether Alertmanager takes a text for a URL: with a scheme or from the root."""
    path = re.split(r"[?#]", text, maxsplit=1)[0]
    return _URL.fullmatch(text) is not None and _BAD_ESCAPE.search(path) is None


def _matcher(fields: Fields) -> Matcher:
    name, value = fields.text("name"), fields.text("value")
    is_regex, is_equal = fields.flag("isRegex"), fields.flag("isEqual", default=True)
    if is_regex:
        op = MatchOp.REGEX if is_equal else MatchOp.NOT_REGEX
    else:
        op = MatchOp.EQUAL if is_equal else MatchOp.NOT_EQUAL
    try:
        return Matcher(op, name, value)
    except ValueError as error:
        raise BadRequestError(f"{fields.place}: {error}") from None
