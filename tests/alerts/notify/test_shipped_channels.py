"""Every channel that is shipped, against a server with the rules of its service."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.http_channel import HTTPChannel
from alerts.notify.notification import Notification
from alerts.series.labels import Labels
from tests.support.alerts import START_MS, make_alert, make_notification
from tests.support.channel_servers.server import Said, StrictServer, strict_server
from tests.support.channel_servers.services import SERVICES, USUAL_NOES, No, Service
from tests.support.channels import HurriedClock, catalogue, channel_of, good_entry
from tests.support.webhook import aiohttp_transport

EACH_SERVICE = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.id)
EACH_NO = pytest.mark.parametrize(
    ("service", "no"),
    [
        pytest.param(service, no, id=f"{service.id}-{number}")
        for service in SERVICES
        for number, no in enumerate((*service.noes, *(USUAL_NOES if not service.name else ())))
    ],
)


def _located(value: Any, url: str) -> Any:
    match value:
        case str():
            return f"{url}{value[3:]}" if value.startswith("URL") else value
        case dict():
            return {key: _located(item, url) for key, item in value.items()}
        case list():
            return [_located(item, url) for item in value]
        case _:
            return value


@asynccontextmanager
async def running(
    service: Service, **changes: Any
) -> AsyncIterator[tuple[StrictServer, HTTPChannel]]:
    """Run a service and open a channel to it."""
    async with strict_server(service.rules, service.refuse) as server:
        async with aiohttp_transport() as transport:
            entry: Mapping[str, Any] = {**_located(dict(service.entry), server.url), **changes}
            config = good_entry(service.kind, entry, service.defaults or None)
            yield server, channel_of(config, transport, HurriedClock(1_700_000_000.0))


def firing(count: int = 1, text: str = "text", owner: str = "") -> Notification:
    """Return a notification about alerts that fire."""
    alerts = tuple(
        make_alert(alertname="Down", job=f"{text}{number}", owner=owner) for number in range(count)
    )
    return make_notification("n1", alerts=alerts, reason="first notification")


def resolved() -> Notification:
    """Return a notification about an alert that ended."""
    return make_notification(
        "n2", alerts=(make_alert(ends_at_ms=START_MS + 1000, alertname="Down"),)
    )


def test_all_are_tested() -> None:
    """There is a service for every channel that goes by HTTP."""
    shipped = catalogue().definitions.values()

    assert {each.kind for each in shipped if each.carrier == "http"} == {
        service.kind for service in SERVICES
    }


@EACH_SERVICE
async def test_firing_and_resolved(service: Service) -> None:
    """What fires and what ended is told in a way the service takes."""
    async with running(service) as (server, channel):
        await channel.deliver(firing())
        asked = len(server.asked)
        await channel.deliver(resolved())

    assert server.refused == []
    assert asked == service.requests


@EACH_SERVICE
async def test_large(service: Service) -> None:
    """However much there is to tell, the service takes it: it is shortened, and stays whole."""
    async with running(service) as (server, channel):
        await channel.deliver(firing(400, "ä<&\u2603\"'", owner="o" * 50))

    assert server.refused == []


@EACH_SERVICE
async def test_hostile_texts(service: Service) -> None:
    """Whatever stands in labels and annotations, the request is well-formed."""
    hostile = 'a"b\\c\nd\r{{ .Status }}\x01<b>\ud83d'.encode("utf-16", "surrogatepass").decode(
        "utf-16", "replace"
    )
    notification = make_notification(
        "n1",
        alerts=(make_alert(alertname="Down", job=hostile),),
        group_labels=Labels({"alertname": "Down", "job": hostile}),
    )
    async with running(service) as (server, channel):
        await channel.deliver(notification)

    assert server.refused == []


@EACH_NO
async def test_noes(service: Service, no: No, caplog: pytest.LogCaptureFixture) -> None:
    """Each way a service says no comes to the right end, with nothing secret in its text."""
    async with running(service) as (server, channel):
        said = " ".join([no.said.text, *service.secrets]) if isinstance(no.said.body, str) else None
        server.next.append(
            no.said
            if said is None or no.said.status == 200
            else Said(no.said.status, said, no.said.headers)
        )
        with caplog.at_level(logging.DEBUG), pytest.raises(DeliveryError) as caught:
            await channel.deliver(firing())

    error = caught.value
    assert (error.reason, error.permanent, error.retry_after_s) == (
        no.reason,
        no.permanent,
        no.retry_after_s,
    )
    for secret in service.secrets:
        assert secret not in str(error)
        assert secret not in caplog.text
    assert error.__cause__ is None


@EACH_SERVICE
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Said(how="hang"), FailureReason.TIMEOUT),
        (Said(how="reset"), FailureReason.NETWORK),
        (Said(302, "", {"Location": "http://127.0.0.1:1/elsewhere"}), FailureReason.REDIRECTED),
        (Said(307, "", {"Location": "http://127.0.0.1:1/elsewhere"}), FailureReason.REDIRECTED),
    ],
    ids=["hang", "reset", "redirect", "redirect-with-body"],
)
async def test_no_answer(service: Service, said: Said, reason: FailureReason) -> None:
    """A service that hangs, hangs up or sends us elsewhere was not told."""
    changes = {"timeout": "100ms"} if said.how == "hang" else {}
    async with running(service, **changes) as (server, channel):
        server.next.append(said)
        with pytest.raises(DeliveryError) as caught:
            await channel.deliver(firing())

        assert caught.value.reason is reason
        assert caught.value.permanent == (reason is FailureReason.REDIRECTED)
        for secret in service.secrets:
            assert secret not in str(caught.value)


@EACH_SERVICE
async def test_keys(service: Service) -> None:
    """The key of a request is the same over attempts; what was accepted is not sent again."""
    async with running(service) as (server, channel):
        server.next.append(Said(503))
        with pytest.raises(DeliveryError):
            await channel.deliver(firing())
        await channel.deliver(firing())

    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert keys[:2] == ["n1", "n1"]
    assert len(keys) == 1 + service.requests
    assert len(set(keys)) == service.requests


async def test_partly_accepted() -> None:
    """Of several requests those that were accepted are not made again."""
    service = next(each for each in SERVICES if each.name == "opsgenie-update")
    async with running(service) as (server, channel):
        server.next.extend([Said(202, {}), Said(503)])
        with pytest.raises(DeliveryError):
            await channel.deliver(firing())
        await channel.deliver(firing())

    paths = [asked.path.rpartition("/")[2] for asked in server.asked]
    assert paths == ["alerts", "message", "message", "description"]


async def test_redirect_within_the_server() -> None:
    """A redirect that keeps the body and stays with the server is followed."""
    service = SERVICES[0]
    async with running(service) as (server, channel):
        server.next.append(Said(308, "", {"Location": "/hook/T0K3N"}))
        await channel.deliver(firing())

    assert len(server.asked) == 2


async def test_many_redirects() -> None:
    """A server that redirects without end is given up."""
    async with running(SERVICES[0]) as (server, channel):
        server.next.extend([Said(307, "", {"Location": "/hook/T0K3N"})] * 20)
        with pytest.raises(DeliveryError, match="redirects") as caught:
            await channel.deliver(firing())

    assert caught.value.permanent


async def test_a_trace_is_shown() -> None:
    """The trace that shows an alert is in the webhook's JSON and in the texts."""
    alert = replace(
        make_alert(alertname="Down"), annotations=Labels({"trace_url": "http://jaeger/trace/1"})
    )
    notification = make_notification("n1", alerts=(alert,))
    async with running(SERVICES[0]) as (server, channel):
        await channel.deliver(notification)
    async with running(SERVICES[2]) as (chat, channel):
        await channel.deliver(notification)

    (told,) = json.loads(server.asked[0].raw)["alerts"]
    assert told["annotations"] == {"trace_url": "http://jaeger/trace/1"}
    assert "trace: http://jaeger/trace/1" in chat.asked[0].json["attachments"][0]["text"]
