"""The webhook channel against a real receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alerts.clock import ManualClock
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.secret import Secret
from alerts.notify.webhook import WebhookChannel, WebhookConfig, payload, retry_after_s
from alerts.series.labels import Labels
from tests.support.alerts import START_MS, make_alert, make_notification
from tests.support.webhook import (
    CLOSE,
    HANG,
    Answer,
    WebhookReceiver,
    aiohttp_transport,
    webhook_receiver,
)


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    """A receiver on loopback."""
    async with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
async def channel(receiver: WebhookReceiver) -> AsyncIterator[WebhookChannel]:
    """A channel to the receiver, with a token in its URL and a header."""
    config = WebhookConfig(
        Secret(f"{receiver.url}/T0K3N"),
        timeout_s=5.0,
        headers=(("Authorization", Secret("Bearer abc123")),),
    )
    async with aiohttp_transport() as transport:
        yield WebhookChannel(
            "ops/webhook/0", "ops", config, transport, ManualClock(), "http://here"
        )


async def test_request(channel: WebhookChannel, receiver: WebhookReceiver) -> None:
    """The body is Alertmanager's version 4, whole, and the headers are as configured."""
    firing = make_alert(alertname="Down", job="a")
    ended = make_alert(ends_at_ms=START_MS + 1500, alertname="Down", job="b")

    await channel.deliver(make_notification("n1", alerts=(firing, ended)))

    (request,) = receiver.received
    common = {"annotations": {"summary": "text"}, "generatorURL": ""}
    assert request.path == "/hook/T0K3N"
    assert request.key == "n1"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Bearer abc123"
    assert request.body == {
        "version": "4",
        "groupKey": "g",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "ops",
        "groupLabels": {"alertname": "Down"},
        "commonLabels": {"alertname": "Down"},
        "commonAnnotations": {"summary": "text"},
        "externalURL": "http://here",
        "alerts": [
            {
                **common,
                "status": "firing",
                "labels": {"alertname": "Down", "job": "a"},
                "startsAt": "2023-11-14T22:13:20Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "fingerprint": firing.fingerprint,
            },
            {
                **common,
                "status": "resolved",
                "labels": {"alertname": "Down", "job": "b"},
                "startsAt": "2023-11-14T22:13:20Z",
                "endsAt": "2023-11-14T22:13:21.5Z",
                "fingerprint": ended.fingerprint,
            },
        ],
    }


def test_truncated() -> None:
    """max_alerts keeps the first alerts and says how many were left out."""
    alerts = tuple(make_alert(job=str(number)) for number in range(3))

    body = payload(make_notification(alerts=alerts), max_alerts=2, external_url="")

    assert body["truncatedAlerts"] == 1
    assert (
        body["alerts"]
        == payload(make_notification(alerts=alerts[:2]), max_alerts=0, external_url="")["alerts"]
    )


@pytest.mark.parametrize(
    ("answer", "reason", "permanent"),
    [
        (Answer(500), FailureReason.SERVER_ERROR, False),
        (Answer(503), FailureReason.SERVER_ERROR, False),
        (Answer(408), FailureReason.TIMEOUT, False),
        (Answer(429), FailureReason.THROTTLED, False),
        (Answer(400), FailureReason.REFUSED, True),
        (Answer(404), FailureReason.REFUSED, True),
        (Answer(307, {"Location": "/T0K3N"}), FailureReason.REDIRECTED, True),
        (CLOSE, FailureReason.NETWORK, False),
        (HANG, FailureReason.TIMEOUT, False),
    ],
)
async def test_refusals(
    channel: WebhookChannel,
    receiver: WebhookReceiver,
    answer: Answer,
    reason: FailureReason,
    permanent: bool,
) -> None:
    """Every answer other than 2xx, and none, says why and whether to try again."""
    receiver.answers.append(replace(answer, text="for T0K3N and abc123"))
    timeout_s = 0.1 if answer is HANG else 5.0

    with pytest.raises(DeliveryError) as caught:
        await replace(channel, config=replace(channel.config, timeout_s=timeout_s)).deliver(
            make_notification()
        )

    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
    assert "T0K3N" not in str(caught.value)
    assert "abc123" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_accepted(channel: WebhookChannel, receiver: WebhookReceiver, status: int) -> None:
    """Every 2xx is a yes."""
    receiver.answers.append(Answer(status))

    await channel.deliver(make_notification())

    assert len(receiver.received) == 1


async def test_nobody_there(channel: WebhookChannel) -> None:
    """A refused connection is worth another attempt, and the URL does not show."""
    config = replace(channel.config, url=Secret("http://127.0.0.1:1/T0K3N"))

    with pytest.raises(DeliveryError) as caught:
        await replace(channel, config=config).deliver(make_notification())

    assert (caught.value.reason, caught.value.permanent) == (FailureReason.NETWORK, False)
    assert "T0K3N" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_retry_after(channel: WebhookChannel, receiver: WebhookReceiver) -> None:
    """The wait a receiver asks for is passed on."""
    receiver.answers.append(Answer(429, {"Retry-After": "7"}))

    with pytest.raises(DeliveryError) as caught:
        await channel.deliver(make_notification())

    assert caught.value.retry_after_s == 7.0


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


def test_no_common_labels() -> None:
    """Only what all alerts share is common."""
    alerts = (make_alert(a="1", b="2"), make_alert(a="1", b="3"), make_alert(a="1"))

    body = payload(
        make_notification(alerts=alerts, group_labels=Labels()), max_alerts=0, external_url=""
    )

    assert body["commonLabels"] == {"a": "1"}
    assert body["groupLabels"] == {}
